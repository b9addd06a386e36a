"""Attention with memory linear in the length, on any platform."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lm.models.kernels.plain import plain
from lm.models.masks import Mask
from lm.models.positions import RelativeBias

CHUNK = 128  # Queries whose scores are held at once.


def chunked(
  query: Float[Array, 'B Q H K'],
  key: Float[Array, 'B T H K'],
  value: Float[Array, 'B T H K'],
  mask: Mask,
  slots: Int[Array, '#B Q'] | None = None,
  bias: RelativeBias | None = None,
) -> Float[Array, 'B Q H K']:
  """Computes attention for `CHUNK` queries at a time (Rabe and Staats 2021).

  Scores are recomputed in the backward pass, so that memory grows with the
  length, not its square. Arguments as for `lm.models.attention.attend`.
  """
  length = query.shape[1]
  spare = -length % CHUNK

  def split(x):  # [B, Q, ...] to chunks, [N, B, CHUNK, ...].
    x = jnp.pad(x, [(0, 0), (0, spare)] + [(0, 0)] * (x.ndim - 2), 'edge')
    # Strided, so that every chunk has queries of each device if sharded.
    return jnp.moveaxis(x.reshape(x.shape[0], CHUNK, -1, *x.shape[2:]), 2, 0)

  slots = jnp.arange(length)[None] if slots is None else slots
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
