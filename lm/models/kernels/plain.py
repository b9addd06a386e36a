"""Attention that stores the scores of all pairs."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lm.models.masks import Mask
from lm.models.positions import RelativeBias
from lm.types import product


def plain(
  query: Float[Array, 'B Q H K'],
  key: Float[Array, 'B T H K'],
  value: Float[Array, 'B T H K'],
  mask: Mask,
  slots: Int[Array, '#B Q'] | None = None,
  dropout: Callable[[Array], Array] | None = None,
  bias: RelativeBias | None = None,
) -> Float[Array, 'B Q H K']:
  """Computes attention as a reference for all other kernels.

  Arguments as for `lm.models.attention.attend`.
  """
  read_by = weights(query, key, mask, slots, bias).astype(value.dtype)
  if dropout is not None:
    read_by = dropout(read_by)
  return jnp.einsum('BHQT,BTHK->BQHK', read_by, value)


def weights(
  query: Float[Array, 'B Q H K'],
  key: Float[Array, 'B T H K'],
  mask: Mask,
  slots: Int[Array, '#B Q'] | None = None,
  bias: RelativeBias | None = None,
) -> Float[Array, 'B H Q T']:
  """Returns the attention weights, in float32.

  Arguments as for `lm.models.attention.attend`.
  """
  scores = product('BQHK,BTHK->BHQT', query, key)
  keys = jnp.arange(key.shape[1])[None]
  slots = jnp.arange(query.shape[1])[None] if slots is None else slots
  if bias is not None:
    scores += bias.dense(slots, keys)
  seen = mask.dense(slots, keys)
  if seen is not None:  # Not -inf: a query without keys must not give NaN.
    scores = jnp.where(seen, scores, jnp.finfo(scores.dtype).min)
  return jax.nn.softmax(scores, axis=-1)
