"""Learning rates, half an order of magnitude apart.

  python -m experiments.sweep --config=configs/gpt.py:debug \\
      --sweep=configs/sweeps/learning_rate.py --workdir=runs/rates
"""


def get_sweep(over):
  """Returns four runs."""
  return over.values('optimizer.learning_rate', 3e-4, 1e-3, 3e-3, 1e-2)
