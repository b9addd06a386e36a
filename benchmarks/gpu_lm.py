"""Our contender of `benchmarks.gpu`: prints its results as a line of JSON."""

import functools
import json
import statistics
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from benchmarks import interleaved
from benchmarks.gpu_cases import WARM_UP, WINDOW, Case
from lm import models, objectives
from lm.analysis import flops
from lm.objectives import Objective
from lm.training import optimizers, step as steps
from lm.types import Batch, Vocabulary

OBJECTIVES = {
  'gpt': {'name': 'causal_lm'},
  'bert': {'name': 'masked_lm'},
  't5': {'name': 'causal_lm'},  # For the decoder; the source is added later.
}


def train(told: dict[str, Any]) -> dict[str, Any]:
  """Returns the seconds of a step, its FLOPs, and the peak memory."""
  case = Case(**told['case'])
  settings = dict(told['settings'])
  microbatches = settings.pop('microbatches')
  model, objective = build(case, settings)
  batch = jax.device_put(batch_of(case, objective))
  tx, _ = optimizers.build(
    name='adamw', num_steps=10**6, learning_rate=1e-4, weight_decay=0.1
  )
  init = functools.partial(
    steps.init_state, model, tx, jax.tree.map(lambda x: x[:1], batch)
  )
  state = jax.jit(init)(jax.random.key(0))
  example = flops.lengths_of(batch.inputs)
  work = flops.training_flops(state.params, example) * case.batch
  train_step = jax.jit(
    steps.make_train_step(model, objective, tx, microbatches=microbatches),
    donate_argnums=0,
  )
  key, taken, losses = jax.random.key(1), [], []
  began = time.perf_counter()
  for number in range(WARM_UP + WINDOW * told['windows']):
    state, metrics = train_step(state, batch, key)
    if number >= WARM_UP - 1 and (number + 1 - WARM_UP) % WINDOW == 0:
      jax.block_until_ready(state)
      taken.append((time.perf_counter() - began) / WINDOW)
      losses.append(float(metrics['loss'][0] / metrics['loss'][1]))
      began = time.perf_counter()
  device = jax.devices()[0]
  memory = device.memory_stats() or {}
  return {
    'seconds': interleaved.rounded(statistics.median(taken[1:])),
    'quartiles': quartiles(taken[1:]),
    'first_seconds': interleaved.rounded(taken[0] * WINDOW),
    'losses': [interleaved.rounded(loss) for loss in losses],
    'flops': work,
    'parameters': sum(x.size for x in jax.tree.leaves(state.params)),
    'peak_flops': flops.peak_flops(device.device_kind),
    'peak_bytes': memory.get('peak_bytes_in_use'),
    **about(),
  }


def build(case: Case, settings: dict[str, Any]) -> tuple[nn.Module, Objective]:
  """Returns the model without dropout, and its objective."""
  known = models.fields(case.family, case.preset)
  dropout = {name: 0.0 for name in known if name.endswith('_dropout')}
  sizes = {'vocab_multiple': 128, **case.sizes}
  chosen = {name: value for name, value in settings.items() if value}
  model = models.build(
    case.family, case.preset, dtype='bfloat16', **dropout, **sizes, **chosen
  )
  size = model.config.vocab_size
  vocabulary = Vocabulary(
    size, frozenset(range(5)), pad_id=0, eos_id=1, mask_id=2, cls_id=3, sep_id=4
  )
  objective = objectives.build(
    form=model.form, vocabulary=vocabulary, **OBJECTIVES[case.family]
  )
  return model.clone(heads=tuple(objective.scales)), objective


def batch_of(case: Case, objective: Objective) -> Batch:
  """Returns a batch of random tokens."""
  rows = np.random.default_rng(0)
  size = case.sizes.get('vocab_size', 30_000)
  draw = lambda length: rows.integers(5, size, (case.batch, length), np.int32)
  length = objective.example_length(case.made or case.length)
  examples = {
    'tokens': draw(length),
    'valid': np.ones((case.batch, length), bool),
    'bytes': np.ones((case.batch, length), np.int32),
  }
  batch = objective.prepare(examples, np.arange(case.batch), 0)
  if not case.made:
    return batch
  source = draw(case.length)
  source = {
    'source_tokens': source,
    'source_valid': np.ones(source.shape, bool),
  }
  return batch._replace(inputs={**batch.inputs, **source})


def products(told: dict[str, Any]) -> dict[str, Any]:
  """Returns the FLOP/s of square matrix products in bfloat16, by size."""
  return {
    **{str(size): _product(size) for size in told['sizes']},
    **about(),
  }


def _product(size: int, times: int = 20) -> float:
  """Returns the FLOP/s of products that each depend on the one before."""
  keys = jax.random.split(jax.random.key(0))
  x, y = (jax.random.normal(k, (size, size), jnp.bfloat16) for k in keys)
  y = y / size**0.5

  @jax.jit
  def run(x, y):
    return jax.lax.fori_loop(0, times, lambda _, x: x @ y, x)

  taken = interleaved.seconds(
    {'product': lambda: run(x, y).block_until_ready()}, turns=5, warm_up=2
  )
  return interleaved.rates(taken, 2 * size**3 * times)['product']


def agreement(told: dict[str, Any]) -> dict[str, Any]:
  """Returns how much attention kernels deviate from the plain one."""
  try:
    from benchmarks import attention_agreement
  except ImportError as missing:
    return {'missing': str(missing)}
  kernels = ('chunked',) if told['tiny'] else ('plain', 'chunked', 'cudnn')
  errors = {
    f'{kernel}, {dtype}': attention_agreement.agreement(kernel, dtype)
    for kernel in kernels
    for dtype in ('float32', 'bfloat16')
    if (kernel, dtype) != ('cudnn', 'float32')  # Not supported.
  }
  return {'largest_errors': errors, **about()}


def quartiles(taken: list[float]) -> list[float]:
  """Returns the first and third quartile of the seconds of the windows."""
  return [interleaved.rounded(q) for q in np.quantile(taken, (0.25, 0.75))]


def about() -> dict[str, Any]:
  """Returns the device and the versions of packages."""
  names = ('jax', 'jaxlib', 'jax-cuda12-plugin', 'jax-cuda13-plugin', 'flax')
  return {
    'device': jax.devices()[0].device_kind,
    'versions': interleaved.versions(*names),
  }


TASKS = {'train': train, 'products': products, 'agreement': agreement}

if __name__ == '__main__':
  told = json.loads(sys.argv[1])
  print(json.dumps(TASKS[told['task']](told)))
