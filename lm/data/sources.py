"""Examples from a token store: any of the endless, shuffled stream in O(1).

The index of an example is all the state there is. With a seed the stream is
endless: each example once an epoch, each epoch in another order. Without one it
is a single pass in order, for evaluation, and indices past its end give filler.
"""

import dataclasses
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int

from lm.data import randomness
from lm.data.packing import OVERLAP, Plan
from lm.data.token_store import TokenStore
from lm.types import Examples, UserError


@runtime_checkable
class Source(Protocol):
  """Where examples come from."""

  @property
  def size(self) -> int:
    """How many examples an epoch has."""

  def examples_at(self, index: Int[np.ndarray, 'B']) -> Examples:
    """Returns the examples with these indices; all arrays are `[B, length]`.

    `tokens`, `valid` (False on filler), `bytes` (of text a token stands for);
    of packed documents also `segment_ids` (from 1; 0 on filler) and
    `positions` (which restart with every segment).
    """


@dataclasses.dataclass(frozen=True)
class Windows:
  """Windows over the stream of all tokens, whichever documents they are of.

  Windows of 4 tokens over 9: the last token of one is the first of the next,
  so every token but the very first is asked for once. The last is filled up.

      0 1 2 3 | 3 4 5 6 | 6 7 8 .

  With a seed only whole windows are used, one less than there are, and each
  epoch moves all of them by a number of its own. So no token is always at the
  same place, nor left out in every epoch.
  """

  store: TokenStore
  length: int
  seed: int | None

  @property
  def size(self) -> int:
    asked = len(self.store.tokens) - OVERLAP
    stride = self.length - OVERLAP
    if self.seed is None:
      return -(-asked // stride)
    return max(1, asked // stride - 1)  # One less, to move them by a stride.

  def examples_at(self, index: Int[np.ndarray, 'B']) -> Examples:
    stride = self.length - OVERLAP
    row, moved = index, np.zeros_like(index)
    if self.seed is not None:
      row, epoch = _shuffled(index, self.size, self.seed)
      room = len(self.store.tokens) - OVERLAP - self.size * stride
      moved = randomness.integers(self.seed, 'window', epoch, room + 1)
    places = (moved + row * stride)[:, None] + np.arange(self.length)
    within = places < len(self.store.tokens)
    return _read(self.store, places, within & (row < self.size)[:, None])


@dataclasses.dataclass(frozen=True)
class Packed:
  """Rows of whole documents; those that are longer than a row are cut.

  Documents a a a, b b and c c c c c in rows of 6 tokens:

      tokens       a a a b b .    c c c c c .
      segment_ids  1 1 1 2 2 0    1 1 1 1 1 0
      positions    0 1 2 0 1 0    0 1 2 3 4 0
  """

  store: TokenStore
  length: int
  seed: int | None
  plan: Plan

  @property
  def size(self) -> int:
    return self.plan.size

  def examples_at(self, index: Int[np.ndarray, 'B']) -> Examples:
    row, real = index, np.ones(len(index), bool)
    if self.seed is None:
      row, real = np.minimum(index, self.size - 1), index < self.size
    else:
      row, _ = _shuffled(index, self.size, self.seed)
    first = self.plan.rows[row]
    counts = np.where(real, self.plan.rows[row + 1] - first, 0)
    number = _count_up(counts)  # Of each piece within its row.
    piece = np.repeat(first, counts) + number
    starts, sizes = self.plan.starts[piece], self.plan.sizes[piece]
    fill = np.bincount(np.repeat(np.arange(len(row)), counts), sizes, len(row))
    valid = np.arange(self.length) < fill[:, None]

    def spread(flat):
      rows = np.zeros(valid.shape, np.int64)
      rows[valid] = flat
      return rows

    position = _count_up(sizes)
    places = spread(np.repeat(starts, sizes) + position)
    return {
      **_read(self.store, places, valid),
      'segment_ids': spread(np.repeat(number + 1, sizes)).astype(np.int32),
      'positions': spread(position).astype(np.int32),
    }


def windows(store: TokenStore, length: int, seed: int | None) -> Windows:
  """Returns windows over the text; see `Windows`.

  Raises:
    UserError: The text is shorter than one window.
  """
  _check_length(length)
  tokens = len(store.tokens)
  if tokens < (OVERLAP + 1 if seed is None else length):
    raise UserError(
      f'The text has {tokens} tokens, fewer than one window of {length}. Give'
      ' more text, or set config.data.length lower.'
    )
  return Windows(store, length, seed)


def packed(store: TokenStore, length: int, seed: int | None) -> Packed:
  """Returns rows of whole documents; see `Packed`.

  Raises:
    UserError: No document has two tokens.
  """
  _check_length(length)
  plan = store.packing(length)
  if not plan.size:
    raise UserError(
      f'None of the {len(store.offsets) - 1} documents of the text has more'
      ' than one token, so there is nothing to ask for. Give more text, or set'
      " config.data.packing to 'windows'."
    )
  return Packed(store, length, seed, plan)


def _check_length(length: int) -> None:
  if length <= OVERLAP:
    raise UserError(
      f'An example would have {length} tokens, but to ask for one takes two.'
      ' Set config.data.length higher.'
    )


PACKINGS: dict[str, Callable[[TokenStore, int, int | None], Source]] = {
  'windows': windows,
  'documents': packed,
}


def _shuffled(
  index: Int[np.ndarray, 'B'], size: int, seed: int
) -> tuple[Int[np.ndarray, 'B'], Int[np.ndarray, 'B']]:
  """Returns the row that each example is, and the epoch it is of."""
  epoch, slot = np.divmod(index, size)
  return randomness.permute(slot, size, seed, epoch), epoch


def _count_up(counts: Int[np.ndarray, 'M']) -> Int[np.ndarray, 'N']:
  """Counts from 0 in each: 2 3 1 gives 0 1 0 1 2 0."""
  ends = np.cumsum(counts)
  return np.arange(counts.sum()) - np.repeat(ends - counts, counts)


def _read(
  store: TokenStore,
  places: Int[np.ndarray, 'B L'],
  valid: Bool[np.ndarray, 'B L'],
) -> dict[str, np.ndarray]:
  """Returns what stands at `places`, and filler where not `valid`."""
  places = np.where(valid, places, 0)
  tokens = store.tokens[places]
  counts = store.bytes_of(places, tokens)
  return {
    'tokens': np.where(valid, tokens, 0).astype(np.int32),
    'valid': valid,
    'bytes': np.where(valid, counts, 0).astype(np.int32),
  }
