"""Who reads what from whom: scaled dot-product attention."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lm.models.masks import Mask
from lm.models.positions import RelativeBias


def attend(
  query: Float[Array, 'B Q H K'],
  key: Float[Array, 'B T H K'],
  value: Float[Array, 'B T H K'],
  mask: Mask,
  slots: Int[Array, '#B Q'],
  dropout: Callable[[Array], Array],
  bias: RelativeBias | None = None,
) -> Float[Array, 'B Q H K']:
  """Reads the values by how well their keys match (Vaswani et al. 2017, 3.2).

  Attention knows nothing of causality, padding or position: what may be seen is
  a value, `mask`, over the slots at which the queries stand.

  Args:
    query: Already scaled.
    key: What is compared with the query; key t stands at slot t.
    value: What is read.
    mask: What each query may see.
    slots: Where each query stands among the keys.
    dropout: Applied to the weights; the identity outside training.
    bias: Added to the scores.
  """
  scores = jnp.einsum(
    'BQHK,BTHK->BHQT', query, key, preferred_element_type=jnp.float32
  )
  keys = jnp.arange(key.shape[1])[None]
  if bias is not None:
    scores += bias.dense(slots, keys)
  seen = mask.dense(slots, keys)
  if seen is not None:  # Not -inf: a row that sees nothing must not be NaN.
    scores = jnp.where(seen, scores, jnp.finfo(scores.dtype).min)
  weights = dropout(jax.nn.softmax(scores, axis=-1).astype(value.dtype))
  return jnp.einsum('BHQT,BTHK->BQHK', weights, value)
