"""A GPT small enough to run hundreds of times, with parameters that tell."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from lm import models
from lm.types import PyTree, path_of

SIZES = {
  'vocab_size': 13,
  'max_len': 12,
  'num_layers': 2,
  'num_heads': 2,
  'head_dim': 4,
  'embed_dim': 6,  # Not heads times width: nothing may take one for the other.
  'mlp_dim': 10,
  'embedding_dropout': 0.0,
  'attention_dropout': 0.0,
  'residual_dropout': 0.0,
  'unroll': 1,  # Compiles in half of the time.
}


@functools.cache
def gpt(**changes: Any) -> nn.Module:
  return models.build('gpt', 'gpt2', **SIZES | changes)


def tokens(rows: int = 2, length: int = 8, seed: int = 0) -> jax.Array:
  drawn = np.random.default_rng(seed).integers(
    0, SIZES['vocab_size'], (rows, length), np.int32
  )
  return jnp.asarray(drawn)


def noisy(shapes: PyTree, seed: int = 0) -> PyTree:
  """Returns random arrays of these shapes: no bias is 0 and no scale is 1."""
  rng = np.random.default_rng(seed)

  def draw(path, leaf):
    centre = 1.0 if path_of(path).endswith('scale') else 0.0
    return jnp.asarray(rng.normal(centre, 0.4, leaf.shape), jnp.float32)

  return jax.tree_util.tree_map_with_path(draw, shapes)


@functools.cache
def params(model: nn.Module, seed: int = 0) -> PyTree:
  shapes = jax.eval_shape(model.init, jax.random.key(0), tokens())
  return noisy(shapes['params'], seed)


@functools.partial(jax.jit, static_argnums=0)
def logits(model: nn.Module, params: PyTree, rngs=None, **inputs) -> jax.Array:
  return model.apply({'params': params}, rngs=rngs, **inputs)
