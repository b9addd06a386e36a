"""cuDNN's fused attention on an NVIDIA GPU, through `jax.nn`.

It supports causality, a window and lengths. Other masks and a bias are passed
as a matrix, whose memory grows with the square of the length, though all heads
or all rows share it.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from lm.models.kernels.case import Case
from lm.models.kernels.shares import on_each_device
from lm.models.masks import Mask
from lm.models.positions import RelativeBias

AMPERE, HOPPER = (8, 0), (9, 0)
AXES = {
  'query': 'B L H K',
  'key': 'B T H K',
  'value': 'B T H K',
  'valid': 'B T',
  'bias': '. H . .',
}


def refusal(case: Case) -> str | None:
  """Returns why it cannot compute this, or None if it can."""
  if case.capability is None or case.capability < AMPERE:
    return 'it needs an NVIDIA GPU, Ampere or later'
  if case.dtype not in ('bfloat16', 'float16'):
    return f'it computes in bfloat16 or float16, not in {case.dtype}'
  most = 256 if case.capability >= HOPPER else 128
  if case.head_dim % 8 or case.head_dim > most:
    return (
      f'its head_dim is a multiple of 8, on this GPU up to {most}, and not'
      f' {case.head_dim}'
    )
  mask = case.mask
  of_rows = (mask.valid, mask.segment_ids, mask.prefix)
  if case.biased and any(x is not None for x in of_rows):
    return 'with a bias, a mask that differs by row would be one by head, too'
  if _needs_matrix(mask, case.biased) or case.biased:
    lengths = case.num_queries, case.num_keys
    if any(length % 2 for length in lengths):
      return (
        'with a bias, or a mask that is a matrix, it takes even lengths, and'
        f' not {lengths[0]} queries of {lengths[1]} keys'
      )
  return None


def cudnn(
  query: Float[Array, 'B Q H K'],
  key: Float[Array, 'B T H K'],
  value: Float[Array, 'B T H K'],
  mask: Mask,
  bias: RelativeBias | None = None,
  implementation: Literal['cudnn', 'xla'] = 'cudnn',
) -> Float[Array, 'B Q H K']:
  """Attends without storing scores; see `lm.models.attention.attend`.

  Args:
    implementation: Of `jax.nn.dot_product_attention`; 'xla' computes the same
      on any platform, for tests.
  """
  arrays, axes = {'query': query, 'key': key, 'value': value}, dict(AXES)
  slots, keys = (jnp.arange(x.shape[1])[None] for x in (query, key))
  if bias is not None:
    arrays['bias'] = bias.dense(slots, keys).astype(query.dtype)
  if _needs_matrix(mask, bias is not None):
    seen = mask.dense(slots, keys)
    rows, heads = (size > 1 for size in seen.shape[:2])
    axes['seen'] = f'{"B" if rows else "."} {"H" if heads else "."} . .'
    arrays['seen'] = seen
    mask = Mask(causal=mask.causal and mask.prefix is None)
  elif mask.valid is not None:
    arrays['valid'] = mask.valid

  def compute(query, key, value, bias=None, seen=None, valid=None):
    lengths = None
    if valid is not None:
      key, value, lengths = _valid_first(valid, key, value)
    return jax.nn.dot_product_attention(
      query,
      key,
      value,
      bias,
      seen,
      scale=1.0,
      is_causal=mask.causal,
      key_value_seq_lengths=lengths,
      local_window_size=mask.window and (mask.window - 1, 0),
      implementation=implementation,
    )

  return on_each_device(compute, arrays, axes, 'query')


def _needs_matrix(mask: Mask, biased: bool) -> bool:
  """Whether the mask can be passed to cuDNN only as a matrix."""
  others = (mask.split_heads, mask.segment_ids, mask.prefix)
  if any(x is not None for x in others):
    return True
  ordered = mask.causal or mask.window is not None
  if mask.valid is not None:
    return ordered or biased
  return biased and mask.window is not None


def _valid_first(
  valid: Bool[Array, 'B T'], *arrays: Shaped[Array, 'B T H K']
) -> tuple[Shaped[Array, 'B T H K'] | Int[Array, 'B'], ...]:
  """Returns the arrays with valid entries first, and the number of these.

  If the mask does not depend on the order of keys, they may be permuted, so
  padding may be anywhere in a row. Invalid entries and their gradients are 0.
  """
  order = jnp.argsort(~valid, axis=1, stable=True)
  lengths = jnp.sum(valid, axis=1, dtype=jnp.int32)
  kept = jnp.arange(valid.shape[1])[None] < lengths[:, None]

  @jax.vmap
  def take(x, order):
    return x.at[order].get(mode='promise_in_bounds', unique_indices=True)

  moved = (
    jnp.where(kept[:, :, None, None], take(x, order), jnp.zeros((), x.dtype))
    for x in arrays
  )
  # A row without tokens attends to one entry, which gives 0 and not NaN.
  return *moved, jnp.maximum(lengths, 1)
