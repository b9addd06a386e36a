"""Batches of rows of similar length, for rows of many lengths.

A compiled step has one width, so a batch is as wide as its bucket, of which
there are few. Every batch of an epoch is of one bucket; rows that do not fill a
batch go into the next wider one, so an epoch has as few batches as its rows
allow, and only the last batch of the widest bucket is padded with filler rows.
"""

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, Shaped

from lm.data import randomness
from lm.types import Examples, UserError

FILLER = -1  # Stands for a filler row.
LEAST = 8  # The narrowest bucket.


@dataclasses.dataclass(frozen=True)
class Ragged:
  """Rows of different lengths, concatenated.

  Attributes:
    values: The values of all rows.
    offsets: Where each row begins, then where the last one ends.
  """

  values: Shaped[np.ndarray, 'M']
  offsets: Int[np.ndarray, 'O']

  @classmethod
  def of(
    cls, rows: Sequence[Shaped[np.ndarray, '_']], dtype: Any = np.int32
  ) -> 'Ragged':
    """Returns the concatenation of a sequence of rows."""
    sizes = np.fromiter(map(len, rows), np.int64, len(rows))
    values = np.concatenate([np.zeros(0, dtype), *rows]).astype(dtype)
    return cls(values, np.concatenate([[0], np.cumsum(sizes)]))

  @property
  def sizes(self) -> Int[np.ndarray, 'N']:
    """The length of each row."""
    return np.diff(self.offsets)

  def row(self, number: int | np.integer) -> Shaped[np.ndarray, '_']:
    """Returns one row."""
    return self.values[self.offsets[number] : self.offsets[number + 1]]

  def padded(
    self, rows: Int[np.ndarray, 'B'], width: int
  ) -> Shaped[np.ndarray, 'B width']:
    """Returns these rows, zero-padded to `width`; `FILLER` is all 0."""
    start = self.offsets[rows]
    sizes = np.where(rows == FILLER, 0, self.sizes[rows])
    column = np.arange(width)
    places = np.where(column < sizes[:, None], start[:, None] + column, 0)
    if not len(self.values):
      return np.zeros(places.shape, self.values.dtype)
    kept = column < sizes[:, None]
    return np.where(kept, self.values[places], 0).astype(self.values.dtype)


class Table(NamedTuple):
  """Encoded examples, by column.

  Attributes:
    ragged: Columns with one number per token, by axis and name:
      `{'source': {'source': ...}, 'target': {...}}`. Columns of one axis have
      rows of the same lengths.
    single: Columns with one number per example.
  """

  ragged: Mapping[str, Mapping[str, Ragged]]
  single: Mapping[str, Shaped[np.ndarray, 'N ...']]

  @property
  def size(self) -> int:
    """How many rows there are."""
    column = next(iter(next(iter(self.ragged.values())).values()))
    return len(column.offsets) - 1

  def sizes(self, axis: str) -> Int[np.ndarray, 'N']:
    """Returns the length of each row on an axis."""
    return next(iter(self.ragged[axis].values())).sizes

  def examples(
    self, rows: Int[np.ndarray, 'B'], widths: Mapping[str, int]
  ) -> dict[str, np.ndarray]:
    """Returns padded rows, their sizes on each axis, and which are `real`."""
    real = rows != FILLER
    made = {'real': real}
    for axis, columns in self.ragged.items():
      sizes = np.where(real, self.sizes(axis)[rows], 0)
      made[f'{axis}_sizes'] = sizes.astype(np.int32)
      for name, column in columns.items():
        made[name] = column.padded(rows, widths[axis])
    for name, column in self.single.items():
      made[name] = column[np.where(real, rows, 0)]
    return made


class Plan(NamedTuple):
  """The batches of an epoch.

  Attributes:
    rows: The rows of each batch; `FILLER` where there is none.
    bucket: The bucket of each batch.
  """

  rows: Int[np.ndarray, 'M B']
  bucket: Int[np.ndarray, 'M']


