"""What follows from a config, before anything is allocated."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from lm import models
from lm.analysis import flops
from lm.data import datasets
from lm.objectives import Objective
from lm.parallel import mesh as meshes, ways
from lm.training.assembly import pair
from lm.training.sections import Run, check_short_steps
from lm.types import Batch, Vocabulary


def plan(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the sizes that a run has, from abstract arrays alone.

  The text is read only if the model takes its vocabulary from it.
  """
  run = Run(**{name: config[name] for name in Run._fields})
  mesh = ways.build(**config['parallel']).mesh
  meshes.check_batch(run.batch_size, run.microbatches, mesh)
  section, length = config['model'], config['data']['length']
  check_short_steps(run, length)
  if section['vocab_size'] is None:
    vocab_size = datasets.build(**config['data']).tokenizer.vocab_size
    section = {**section, 'vocab_size': vocab_size}
  vocabulary = imagined_vocabulary(section['vocab_size'])
  model, objective = pair(
    models.build(**section), config['objective'], vocabulary
  )
  batch = imagined_batch(objective, length)
  params = jax.eval_shape(model.init, jax.random.key(0), **batch.inputs)[
    'params'
  ]
  meshes.state_shardings(params, mesh)  # Refuses what does not divide.
  flops_of_example = flops.training_flops(
    params, flops.lengths_of(batch.inputs)
  )
  tokens = run.batch_size * length
  short_steps = min(run.short_steps, run.num_steps)
  long_steps = run.num_steps - short_steps
  flops_of_short = 0.0
  if short_steps:
    inputs = imagined_batch(objective, run.short_length).inputs
    flops_of_short = flops.training_flops(params, flops.lengths_of(inputs))
  shares = mesh.shape['data'] * mesh.shape['fsdp']
  return {
    'devices': dict(mesh.shape),
    'parameters': sum(math.prod(x.shape) for x in jax.tree.leaves(params)),
    'examples_per_device_and_microbatch': run.batch_size
    // shares
    // run.microbatches,
    'tokens_per_step': tokens,
    'tokens': run.batch_size
    * (short_steps * run.short_length + long_steps * length),
    'answers_per_example': batch.weights['tokens'].shape[1],
    'flops_per_token': flops_of_example / length,
    'flops': run.batch_size
    * (flops_of_short * short_steps + flops_of_example * long_steps),
  }


def imagined_vocabulary(size: int) -> Vocabulary:
  """Returns a vocabulary that has everything, for shapes depend on size alone."""
  roles = (name for name in Vocabulary._fields if name.endswith('_id'))
  ids = {name: number for number, name in enumerate(roles)}
  sentinels = tuple(range(size - 1, max(size - 101, len(ids)), -1))
  return Vocabulary(
    size, frozenset(ids.values()), sentinel_ids=sentinels, **ids
  )


def imagined_batch(objective: Objective, length: int) -> Batch:
  """Returns a batch of one example, as `length` decides its shapes."""
  shape = (1, objective.example_length(length))
  examples = {
    'tokens': np.full(shape, len(Vocabulary._fields), np.int32),
    'valid': np.ones(shape, bool),
    'bytes': np.ones(shape, np.int32),
    'word_starts': np.ones(shape, bool),
    'next_sentence': np.zeros(1, np.int32),
  }
  return objective.prepare(examples, np.zeros(1, np.int64), 0)
