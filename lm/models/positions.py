"""How a model knows the order of its tokens: sinusoidal and rotary positions.

Learned positions are a table of parameters, and stand in the model's file.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def sinusoidal(
  positions: Int[Array, '#B L'], embed_dim: int
) -> Float[Array, '#B L D']:
  """Waves of geometrically growing length (Vaswani et al. 2017, 3.5).

  Even features are sines and odd ones cosines, as the paper prints them.
  """
  angles = _angles(positions, embed_dim)
  waves = jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-1)
  return waves.reshape(*positions.shape, embed_dim)


def rotate(
  x: Float[Array, 'B L H K'], positions: Int[Array, '#B L']
) -> Float[Array, 'B L H K']:
  """Turns each pair of features by its position (RoPE, Su et al. 2021, 3.4.2).

  The product of a rotated query and key depends on their distance alone.
  Feature i is paired with i + K/2, as GPT-NeoX and Llama do.
  """
  angles = _angles(positions, x.shape[-1])[:, :, None, :]
  sin, cos = jnp.sin(angles), jnp.cos(angles)
  first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
  turned = [first * cos - second * sin, second * cos + first * sin]
  return jnp.concatenate(turned, axis=-1).astype(x.dtype)


def _angles(positions, width):
  rates = 10_000.0 ** (-jnp.arange(0, width, 2) / width)
  return positions[:, :, None] * rates[None, None, :]
