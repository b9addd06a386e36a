"""What a sweep goes over, as lists of points: fields of a config by their key.

A file beside the configs says it with these functions, which it is handed:

  def get_sweep(over):
    return over.product(
      over.values('optimizer.learning_rate', 1e-3, 3e-3),
      over.zipped(
        over.values('model.num_layers', 2, 4),
        over.values('model.embed_dim', 64, 128),
      ),
    )
"""

import itertools
import math
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lm.types import UserError

Point = dict[str, Any]
Points = list[Point]
DIGITS = 4  # Of a number that is drawn, so that it is what its name says.


class Range(NamedTuple):
  """Numbers that a field may have.

  Attributes:
    key: Of the field.
    low: The least.
    high: The greatest.
    log: Whether those between 1 and 10 are as likely as those to 100.
  """

  key: str
  low: float
  high: float
  log: bool = False


class Search(NamedTuple):
  """Points that Optuna chooses, each by what those before it came to.

  Attributes:
    trials: How many there are.
    dimensions: What it chooses from: ranges, or values of a field.
    seed: Of what is random in it.
    prune: Whether a run ends early whose metric is worse than the median of those
      before it, at the same step.
    unpruned: How many runs come to their end before any is ended early.
  """

  trials: int
  dimensions: tuple[Range | Points, ...]
  seed: int = 0
  prune: bool = True
  unpruned: int = 3


def values(key: str, *choices: Any) -> Points:
  """Returns one field's values, each a point.

  >>> values('seed', 0, 1)
  [{'seed': 0}, {'seed': 1}]
  """
  return [{key: choice} for choice in choices]


def product(*parts: Points) -> Points:
  """Returns every combination; the last part varies fastest.

  >>> product(values('a', 1, 2), values('b', 3, 4))
  [{'a': 1, 'b': 3}, {'a': 1, 'b': 4}, {'a': 2, 'b': 3}, {'a': 2, 'b': 4}]
  """
  return [_merged(points) for points in itertools.product(*parts)]


def zipped(*parts: Points) -> Points:
  """Returns the first of all parts together, then the second, and so on.

  >>> zipped(values('a', 1, 2), values('b', 3, 4))
  [{'a': 1, 'b': 3}, {'a': 2, 'b': 4}]
  """
  lengths = {len(part) for part in parts}
  if len(lengths) > 1:
    raise UserError(
      f'over.zipped has parts of {", ".join(map(str, map(len, parts)))} points,'
      ' but goes through them together. Give as many of each, or use'
      ' over.product.'
    )
  return [_merged(points) for points in zip(*parts)]


def chain(*parts: Points) -> Points:
  """Returns the points of each part after those of the one before.

  >>> chain(values('a', 1), values('b', 2))
  [{'a': 1}, {'b': 2}]
  """
  return [*itertools.chain(*parts)]


def uniform(key: str, low: float, high: float) -> Range:
  """Returns a range in which all numbers are as likely."""
  return _checked(Range(key, low, high))


def log_uniform(key: str, low: float, high: float) -> Range:
  """Returns a range in which all orders of magnitude are as likely."""
  return _checked(Range(key, low, high, log=True))


def draw(count: int, *ranges: Range, seed: int = 0) -> Points:
  """Returns random points; with more of them, the first stay as they are.

  Args:
    count: How many.
    *ranges: What each field is drawn from; a range of two integers gives
      integers.
    seed: Of all of them.
  """
  return [
    {each.key: _drawn(each, seed, number) for each in ranges}
    for number in range(count)
  ]


def search(
  trials: int,
  *dimensions: Range | Points,
  seed: int = 0,
  prune: bool = True,
  unpruned: int = 3,
) -> Search:
  """Returns points that Optuna chooses; see `Search`."""
  for each in dimensions:
    if isinstance(each, list) and len({*map(tuple, each)}) != 1:
      raise UserError(
        f'over.search is given {each!r}, but it chooses for each field by'
        ' itself. Give over.values of one, or a range.'
      )
  if trials < 1 or not dimensions:
    raise UserError(
      f'over.search has {trials} trials of {len(dimensions)} dimensions, but'
      ' needs one of each at least.'
    )
  return Search(trials, dimensions, seed, prune, unpruned)


def whole(each: Range) -> bool:
  """Returns whether a range is one of integers."""
  return isinstance(each.low, int) and isinstance(each.high, int)


def rounded(value: float) -> float:
  """Returns a number with as many digits as its name shows."""
  return float(f'{value:.{DIGITS}g}')


def _drawn(each: Range, seed: int, number: int) -> float | int:
  """Returns a number that depends on nothing but the arguments."""
  counted = [seed, zlib.crc32(each.key.encode()), number]
  share = np.random.default_rng(counted).random()
  if each.log:
    low, high = math.log(each.low), math.log(each.high)
    value = math.exp(low + share * (high - low))
    return round(value) if whole(each) else rounded(value)
  if whole(each):
    return int(each.low + math.floor(share * (each.high - each.low + 1)))
  return rounded(each.low + share * (each.high - each.low))


def _checked(each: Range) -> Range:
  if not each.low < each.high or (each.log and each.low <= 0):
    raise UserError(
      f'The range of {each.key!r} is from {each.low} to {each.high}. Let it rise'
      f'{", from above 0" if each.log else ""}.'
    )
  return each


def _merged(points: Sequence[Point]) -> Point:
  whole: Point = {}
  for point in points:
    if twice := whole.keys() & point.keys():
      raise UserError(
        f'{", ".join(sorted(twice))} is in two parts of a sweep that are to be'
        ' put together. Leave it out of one.'
      )
    whole |= point
  return whole
