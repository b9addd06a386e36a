"""Learning rate, decay and dropout, chosen by Optuna.

Needs pip install -e '.[optuna]'.

  python -m experiments.sweep --config=configs/gpt.py:debug \\
      --sweep=configs/sweeps/search.py --workdir=runs/search
"""


def get_sweep(over):
  """Returns 20 runs; those worse than the median are stopped early."""
  return over.search(
    20,
    over.log_uniform('optimizer.learning_rate', 3e-4, 3e-2),
    over.log_uniform('optimizer.weight_decay', 1e-3, 0.3),
    over.values('model.residual_dropout', 0.0, 0.1, 0.2),
  )
