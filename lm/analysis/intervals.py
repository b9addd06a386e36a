"""Confidence intervals for the difference between two variants.

There are two questions, and an interval answers one of them. Would the same
models differ on other examples? The bootstrap over examples answers that; if
examples come in kinds and are alike within one, that over kinds says more.
Would models trained with other seeds differ? Student's t over seeds answers
that; with three seeds, resampling would see only two thirds of their variance.

Every difference is the second variant minus the first.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import special

from lm.types import UserError

Number = float | int
Scores = Mapping[str, Number]  # By the id of an example.

MOST = 2**22  # Examples drawn at once: 32 MB of indices.


class Interval(NamedTuple):
  """An estimate with its confidence interval.

  Attributes:
    estimate: The measured value; None if a run has none.
    low: The lower end; None, like `high`, if there is none: see `method`.
    high: The upper end.
    level: The share of such intervals that contain the true value.
    method: The method in words, for a report.
  """

  estimate: float | None
  low: float | None
  high: float | None
  level: float
  method: str


class Summary(NamedTuple):
  """A summary of several measurements.

  Attributes:
    n: The number of measurements.
    mean: Their mean; None if one of them is not finite.
    std: The standard deviation, by n - 1; also None for a single measurement.
  """

  n: int
  mean: float | None
  std: float | None


def summarize(values: Sequence[Number]) -> Summary:
  """Returns the mean and standard deviation of a score over seeds."""
  n = len(values)
  if n == 0 or not np.isfinite(values).all():
    return Summary(n, None, None)
  if np.ptp(values) == 0:  # Their floating-point mean may differ.
    return Summary(n, float(values[0]), 0.0 if n > 1 else None)
  return Summary(n, float(np.mean(values)), float(np.std(values, ddof=1)))


def student(values: Sequence[Number], level: float = 0.95) -> Interval:
  """Returns the interval of a variant's mean, by Student's t over its seeds.

  Args:
    values: One value for each seed.
    level: The confidence level, a share.
  """
  n, mean, std = summarize(values)
  counted = f'{n} seed{"s" * (n != 1)}'
  if mean is None or std is None:
    return _without(mean, level, f'over {counted}')
  method = f"Student's t over {counted}"
  return around(mean, std / math.sqrt(n), n - 1, level, method)


def welch(
  first: Sequence[Number], second: Sequence[Number], level: float = 0.95
) -> Interval:
  """Returns the interval of the difference between two variants' means.

  Uses Student's t over seeds with unequal variances (Welch 1947). With three
  seeds each it is about 15% wider than if these were assumed to be equal.

  Args:
    first: One value for each seed of the first variant.
    second: The same for the second variant.
    level: The confidence level, a share.
  """
  one, other = summarize(first), summarize(second)
  counted = f'over {one.n} and {other.n} seeds'
  if one.mean is None or other.mean is None:
    return _without(None, level, counted)
  difference = other.mean - one.mean
  if one.std is None or other.std is None:
    return _without(difference, level, counted)
  variances = [part.std**2 / part.n for part in (one, other)]
  total = sum(variances)
  if total == 0:  # Such as coarse scores: the interval would have no width.
    return _without(difference, level, counted, 'no two seeds differ')
  shares = [variance / total for variance in variances]
  freedom = 1 / (shares[0] ** 2 / (one.n - 1) + shares[1] ** 2 / (other.n - 1))
  method = f"Welch's t (Student's with unequal variances) {counted}"
  return around(difference, math.sqrt(total), freedom, level, method)


def paired_bootstrap(
  first: Sequence[Scores],
  second: Sequence[Scores],
  *,
  level: float = 0.95,
  resamples: int = 10_000,
  seed: int = 0,
  of: str = 'example',
) -> Interval:
  """Returns the interval of the difference of means, over other examples.

  Examples are resampled together with the scores of both variants, and the ends
  are bias-corrected and accelerated (BCa; Efron 1987). The scores of several
  seeds are first averaged for each example, so the interval is about these
  trained models and says nothing about other seeds. With fewer than 100
  examples it is somewhat too narrow, like all bootstraps.

  Args:
    first: The scores by example, for each seed of the first variant.
    second: The same for the second variant.
    level: The confidence level, a share.
    resamples: The number of resamples.
    seed: Seed of the draws.
    of: What an example is called in `method`.

  Raises:
    UserError: The examples are not the same.
  """
  ids = _ids_of(first, second)
  mean = lambda runs: np.mean([[run[id] for id in ids] for run in runs], axis=0)
  differences = mean(second) - mean(first)
  n, counts = len(ids), (len(first), len(second))
  counted = f'over {n:,} {of}{"s" * (n != 1)}'
  if not np.isfinite(differences).all():
    return _without(None, level, counted)
  estimate = float(np.mean(differences))
  if n == 1:
    return _without(estimate, level, counted)
  method = f'paired bootstrap {counted} (BCa, {resamples:,} resamples)'
  if counts != (1, 1):
    method += f', scores averaged over {counts[0]} and {counts[1]} seeds before'
  if np.ptp(differences) == 0:
    same = float(differences[0])
    return Interval(same, same, same, _share(level), method)
  drawn = _draw(differences, resamples, np.random.default_rng(seed))
  shares = _accelerated(drawn, differences, level)
  low, high = np.quantile(drawn, shares).tolist()
  return Interval(estimate, low, high, level, method)


def _draw(
  differences: Float[np.ndarray, 'n'],
  resamples: int,
  rng: np.random.Generator,
) -> Float[np.ndarray, 'resamples']:
  """Returns the mean of each resample of the examples."""
  n = len(differences)
  rows = max(1, MOST // n)
  means = []
  for start in range(0, resamples, rows):
    picked = rng.integers(n, size=(min(rows, resamples - start), n))
    means.append(differences[picked].mean(axis=1))
  return np.concatenate(means)


def _accelerated(
  drawn: Float[np.ndarray, 'resamples'],
  differences: Float[np.ndarray, 'n'],
  level: float,
) -> Float[np.ndarray, '2']:
  """Returns the quantile levels of the two ends (Efron 1987, 2.3, 6.6)."""
  n, estimate = len(differences), differences.mean()
  # Nearly equal draws are equal: only the order of their sums differs.
  near = 1e-12 * np.abs(differences).max()
  below = np.mean(drawn < estimate - near) + np.mean(drawn <= estimate + near)
  bias = special.ndtri(below / 2)
  left_out = (n * estimate - differences) / (n - 1)
  pull = left_out.mean() - left_out
  acceleration = np.sum(pull**3) / (6 * np.sum(pull**2) ** 1.5)
  tail = (1 - _share(level)) / 2
  shifted = bias + special.ndtri(np.array([tail, 1 - tail]))
  return special.ndtr(bias + shifted / (1 - acceleration * shifted))


def around(
  estimate: float, error: float, freedom: Number, level: float, method: str
) -> Interval:
  """Returns the interval of Student's t around an estimate."""
  quantile = special.stdtrit(freedom, (1 + _share(level)) / 2)
  half = float(quantile * error)
  return Interval(estimate, estimate - half, estimate + half, level, method)


