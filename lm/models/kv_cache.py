"""Keys and values remembered between the steps of autoregressive decoding.

Decoding is on exactly when the caller makes the `cache` collection mutable:
`model.apply(variables, tokens=..., mutable=['cache'])`. The first such call, on
the prompts, makes the cache. Rows may have prompts of unequal length, padded on
the right: every row writes at an index of its own, and what it wrote for
padding is overwritten before anything can see it.
"""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int


def is_on(module: nn.Module) -> bool:
  """Whether the caller decodes."""
  return module.is_mutable_collection('cache') and not module.is_initializing()


def take_slots(
  module: nn.Module,
  tokens: Int[Array, 'B L'],
  valid: Bool[Array, 'B L'] | None,
) -> Int[Array, 'B L'] | None:
  """Returns where each token is to be written, or None if nobody decodes.

  Called once by the model; its layers write at the slots that it hands down.
  """
  if not is_on(module):
    return None
  rows, length = tokens.shape
  index = module.variable('cache', 'index', jnp.zeros, (rows,), jnp.int32)
  slots = index.value[:, None] + jnp.arange(length)[None]
  used = length if valid is None else jnp.sum(valid, axis=-1, dtype=jnp.int32)
  index.value = index.value + used
  return slots


def append(
  module: nn.Module,
  key: Float[Array, 'B L H K'],
  value: Float[Array, 'B L H K'],
  slots: Int[Array, 'B L'],
  capacity: int,
) -> tuple[Float[Array, 'B T H K'], Float[Array, 'B T H K']]:
  """Writes at `slots` of what `module` remembers, and returns all of it."""
  rows, _, heads, width = key.shape
  shape = (rows, capacity, heads, width)
  keys = module.variable('cache', 'keys', jnp.zeros, shape, key.dtype)
  values = module.variable('cache', 'values', jnp.zeros, shape, value.dtype)
  row = jnp.arange(rows)[:, None]
  keys.value = keys.value.at[row, slots].set(key, mode='drop')
  values.value = values.value.at[row, slots].set(value, mode='drop')
  return keys.value, values.value
