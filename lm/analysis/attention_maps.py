"""Who reads whom, in each layer and head, and through all layers together."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from lm.analysis import capture
from lm.types import PyTree


def attention_maps(
  model: nn.Module, params: PyTree, inputs: Mapping[str, Any]
) -> dict[str, Float[Array, 'N B H Q T']]:
  """Returns the share of each key that each query reads, by layer and head.

  They are of every attention there is: `decoder/block/attention` to the text
  itself, `decoder/block/cross` to its source. A row adds up to 1.

  Args:
    model: Any of `lm.models`.
    params: Of the model.
    inputs: Its keyword arguments.
  """
  maps = capture.capture(model, params, inputs, f'.*/{capture.WEIGHTS}')
  end = f'/{capture.WEIGHTS}'
  return {name.removesuffix(end): array for name, array in maps.items()}


def rollout(
  maps: Float[Array, 'N B H L L'], residual: float = 0.5
) -> Float[Array, 'N B L L']:
  """Returns how much of each token reaches each place, up to each layer.

  Layers are multiplied, each the mean of its heads beside what the residual
  connection leaves where it is (Abnar and Zuidema 2020, 3, attention rollout).

  Args:
    maps: Of an attention to the text itself.
    residual: The share that the residual connection has in a layer.
  """
  stays = jnp.eye(maps.shape[-1], dtype=maps.dtype)[None, None]
  layers = (1 - residual) * jnp.mean(maps, axis=2) + residual * stays

  def multiply(below, layer):
    reached = jnp.einsum('BQL,BLT->BQT', layer, below)
    return reached, reached

  _, reached = jax.lax.scan(multiply, layers[0], layers[1:])
  return jnp.concatenate([layers[:1], reached])
