"""Position encodings: sinusoidal, rotary and relative.

Learned positions are a table of parameters; see `lm.models.embeddings`.
"""

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int


def sinusoidal(
  positions: Int[Array, '#B L'], embed_dim: int
) -> Float[Array, '#B L D']:
  """Returns sinusoids of geometric wavelengths (Vaswani et al. 2017, 3.5).

  Even features are sines and odd ones cosines, as in the paper.
  """
  angles = _angles(positions, embed_dim)
  waves = jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-1)
  return waves.reshape(*positions.shape, embed_dim)


def rotate(
  x: Float[Array, 'B L H K'], positions: Int[Array, '#B L']
) -> Float[Array, 'B L H K']:
  """Rotates pairs of features by position (RoPE, Su et al. 2021, 3.4.2).

  The dot product of a rotated query and key depends only on their distance.
  Feature i is paired with i + K/2, as in GPT-NeoX and Llama.
  """
  angles = _angles(positions, x.shape[-1])[:, :, None, :]
  sin, cos = jnp.sin(angles), jnp.cos(angles)
  first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
  turned = [first * cos - second * sin, second * cos + first * sin]
  return jnp.concatenate(turned, axis=-1).astype(x.dtype)


@struct.dataclass
class RelativeBias:
  """A bias for each head that depends on the distance from query to key.

  Attributes:
    table: One bias per bucket of distances, for each head.
    bidirectional: Whether keys after the query have buckets of their own.
    max_distance: Distances from this one on are in the last bucket.
  """

  table: Float[Array, 'R H']
  bidirectional: bool = struct.field(pytree_node=False)
  max_distance: int = struct.field(pytree_node=False)

  def dense(
    self, queries: Int[Array, '#B Q'], keys: Int[Array, '#B T']
  ) -> Float[Array, '#B H Q T']:
    """Returns the bias between these slots."""
    buckets, half = self.table.shape[0], 0
    after = keys[:, None, :] - queries[:, :, None]
    if self.bidirectional:
      buckets = half = buckets // 2
    of_distance = jnp.asarray(_buckets(buckets, self.max_distance))
    distance = jnp.abs(after) if self.bidirectional else jnp.maximum(-after, 0)
    bucket = of_distance[jnp.minimum(distance, self.max_distance)]
    bucket += jnp.where(after > 0, half, 0)
    return jnp.moveaxis(self.table.astype(jnp.float32)[bucket], -1, 1)


def _buckets(buckets: int, max_distance: int) -> Int[np.ndarray, 'M']:
  """Returns the bucket of each distance (Raffel et al. 2020, 2.1).

  The first half has one bucket per distance; the buckets of the second half
  grow. Computed in float32, as in the code that trained the models.
  """
  exact = buckets // 2
  distance = np.arange(max_distance + 1)
  ratio = np.maximum(distance, exact).astype(np.float32) / np.float32(exact)
  longest = max(max_distance, exact + 1)  # Keeps the logarithm above 0.
  steps = np.log(ratio) / np.float32(np.log(longest / exact))
  far = exact + (steps * np.float32(buckets - exact)).astype(np.int32)
  return np.where(distance < exact, distance, np.minimum(far, buckets - 1))


def _angles(positions, width):
  rates = 10_000.0 ** (-jnp.arange(0, width, 2) / width)
  return positions[:, :, None] * rates[None, None, :]
