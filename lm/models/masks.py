"""Attention masks: descriptions of what attends to what, joined by `&`.

A description does not say how attention is computed. The plain kernel uses it
as a dense matrix; a fused kernel reads the fields that it supports.

Conditions refer to *slots*: the index of a token in its row or in the cache.
"""

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Int


@struct.dataclass
class Mask:
  """A conjunction of conditions; those that are None do not restrict.

  Attributes:
    causal: A query attends to its own slot and those before it.
    split_heads: Two numbers of heads: the first ones attend causally, the
      others to their own slot and those after it.
    window: A query attends to this many slots up to its own; needs `causal`.
    banded: Whether the window applies, to a layer or to each; None: it does.
    valid: Keys that are not padding.
    segment_ids: The document of each token; attention stays within it.
    query_segment_ids: Those of queries, if they are not from the same row.
    prefix: Keys visible to their whole document, in either direction.
  """

  causal: bool = struct.field(pytree_node=False, default=False)
  split_heads: tuple[int, int] | None = struct.field(
    pytree_node=False, default=None
  )
  window: int | None = struct.field(pytree_node=False, default=None)
  banded: Bool[Array, ''] | Bool[Array, 'N'] | None = None
  valid: Bool[Array, 'B T'] | None = None
  segment_ids: Int[Array, 'B T'] | None = None
  query_segment_ids: Int[Array, 'B Q'] | None = None
  prefix: Bool[Array, 'B T'] | None = None

  def __and__(self, other: 'Mask') -> 'Mask':
    banded = self.banded is not None or other.banded is not None
    if banded and None not in (self.window, other.window):
      _refuse(self, other)
    return Mask(
      causal=self.causal or other.causal,
      split_heads=_both(self.split_heads, other.split_heads, _refuse),
      window=_both(self.window, other.window, min),
      banded=_both(self.banded, other.banded, _refuse),
      valid=_both(self.valid, other.valid, jnp.logical_and),
      segment_ids=_both(self.segment_ids, other.segment_ids, _refuse),
      query_segment_ids=_both(
        self.query_segment_ids, other.query_segment_ids, _refuse
      ),
      prefix=_both(self.prefix, other.prefix, jnp.logical_or),
    )

  def dense(
    self, queries: Int[Array, '#B Q'], keys: Int[Array, '#B T']
  ) -> Bool[Array, '#B #H #Q T'] | None:
    """Returns the matrix for these slots, or None if nothing is masked."""
    queries, keys = queries[:, None, :, None], keys[:, None, None, :]
    seen = []
    if self.causal:
      seen.append(keys <= queries)
    if self.split_heads is not None:
      heads = ((keys <= queries, keys >= queries), self.split_heads)
      seen.append(
        jnp.concatenate([jnp.repeat(x, n, axis=1) for x, n in zip(*heads)], 1)
      )
    if self.window is not None:
      near = keys > queries - self.window
      seen.append(near if self.banded is None else near | ~self.banded)
    if self.prefix is not None and seen:  # In decoding, the cache is longer.
      room = keys.shape[-1] - self.prefix.shape[-1]
      prefix = jnp.pad(self.prefix, ((0, 0), (0, room)))[:, None, None, :]
      seen = [_all(seen) | prefix]
    if self.valid is not None:
      seen.append(self.valid[:, None, None, :])
    if self.segment_ids is not None:
      ids, own = self.segment_ids, self.query_segment_ids
      own = ids if own is None else own
      seen.append((own[:, :, None] == ids[:, None, :])[:, None])
    return _all(seen) if seen else None


def causal() -> Mask:
  """Each query attends to its own slot and those before it."""
  return Mask(causal=True)


def direction(attention: str, num_heads: int) -> Mask:
  """Returns the mask for a value of `TransformerConfig.attention`."""
  return {
    'causal': causal(),
    'bidirectional': Mask(),
    'forward_backward': Mask(split_heads=(-(-num_heads // 2), num_heads // 2)),
  }[attention]


def window(
  size: int, banded: Bool[Array, ''] | Bool[Array, 'N'] | None = None
) -> Mask:
  """Each query attends to the `size` slots that end with its own.

  Args:
    size: Number of slots, its own included.
    banded: Whether the window applies, to a layer or to each; None: it does.
  """
  return Mask(causal=True, window=size, banded=banded)


def valid(keys: Bool[Array, 'B T']) -> Mask:
  """No query attends to padding."""
  return Mask(valid=keys)


def same_segment(
  segment_ids: Int[Array, 'B T'],
  query_segment_ids: Int[Array, 'B Q'] | None = None,
) -> Mask:
  """Documents packed into one row do not attend to each other."""
  return Mask(segment_ids=segment_ids, query_segment_ids=query_segment_ids)


def prefix(keys: Bool[Array, 'B T']) -> Mask:
  """The given keys are visible to their whole document."""
  return Mask(prefix=keys)


def of_tokens(
  valid: Bool[Array, 'B T'] | None,
  segment_ids: Int[Array, 'B T'] | None,
) -> Mask:
  """Returns the mask of rows with padding or several documents."""
  mask = Mask()
  if valid is not None:
    mask &= Mask(valid=valid)
  return mask if segment_ids is None else mask & same_segment(segment_ids)


def _all(conditions):
  whole = conditions[0]
  for condition in conditions[1:]:
    whole = whole & condition
  return whole


def _both(ours, theirs, join):
  if ours is None or theirs is None:
    return theirs if ours is None else ours
  return join(ours, theirs)


def _refuse(ours, theirs):
  raise ValueError('Two such masks cannot be joined: give one.')
