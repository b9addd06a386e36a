"""What may attend to what: descriptions, joined by `&`.

A description says what is seen, not how it is computed. The plain kernel asks
for the dense matrix; a fused kernel reads the fields that it supports.

Conditions are over *slots*: where a token stands in its row, or in the cache.
"""

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Int


@struct.dataclass
class Mask:
  """A conjunction of conditions; those that are None do not restrict.

  Attributes:
    causal: A query sees its own slot and those before it.
    window: A query sees this many slots up to its own; needs `causal`.
    valid: The keys that hold a token.
    segment_ids: Which document each token is of; others are not seen.
  """

  causal: bool = struct.field(pytree_node=False, default=False)
  window: Int[Array, ''] | Int[Array, 'N'] | None = None
  valid: Bool[Array, 'B T'] | None = None
  segment_ids: Int[Array, 'B T'] | None = None

  def __and__(self, other: 'Mask') -> 'Mask':
    return Mask(
      causal=self.causal or other.causal,
      window=_both(self.window, other.window, jnp.minimum),
      valid=_both(self.valid, other.valid, jnp.logical_and),
      segment_ids=_both(self.segment_ids, other.segment_ids, _refuse),
    )

  def dense(
    self, queries: Int[Array, '#B Q'], keys: Int[Array, '#B T']
  ) -> Bool[Array, '#B 1 #Q T'] | None:
    """Returns the matrix for these slots, or None if all is seen."""
    queries, keys = queries[:, None, :, None], keys[:, None, None, :]
    seen = []
    if self.causal:
      seen.append(keys <= queries)
    if self.window is not None:
      seen.append(keys > queries - self.window)
    if self.valid is not None:
      seen.append(self.valid[:, None, None, :])
    if self.segment_ids is not None:
      ids = self.segment_ids
      seen.append((ids[:, :, None] == ids[:, None, :])[:, None])
    if not seen:
      return None
    whole = seen[0]
    for condition in seen[1:]:
      whole = whole & condition
    return whole


def causal() -> Mask:
  """A position sees itself and what precedes it."""
  return Mask(causal=True)


def window(size: Int[Array, ''] | Int[Array, 'N'] | int) -> Mask:
  """A position sees the `size` positions that end with itself."""
  return Mask(causal=True, window=jnp.asarray(size))


def valid(keys: Bool[Array, 'B T']) -> Mask:
  """Every query sees the keys that hold a token, and no padding."""
  return Mask(valid=keys)


def same_segment(segment_ids: Int[Array, 'B T']) -> Mask:
  """Documents packed into one row do not see each other."""
  return Mask(segment_ids=segment_ids)


def _both(ours, theirs, join):
  if ours is None or theirs is None:
    return theirs if ours is None else ours
  return join(ours, theirs)


def _refuse(ours, theirs):
  raise ValueError('Two masks with segment_ids cannot be joined: give one.')
