"""Examples of several sources, mixed in exact proportions.

Of every `PERIOD` examples each source has its share, in an order that is drawn
anew for each period. So the source of any index, and the example in it, is
known without counting, and a run can resume from any index.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from lm.data import randomness
from lm.data.sources import Source
from lm.types import Examples, UserError

PERIOD = 1000


@dataclasses.dataclass(frozen=True)
class Mixture:
  """An endless stream over several sources.

  Attributes:
    sources: Sources whose examples have the same form.
    shares: How many of every `PERIOD` examples each source has.
    seed: Seed of their order.
  """

  sources: tuple[Source, ...]
  shares: Int[np.ndarray, 'K']
  seed: int

  @property
  def size(self) -> int:
    """How many examples an epoch has."""
    return sum(source.size for source in self.sources)

  def place(
    self, index: Int[np.ndarray, 'B']
  ) -> tuple[Int[np.ndarray, 'B'], Int[np.ndarray, 'B']]:
    """Returns the source of each example, and its index there."""
    period, slot = np.divmod(index, PERIOD)
    slot = randomness.permute(slot, PERIOD, self.seed, period)
    ends = np.cumsum(self.shares)
    which = np.searchsorted(ends, slot, 'right')
    rank = slot - (ends - self.shares)[which]
    return which, period * self.shares[which] + rank

  def examples_at(self, index: Int[np.ndarray, 'B']) -> Examples:
    """Returns the examples with these indices."""
    return _join(self.sources, *self.place(index))

  def draws(self, index: Int[np.ndarray, 'B']) -> Int[np.ndarray, 'B']:
    """Returns the counter that each example's randomness is drawn from."""
    which, own = self.place(index)
    for number, source in enumerate(self.sources):
      mine = which == number
      own[mine] = source.draws(own[mine])
    return own * len(self.sources) + which


@dataclasses.dataclass(frozen=True)
class Concatenation:
  """A single pass over several sources, one after another."""

  sources: tuple[Source, ...]

  @property
  def size(self) -> int:
    """How many examples an epoch has."""
    return sum(source.size for source in self.sources)

  def examples_at(self, index: Int[np.ndarray, 'B']) -> Examples:
    """Returns the examples with these indices."""
    ends = np.cumsum([source.size for source in self.sources])
    which = np.searchsorted(ends, index, 'right')
    which = np.minimum(which, len(self.sources) - 1)  # Past the end: filler.
    starts = np.concatenate([[0], ends])
    return _join(self.sources, which, index - starts[which])

  def draws(self, index: Int[np.ndarray, 'B']) -> Int[np.ndarray, 'B']:
    """Returns the counter that each example's randomness is drawn from."""
    return index


def shares_of(weights: Sequence[float]) -> Int[np.ndarray, 'K']:
  """Returns integer shares of `PERIOD`, by largest remainder, none of them 0.

  Raises:
    UserError: A weight is not above 0.
  """
  if not weights or min(weights) <= 0:
    raise UserError(
      f'The weights of config.data.mixture are {list(weights)}, but each says'
      ' how much there is of a source. Give every source one above 0.'
    )
  exact = PERIOD * np.array(weights) / sum(weights)
  shares = np.maximum(np.floor(exact), 1).astype(np.int64)
  order = np.argsort(shares - exact, kind='stable')
  for number in range(PERIOD - int(shares.sum())):
    shares[order[number % len(order)]] += 1
  while shares.sum() > PERIOD:  # Many were rounded up to 1.
    shares[np.argmax(shares)] -= 1
  return shares


def _join(
  sources: Sequence[Source],
  which: Int[np.ndarray, 'B'],
  index: Int[np.ndarray, 'B'],
) -> Examples:
  """Returns example `index` of source `which`, in the order of the rows."""
  joined: dict[str, np.ndarray] = {}
  for number, source in enumerate(sources):
    mine = which == number
    if mine.any():
      for name, rows in source.examples_at(index[mine]).items():
        whole = joined.setdefault(
          name, np.zeros((len(which), *rows.shape[1:]), rows.dtype)
        )
        whole[mine] = rows
  return joined
