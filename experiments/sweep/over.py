"""The points of a sweep; each has values for some fields of the config, by key.

The file of a sweep makes them with these functions, which it gets as `over`:

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
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lm.types import UserError

Point = dict[str, Any]
Points = list[Point]
DIGITS = 4  # Of a drawn number, so that the name of its run shows all of it.


class Range(NamedTuple):
  """The range of the numbers of a field.

  Attributes:
    key: The key of the field.
    low: The least number.
    high: The greatest number.
    log: Whether each order of magnitude is equally likely, instead of each
      number.
  """

  key: str
  low: float
  high: float
  log: bool = False


class Search(NamedTuple):
  """Points that Optuna chooses, each from the results of the runs before it.

  Attributes:
    trials: The number of points.
    dimensions: What it chooses from: a range, or the values of a field.
    seed: The seed of its choices.
    prune: Whether a run is stopped early if its best metric so far is worse
      than the median of the finished runs at the same step.
    unpruned: How many runs must finish before one may be stopped early.
  """

  trials: int
  dimensions: tuple[Range | Points, ...]
  seed: int = 0
  prune: bool = True
  unpruned: int = 3


def values(key: str, *choices: Any) -> Points:
  """Returns a point for each value of one field.

  Examples:
    >>> values('seed', 0, 1)
    [{'seed': 0}, {'seed': 1}]
  """
  return [{key: choice} for choice in choices]


def product(*parts: Points) -> Points:
  """Returns every combination; the last part varies fastest.

  Examples:
    >>> product(values('a', 1, 2), values('b', 3, 4))
    [{'a': 1, 'b': 3}, {'a': 1, 'b': 4}, {'a': 2, 'b': 3}, {'a': 2, 'b': 4}]
  """
  _check_parts('product', parts)
  return [_merged(points) for points in itertools.product(*parts)]


def zipped(*parts: Points) -> Points:
  """Returns the first points of all parts merged, then the second, and so on.

  Examples:
    >>> zipped(values('a', 1, 2), values('b', 3, 4))
    [{'a': 1, 'b': 3}, {'a': 2, 'b': 4}]
  """
  _check_parts('zipped', parts)
  lengths = {len(part) for part in parts}
  if len(lengths) > 1:
    raise UserError(
      f'over.zipped has parts of {", ".join(map(str, map(len, parts)))} points,'
      ' but takes one of each at a time. Give parts of the same length, or use'
      ' over.product.'
    )
  return [_merged(points) for points in zip(*parts)]


def chain(*parts: Points) -> Points:
  """Returns the points of the first part, then those of the second, and so on.

  Examples:
    >>> chain(values('a', 1), values('b', 2))
    [{'a': 1}, {'b': 2}]
  """
  _check_parts('chain', parts)
  return [*itertools.chain(*parts)]


def uniform(key: str, low: float, high: float) -> Range:
  """Returns a range in which all numbers are equally likely."""
  return _checked(Range(key, low, high))


def log_uniform(key: str, low: float, high: float) -> Range:
  """Returns a range in which all orders of magnitude are equally likely."""
  return _checked(Range(key, low, high, log=True))


def draw(count: int, *ranges: Range, seed: int = 0) -> Points:
  """Returns random points; a larger count keeps the first ones as they are.

  Args:
    count: The number of points at most: a point that is drawn again is left
      out, as happens with few integers.
    *ranges: The range of each field; two integers give integers.
    seed: The seed of the points.
  """
  for each in ranges:
    if not isinstance(each, Range):
      raise UserError(
        f'over.draw is given {each!r}, but draws from ranges. Give it'
        ' over.uniform or over.log_uniform, and combine what it returns with'
        ' values by over.product.'
      )
  drawn = [
    _merged([{each.key: _drawn(each, seed, number)} for each in ranges])
    for number in range(count)
  ]
  return [
    dict(items) for items in dict.fromkeys(tuple(p.items()) for p in drawn)
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
    if not isinstance(each, Range) and not _are_values(each):
      raise UserError(
        f'over.search is given {each!r}, but it chooses for each field by'
        ' itself. Give over.values of one, or a range.'
      )
  fields = [
    {each.key: each} if isinstance(each, Range) else each[0]
    for each in dimensions
  ]
  _merged(fields)  # Raises if two are the same field.
  if trials < 1 or not dimensions:
    raise UserError(
      f'over.search has {trials} trials of {len(dimensions)} dimensions, but'
      ' needs at least one of each.'
    )
  return Search(trials, dimensions, seed, prune, unpruned)


def are_points(value: Any) -> bool:
  """Returns whether a value is a list of points."""
  return isinstance(value, Sequence) and all(
    isinstance(point, Mapping) for point in value
  )


def whole(each: Range) -> bool:
  """Returns whether the numbers of a range are integers."""
  return isinstance(each.low, int) and isinstance(each.high, int)


def rounded(value: float) -> float:
  """Returns a number with as many digits as the name of its run shows."""
  return float(f'{value:.{DIGITS}g}')


def _drawn(each: Range, seed: int, number: int) -> float | int:
  """Returns a number that depends only on the arguments."""
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


def _check_parts(name: str, parts: Sequence[Points]) -> None:
  for part in parts:
    if not are_points(part):
      raise UserError(
        f'over.{name} is given {part!r}, but it combines lists of points. Give'
        ' over.values, or put a range into over.draw(COUNT, ...).'
      )


def _are_values(value: Any) -> bool:
  """Whether a value is a list of points of the same one field."""
  return are_points(value) and [*map(len, {*map(tuple, value)})] == [1]


def _merged(points: Sequence[Point]) -> Point:
  whole: Point = {}
  for point in points:
    if twice := whole.keys() & point.keys():
      raise UserError(
        f'{", ".join(sorted(twice))} is in two parts of a sweep that are'
        ' combined. Leave it out of one.'
      )
    whole |= point
  return whole
