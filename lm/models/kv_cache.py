"""The cache of keys and values for autoregressive decoding.

Decoding is on exactly when the caller makes the `cache` collection mutable:
`model.apply(variables, tokens=..., mutable=['cache'])`. The first such call, on
the prompts, creates the cache. Prompts may differ in length, and are padded on
the right: each row writes at its own index, and its entries for padding are
overwritten before any query can attend to them.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from lm.types import PyTree, path_of


def is_on(module: nn.Module) -> bool:
  """Whether the caller is decoding."""
  return module.is_mutable_collection('cache') and not module.is_initializing()


def take_slots(
  module: nn.Module,
  tokens: Int[Array, 'B L'],
  valid: Bool[Array, 'B L'] | None,
) -> Int[Array, 'B L'] | None:
  """Returns the cache slot of each token, or None if not decoding.

  Called once by the model, which passes the slots to its layers.
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
  """Writes to the cache of `module` at `slots`, and returns all of it."""
  rows, _, heads, width = key.shape
  # Heads before tokens, as the matmuls of attention need them: with tokens
  # first, a CPU transposes the whole cache for every token.
  shape = (rows, heads, capacity, width)
  keys = module.variable('cache', 'keys', jnp.zeros, shape, key.dtype)
  values = module.variable('cache', 'values', jnp.zeros, shape, value.dtype)
  row = jnp.arange(rows)[:, None]
  keys.value = keys.value.at[row, :, slots].set(key, mode='drop')
  values.value = values.value.at[row, :, slots].set(value, mode='drop')
  return keys.value.swapaxes(1, 2), values.value.swapaxes(1, 2)


def source(
  module: nn.Module,
  heads: tuple[Float[Array, 'B S H K'], Float[Array, 'B S H K']] | None,
) -> tuple[Float[Array, 'B S H K'], Float[Array, 'B S H K']]:
  """Returns the keys and values of a source, cached while decoding.

  Args:
    module: The module that caches them.
    heads: Keys and values of a given source; None means the cached ones.
  """
  if not is_on(module):
    return heads
  names = ('source_keys', 'source_values')
  if heads is not None:  # Heads before tokens, as in `append`.
    for name, array in zip(names, heads):
      module.put_variable('cache', name, array.swapaxes(1, 2))
    return heads
  key, value = (module.get_variable('cache', name) for name in names)
  return key.swapaxes(1, 2), value.swapaxes(1, 2)


def empty(like: PyTree, capacity: int) -> PyTree:
  """Returns an empty cache with room for `capacity` tokens per row.

  A model that is given one uses it, instead of creating one for as many tokens
  as it can hold: a smaller cache means that less is read for every token.

  Args:
    like: The cache that the model would create, as arrays or as shapes.
    capacity: Tokens per row, at most the model's own.
  """

  def zeros(path, leaf):
    shape = leaf.shape
    if _name(path) in ('keys', 'values'):
      shape = (*shape[:-2], capacity, shape[-1])
    return jnp.zeros(shape, leaf.dtype)

  return jax.tree_util.tree_map_with_path(zeros, like)


def forget(cache: PyTree, rows: Bool[Array, 'B']) -> PyTree:
  """Returns the cache with the given rows emptied.

  Only their index is reset: entries after it are never attended to.
  """

  def rewind(path, leaf):
    return jnp.where(rows, 0, leaf) if _name(path) == 'index' else leaf

  return jax.tree_util.tree_map_with_path(rewind, cache)


def repeat(cache: PyTree, times: int) -> PyTree:
  """Returns the cache with each row repeated `times` times in succession."""

  def copies(path, leaf):
    return jnp.repeat(leaf, times, axis=_rows_axis(path, leaf))

  return jax.tree_util.tree_map_with_path(copies, cache)


def reorder(cache: PyTree, rows: Int[Array, 'B']) -> PyTree:
  """Returns the cache with the keys and values of row `rows[i]` as row i.

  Rows that change places must have the same source and length, as the beams of
  a text do: the source and the index are not moved.
  """

  def moved(path, leaf):
    if _name(path) not in ('keys', 'values'):
      return leaf
    return jnp.take(leaf, rows, axis=_rows_axis(path, leaf))

  return jax.tree_util.tree_map_with_path(moved, cache)


def _rows_axis(path: tuple, leaf: Array) -> int:
  """Returns the batch axis; arrays stacked over layers have one before it."""
  if _name(path) in ('keys', 'values', 'source_keys', 'source_values'):
    return leaf.ndim - 4
  return 0


def _name(path: tuple) -> str:
  """Returns the last name of a path, before any index of a layer."""
  names = path_of(path).split('/')
  return next(name for name in reversed(names) if not name.isdigit())
