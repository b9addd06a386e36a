"""Depth against width, each with random learning rates.

  python -m experiments.sweep --config=configs/gpt.py:demo \\
      --sweep=configs/sweeps/shapes.py --workdir=runs/shapes --dry_run
"""


def get_sweep(over):
  """Returns nine runs: three shapes with three learning rates each."""
  shapes = over.zipped(
    over.values('model.num_layers', 2, 4, 8),
    over.values('model.embed_dim', 192, 128, 96),
    over.values('model.mlp_dim', 768, 512, 384),
  )
  rates = over.draw(3, over.log_uniform('optimizer.learning_rate', 3e-4, 1e-2))
  return over.product(shapes, rates)
