"""Loss curves of runs and of several seeds, and whether one follows another."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lm.types import UserError

Curve = dict[int, float]  # Loss by step.


def read(
  workdir: pathlib.Path, split: str = 'eval', metric: str = 'loss'
) -> Curve:
  """Returns a curve of a run; losses are in nats per token."""
  path = workdir / 'metrics.jsonl'
  if not path.exists():
    raise UserError(
      f'There is no {path}. Give the workdir of a run that has started.'
    )
  rows = map(json.loads, path.read_text().splitlines())
  return {r['step']: r[metric] for r in rows if r['split'] == split}


def summarize(curves: Sequence[Curve]) -> dict[str, list[Any]]:
  """Returns mean and standard deviation over seeds, at the steps all have."""
  steps = sorted(set.intersection(*map(set, curves)))
  losses = np.array([[curve[step] for step in steps] for curve in curves])
  spread = losses.std(axis=0, ddof=1) if len(curves) > 1 else 0 * losses[0]
  return {
    'step': steps,
    'mean': losses.mean(axis=0).tolist(),
    'standard_deviation': spread.tolist(),
  }


def follows(curve: Curve, reference: Mapping[str, Any]) -> dict[str, Any]:
  """Returns whether `curve` stays as close to a reference as its seeds do.

  A run follows if, at every step that both have, it is within four standard
  deviations of the reference's seeds, or within `tolerance` nats where those
  happen to be closer.

  Args:
    curve: The curve of a run.
    reference: As returned by `summarize`, plus a `tolerance` in nats.
  """
  rows = []
  columns = ('step', 'mean', 'standard_deviation')
  for step, mean, deviation in zip(*(reference[name] for name in columns)):
    if step in curve:
      allowed = max(4 * deviation, reference['tolerance'])
      off = curve[step] - mean
      rows.append(
        {
          'step': step,
          'loss': curve[step],
          'reference': mean,
          'allowed': allowed,
          'follows': bool(abs(off) <= allowed),
        }
      )
  if not rows:
    raise UserError(
      f'The run has losses at steps {sorted(curve)}, the reference at'
      f' {reference["step"]}: none in common. Set config.eval.every as the'
      ' reference has it, and let the run go on.'
    )
  return {'follows': all(row['follows'] for row in rows), 'steps': rows}
