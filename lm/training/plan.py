"""What follows from a config, before anything is allocated."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lm import models
from lm.analysis import flops
from lm.data import datasets
from lm.parallel import mesh as meshes
from lm.training.sections import Run


def plan(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the sizes that a run has, from abstract arrays alone.

  The text is read only if the model takes its vocabulary from it.
  """
  run = Run(**{name: config[name] for name in Run._fields})
  mesh = meshes.build(**config['parallel'])
  meshes.check_batch(run.batch_size, run.microbatches, mesh)
  section, length = config['model'], config['data']['length']
  if section['vocab_size'] is None:
    vocab_size = datasets.build(**config['data']).tokenizer.vocab_size
    section = {**section, 'vocab_size': vocab_size}
  model = models.build(**section)
  params = jax.eval_shape(
    model.init, jax.random.key(0), jnp.zeros((1, length), jnp.int32)
  )['params']
  meshes.state_shardings(params, mesh)  # Refuses what does not divide.
  cfg = model.config
  flops_per_token = flops.training_flops_per_token(
    flops.num_multiplied(params),
    cfg.num_layers,
    length,
    cfg.num_heads * cfg.head_dim,
  )
  tokens = run.batch_size * length
  shares = mesh.shape['data'] * mesh.shape['fsdp']
  return {
    'devices': dict(mesh.shape),
    'parameters': sum(math.prod(x.shape) for x in jax.tree.leaves(params)),
    'examples_per_device_and_microbatch': run.batch_size
    // shares
    // run.microbatches,
    'tokens_per_step': tokens,
    'tokens': tokens * run.num_steps,
    'flops_per_token': flops_per_token,
    'flops': flops_per_token * tokens * run.num_steps,
  }