def _without(
  estimate: float | None,
  level: float,
  counted: str,
  why: str = 'one alone has no spread',
) -> Interval:
  """Returns an estimate, or None, without an interval, and says why."""
  why = 'a score is no number' if estimate is None else why
  method = f'no interval {counted}: {why}'
  return Interval(estimate, None, None, _share(level), method)


def _share(level: float) -> float:
  """Returns the level; raises UserError unless it is a share."""
  if not 0 < level < 1:
    raise UserError(
      f'The level of an interval is {level}, but it is a share. Set it between 0'
      ' and 1; 0.95 is usual.'
    )
  return level


def _ids_of(first: Sequence[Scores], second: Sequence[Scores]) -> list[str]:
  """Returns the ids of the examples, the same for all runs."""
  if not first or not second or not first[0]:
    raise UserError(
      'A variant has no scored example, so there is nothing to compare. Evaluate'
      ' both variants first.'
    )
  ids = first[0].keys()
  for name, runs in (('first', first), ('second', second)):
    for number, run in enumerate(runs):
      missing, more = ids - run.keys(), run.keys() - ids
      if missing or more:
        raise UserError(
          f'Run {number} of the {name} variant has scored other examples than'
          f' run 0 of the first: {_named(missing)} missing, {_named(more)} more.'
          ' Pairs need both variants to answer the same. Evaluate them on the'
          ' same data, with the same limit.'
        )
  return list(ids)


def _named(ids: set[str]) -> str:
  """Returns the number of ids, and the first of them."""
  some = ', '.join(map(repr, sorted(ids)[:3]))
  return f'{len(ids)} ({some})' if ids else 'none'