@dataclasses.dataclass(frozen=True)
class Bucketed:
  """A table in batches; a `Source` whose indices are requested by batch.

  Attributes:
    table: The rows.
    batch_size: Rows per batch, over all hosts.
    widths: The widths of each bucket by axis, increasing.
    seed: Seed of the order; None for a single pass in order.
  """

  table: Table
  batch_size: int
  widths: tuple[Mapping[str, int], ...]
  seed: int | None = None

  @functools.cached_property
  def size(self) -> int:
    """The number of rows in the batches of an epoch, filler included."""
    return -(-self.table.size // self.batch_size) * self.batch_size

  @functools.cached_property
  def bucket_of(self) -> Int[np.ndarray, 'N']:
    """The narrowest bucket that holds each row."""
    fitting = [
      np.searchsorted([width[axis] for width in self.widths], sizes)
      for axis in self.table.ragged
      for sizes in [self.table.sizes(axis)]
    ]
    return np.max(fitting, axis=0)

  def rows_at(self, index: Int[np.ndarray, 'B']) -> Int[np.ndarray, 'B']:
    """Returns the rows at these indices, which are of one batch."""
    return self._place(index)[0]

  def examples_at(self, index: Int[np.ndarray, 'B']) -> Examples:
    """Returns the examples at these indices, which are of one batch."""
    rows, bucket = self._place(index)
    return self.table.examples(rows, self.widths[bucket])

  def draws(self, index: Int[np.ndarray, 'B']) -> Int[np.ndarray, 'B']:
    """Returns the counter that each example's randomness is drawn from."""
    return index

  def _place(self, index):
    number = index // self.batch_size
    if (number != number[0]).any():
      raise ValueError('These places are of more than one batch.')
    epoch, batch = divmod(int(number[0]), self.size // self.batch_size)
    if self.seed is None and epoch:  # Past the end of the pass.
      return np.full(len(index), FILLER), 0
    plan = self._plan(epoch)
    return plan.rows[batch, index % self.batch_size], int(plan.bucket[batch])

  def _plan(self, epoch: int) -> Plan:
    return _plan(self, epoch)

  def __hash__(self):
    return id(self)

  def __eq__(self, other):
    return self is other


@functools.lru_cache(maxsize=16)
def _plan(source: Bucketed, epoch: int) -> Plan:
  """Returns the batches of an epoch of `source`."""
  number = source.table.size
  order, seed = np.arange(number), source.seed
  if seed is not None:
    order = randomness.permute(order, number, seed, np.full(number, epoch))
  buckets = source.bucket_of[order]
  plan = fill(
    [order[buckets == own] for own in range(len(source.widths))],
    source.batch_size,
  )
  if seed is None:
    return plan
  drawn = randomness.uniform(
    seed, f'batches {epoch}', np.arange(len(plan.rows))
  )
  shuffled = np.argsort(drawn, kind='stable')
  return Plan(plan.rows[shuffled], plan.bucket[shuffled])


def fill(rows: Iterable[Int[np.ndarray, '_']], batch_size: int) -> Plan:
  """Returns batches, given the rows of each bucket.

  In batches of 2, 0 1 2 | 3 4 gives 0 1, then 2 3 and 4 -1 of bucket 1.
  """
  batches, kinds, over = [], [], np.zeros(0, np.int64)
  buckets = list(rows)
  for number, own in enumerate(buckets):
    own = np.concatenate([over, own])
    whole = len(own) // batch_size * batch_size
    if number == len(buckets) - 1:
      missing = -len(own) % batch_size
      own = np.concatenate([own, np.full(missing, FILLER)])
      whole = len(own)
    batches.append(own[:whole].reshape(-1, batch_size))
    kinds.append(np.full(whole // batch_size, number))
    over = own[whole:]
  return Plan(np.concatenate(batches), np.concatenate(kinds))


def widths(
  most: Mapping[str, int], boundaries: Sequence[int] = ()
) -> tuple[dict[str, int], ...]:
  """Returns the widths of the buckets by axis.

  Args:
    most: The longest row on each axis.
    boundaries: Widths; () means an eighth, a quarter, a half and the whole of
      the longest, but none under 8.
  """
  longest = max(most.values())
  if not boundaries:
    parts = (-(-longest // share) for share in (8, 4, 2))
    boundaries = {max(part, min(LEAST, longest)) for part in parts}
  if any(width < 1 for width in boundaries):
    raise UserError(
      f'config.data.buckets is {tuple(boundaries)}, but a width is a number of'
      ' tokens. Set it to some from 1 to config.data.length, or to ().'
    )
  inner = sorted(width for width in boundaries if width < longest)
  return tuple(
    {axis: min(width, own) for axis, own in most.items()}
    for width in [*inner, longest]
  )
