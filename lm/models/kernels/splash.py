"""Splash attention: JAX's own fused kernel for TPUs, written in Pallas."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lm.models.kernels.case import Case
from lm.models.kernels.shares import on_each_device
from lm.models.masks import Mask

LANES = 128  # Of a TPU's vector unit; lengths must be multiples of it.
BLOCKS = (512, 256, 128)  # The longest that divides the length is used.
AXES = {
  'query': 'B L H K',
  'key': 'B T H K',
  'value': 'B T H K',
  'own': 'B L',
  'ids': 'B T',
}


def refusal(case: Case) -> str | None:
  """Returns why it cannot compute this, or None if it can."""
  if case.platform != 'tpu':
    return (
      f'it needs a TPU, and the devices here are of the kind {case.platform}'
    )
  if case.head_dim % 64:
    return f'its head_dim is a multiple of 64, and not {case.head_dim}'
  lengths = case.num_queries, case.num_keys
  if any(length % LANES for length in lengths):
    return (
      f'its lengths are multiples of {LANES}, and not {lengths[0]} queries of'
      f' {lengths[1]} keys'
    )
  if case.biased:
    return 'it adds no bias by distance to the scores'
  if case.mask.prefix is not None:
    return 'it knows no prefix that all of a document may see'
  if case.mask.split_heads is not None:
    return 'its heads read in one direction'
  return None


def splash(
  query: Float[Array, 'B Q H K'],
  key: Float[Array, 'B T H K'],
  value: Float[Array, 'B T H K'],
  mask: Mask,
  interpret: bool = False,
) -> Float[Array, 'B Q H K']:
  """Attends without storing scores; see `lm.models.attention.attend`.

  Args:
    interpret: Runs the kernel in an interpreter on any platform, for tests.
  """
  arrays = {'query': query, 'key': key, 'value': value} | _documents(
    mask, query
  )

  def compute(query, key, value, own=None, ids=None):
    # Imported here, since it takes a second and is only needed on a TPU.
    from jax.experimental.pallas.ops.tpu import splash_attention

    ids = None if ids is None else splash_attention.SegmentIds(own, ids)
    shape = query.shape[2], query.shape[1], key.shape[1]
    kernel = _kernel(splash_attention, mask, shape, interpret)
    by_head = (x.swapaxes(1, 2) for x in (query, key, value))
    return jax.vmap(kernel)(*by_head, ids).swapaxes(1, 2)

  return on_each_device(compute, arrays, AXES, 'query')


def _kernel(splash_attention, mask, shape, interpret):
  """Returns the kernel for the heads of one row, `[H, L, K]`."""
  heads, lengths = shape[0], shape[1:]
  if mask.window is not None:
    seen = splash_attention.LocalMask(lengths, (mask.window - 1, 0), 0)
  elif mask.causal:
    seen = splash_attention.CausalMask(lengths)
  else:
    seen = splash_attention.FullMask(lengths)
  query, key = (
    next(n for n in BLOCKS if length % n == 0) for length in lengths
  )
  blocks = splash_attention.BlockSizes(
    block_q=query,
    block_kv=key,
    block_q_dkv=query,
    block_kv_dkv=key,
    block_q_dq=query,
    block_kv_dq=key,
  )
  return splash_attention.make_splash_mha_single_device(
    splash_attention.MultiHeadMask([seen] * heads),
    block_sizes=blocks,
    interpret=interpret,
  )


def _documents(mask: Mask, query: Array) -> dict[str, Int[Array, 'B _']]:
  """Returns the documents of queries and keys; padding belongs to none."""
  ids = mask.segment_ids
  if ids is None and mask.valid is None:
    return {}
  if ids is None:
    own = jnp.zeros(query.shape[:2], jnp.int32)
    ids = jnp.zeros(mask.valid.shape, jnp.int32)
  else:
    own = ids if mask.query_segment_ids is None else mask.query_segment_ids
  if mask.valid is not None:
    ids = jnp.where(mask.valid, ids, -1)
  return {'own': own, 'ids': ids}
