"""A GPT small enough to run hundreds of times, with parameters that tell."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from lm import models, objectives
from lm.objectives import Objective
from lm.types import PyTree, Vocabulary, path_of

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
  'unroll': 1,
}

# Nearly all of a test's time is XLA's, on code that runs for microseconds.
OPTIONS = {
  'xla_backend_optimization_level': 0,
  'xla_llvm_disable_expensive_passes': True,
}
if jax.__version_info__ < (0, 11):  # Later ones have no such option.
  OPTIONS['xla_cpu_use_fusion_emitters'] = False
quick_jit = functools.partial(jax.jit, compiler_options=OPTIONS)


@functools.cache
def gpt(**changes: Any) -> nn.Module:
  return models.build('gpt', 'gpt2', **SIZES | changes)


@functools.cache
def build(name: str, preset: str, **changes: Any) -> nn.Module:
  """Any architecture in this size, without dropout."""
  rates = dict.fromkeys(('mlp_dropout', 'head_dropout'), 0.0)
  own = {key: rates[key] for key in rates if key in models.fields(name, preset)}
  return models.build(name, preset, **SIZES | own | changes)


def params_for(model: nn.Module, seed: int = 0, **inputs: Any) -> PyTree:
  """Noisy parameters of a model that is given these inputs."""
  keys = {'params': jax.random.key(0), 'sample': jax.random.key(1)}
  return noisy(jax.eval_shape(model.init, keys, **inputs)['params'], seed)


def causal_lm() -> Objective:
  return objectives.build(
    'causal_lm', 'causal', Vocabulary(SIZES['vocab_size'])
  )


def tokens(rows: int = 2, length: int = 8, seed: int = 0) -> np.ndarray:
  rng = np.random.default_rng(seed)
  return rng.integers(0, SIZES['vocab_size'], (rows, length), np.int32)


def noisy(shapes: PyTree, seed: int = 0) -> PyTree:
  """Returns random arrays of these shapes: no bias is 0 and no scale is 1."""
  rng = np.random.default_rng(seed)

  def draw(path, leaf):
    centre = 1.0 if path_of(path).endswith('scale') else 0.0
    return jnp.asarray(rng.normal(centre, 0.4, leaf.shape), leaf.dtype)

  return jax.tree_util.tree_map_with_path(draw, shapes)


@functools.cache
def params_of(model: nn.Module, seed: int = 0) -> PyTree:
  shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.asarray(tokens()))
  return noisy(shapes['params'], seed)


@functools.partial(quick_jit, static_argnums=0)
def apply(model: nn.Module, params: PyTree, **inputs) -> jax.Array:
  return model.apply({'params': params}, **inputs)


def logits(
  model: nn.Module,
  tokens: np.ndarray,
  positions: np.ndarray | None = None,
  segment_ids: np.ndarray | None = None,
  params: PyTree | None = None,
) -> np.ndarray:
  """Answers with everything given, so that each model is compiled once."""
  rows, length = tokens.shape
  return np.asarray(
    apply(
      model,
      params_of(model) if params is None else params,
      tokens=tokens,
      positions=np.broadcast_to(
        np.arange(length) if positions is None else positions, (rows, length)
      ),
      segment_ids=np.broadcast_to(
        1 if segment_ids is None else segment_ids, (rows, length)
      ),
    )
  )
