"""Attention maps of each layer and head, and their rollout over all layers."""

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
  """Returns the weight of each key for each query, by layer and head.

  All attentions are included: `decoder/block/attention` to the text itself,
  `decoder/block/cross` to its source. A row sums to 1.

  Args:
    model: Any of `lm.models`.
    params: The parameters of the model.
    inputs: Its keyword arguments.
  """
  maps = capture.capture(model, params, inputs, f'.*/{capture.WEIGHTS}')
  end = f'/{capture.WEIGHTS}'
  return {name.removesuffix(end): array for name, array in maps.items()}


def rollout(
  maps: Float[Array, 'N B H L L'], residual: float = 0.5
) -> Float[Array, 'N B L L']:
  """Returns how much of each token reaches each position, up to each layer.

  This is attention rollout (Abnar and Zuidema 2020, 3): the product over layers
  of the mean of the heads mixed with the identity of the residual connection.

  Args:
    maps: Those of a self-attention.
    residual: The share of the residual connection in a layer.
  """
  stays = jnp.eye(maps.shape[-1], dtype=maps.dtype)[None, None]
  layers = (1 - residual) * jnp.mean(maps, axis=2) + residual * stays

  def multiply(below, layer):
    reached = jnp.einsum('BQL,BLT->BQT', layer, below)
    return reached, reached

  _, reached = jax.lax.scan(multiply, layers[0], layers[1:])
  return jnp.concatenate([layers[:1], reached])
