"""Who reads what from whom: scaled dot-product attention, by several kernels."""

import functools
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from absl import logging
from jaxtyping import Array, Float, Int

from lm.models.masks import Mask
from lm.models.positions import RelativeBias
from lm.types import product

Kernel = Literal['auto', 'plain', 'chunked']
CHUNK = 128  # Queries whose scores are held at once.
LONG = 2048  # From this many keys on, 'auto' does not hold all scores.


def attend(
  query: Float[Array, 'B Q H K'],
  key: Float[Array, 'B T H K'],
  value: Float[Array, 'B T H K'],
  mask: Mask,
  slots: Int[Array, '#B Q'],
  dropout: Callable[[Array], Array] | None = None,
  bias: RelativeBias | None = None,
  kernel: Kernel = 'plain',
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
    dropout: Applied to the weights; None: nothing is.
    bias: Added to the scores.
    kernel: Which of them computes it; 'auto': what fits.
  """
  name, why = choose(kernel, key.shape[1], query.shape[1], dropout is not None)
  _say(name, why)
  compute = {'plain': plain, 'chunked': chunked}[name]
  return compute(query, key, value, mask, slots, dropout, bias)


def choose(
  kernel: Kernel, num_keys: int, num_queries: int, drops: bool
) -> tuple[str, str]:
  """Returns the kernel to use, and why."""
  if drops:
    return 'plain', 'attention weights are dropped out, which it alone does'
  if kernel != 'auto':
    return kernel, 'config.model.kernel says so'
  if num_keys < LONG or num_queries <= CHUNK:
    return 'plain', 'rows are short'
  return 'chunked', f'rows have {LONG} tokens or more'


@functools.cache
def _say(name: str, why: str) -> None:
  logging.info('Attention is computed by the %s kernel: %s.', name, why)


def plain(query, key, value, mask, slots, dropout=None, bias=None):
  """Holds the scores of all pairs; arguments as those of `attend`."""
  scores = product('BQHK,BTHK->BHQT', query, key)
  keys = jnp.arange(key.shape[1])[None]
  if bias is not None:
    scores += bias.dense(slots, keys)
  seen = mask.dense(slots, keys)
  if seen is not None:  # Not -inf: a row that sees nothing must not be NaN.
    scores = jnp.where(seen, scores, jnp.finfo(scores.dtype).min)
  weights = jax.nn.softmax(scores, axis=-1).astype(value.dtype)
  if dropout is not None:
    weights = dropout(weights)
  return jnp.einsum('BHQT,BTHK->BQHK', weights, value)


def chunked(query, key, value, mask, slots, dropout=None, bias=None):
  """Holds the scores of `CHUNK` queries at a time, and computes them again on
  the way back: memory grows with the length, not its square (Rabe and Staats
  2021). Arguments as those of `attend`.
  """
  del dropout  # Not here: see `choose`.
  length = query.shape[1]
  spare = -length % CHUNK

  def split(x):  # [B, Q, ...] to chunks, [N, B, CHUNK, ...].
    x = jnp.pad(x, [(0, 0), (0, spare)] + [(0, 0)] * (x.ndim - 2), 'edge')
    # Strided, so that each chunk has its share of queries that are divided.
    return jnp.moveaxis(x.reshape(x.shape[0], CHUNK, -1, *x.shape[2:]), 2, 0)

  parts = {'query': split(query), 'slots': split(slots)}
  if mask.segment_ids is not None:
    own = mask.query_segment_ids
    parts['own'] = split(mask.segment_ids if own is None else own)

  @jax.checkpoint
  def one(part):
    own = mask.replace(query_segment_ids=part.get('own'))
    return plain(part['query'], key, value, own, part['slots'], bias=bias)

  out = jnp.moveaxis(jax.lax.map(one, parts), 0, 2)
  return out.reshape(out.shape[0], -1, *out.shape[3:])[:, :length]
