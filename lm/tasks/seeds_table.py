"""The scores of several seeds, one by one and summarised."""

from collections.abc import Mapping, Sequence

import numpy as np

from lm.analysis.directions import higher_is_better
from lm.types import UserError

SUMMARY = ('mean', 'std', 'median', 'best')


def aggregate(
  rows: Sequence[Mapping[str, float]],
) -> dict[str, dict[str, float]]:
  """Returns mean, std, median, best and n of each metric.

  `std` is the sample standard deviation (n - 1), 0 for a single seed; `best` is
  the highest or lowest, see `higher_is_better`; `n` is the number of seeds that
  have the metric. A diverged seed (NaN) makes all but best and n NaN.

  Args:
    rows: The scores of each seed.
  """
  if not rows:
    raise UserError('There are no seeds to summarize. Set config.seeds to 1.')
  metrics = dict.fromkeys(metric for row in rows for metric in row)
  return {
    metric: _summary(metric, [row[metric] for row in rows if metric in row])
    for metric in metrics
  }


def _summary(metric: str, values: Sequence[float]) -> dict[str, float]:
  several = np.array(values, np.float64)
  finite = several[~np.isnan(several)]
  best = np.max if higher_is_better(metric) else np.min
  return {
    'mean': float(several.mean()),
    'std': float(several.std(ddof=1)) if len(several) > 1 else 0.0,
    'median': float(np.median(several)),
    'best': float(best(finite)) if len(finite) else float('nan'),
    'n': len(several),
  }


def table(rows: Sequence[Mapping[str, float]], seeds: Sequence[int]) -> str:
  """Returns a Markdown table: a line per seed, then those of `SUMMARY`.

  Args:
    rows: The scores of each seed; any may lack a metric.
    seeds: The label of each row.
  """
  if len(rows) != len(seeds):
    raise UserError(
      f'There are {len(rows)} rows for the {len(seeds)} seeds {[*seeds]}. Give'
      ' one row a seed.'
    )
  summary = aggregate(rows)
  lines = [['seed', *summary]]
  for seed, row in zip(seeds, rows):
    lines.append([str(seed), *(_cell(row.get(metric)) for metric in summary)])
  for name in SUMMARY:
    lines.append([name, *(_cell(of[name]) for of in summary.values())])
  widths = [max(map(len, column)) for column in zip(*lines)]
  lines.insert(1, [f'{"-" * (width - 1)}:' for width in widths])
  return '\n'.join(
    f'| {" | ".join(map(str.rjust, line, widths))} |' for line in lines
  )


def _cell(value: float | None) -> str:
  return (
    '' if value is None else f'{value:.4g}' if value < 100 else f'{value:.1f}'
  )
