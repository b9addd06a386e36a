"""Plans a run from its config, before anything is allocated.

The train step is compiled for abstract arrays, on as many devices as the run
will have. This tells where every array lives, what a device must hold, and how
much there is to compute.
"""

import collections
import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from lm.analysis import collectives, flops, memory
from lm.data import datasets
from lm.objectives import Objective
from lm.parallel import imagined
from lm.training import assembly, loop
from lm.training.assembly import Parts
from lm.training.groups import Groups
from lm.training.step import TrainState
from lm.types import Batch, PyTree, Vocabulary, path_of

COUNTED_ROWS = 512  # The sample that tells how full rows are.


def plan(config: Mapping[str, Any], devices: int = 0) -> dict[str, Any]:
  """Returns the sizes of a run, from abstract arrays alone.

  The text is read only if the model takes its vocabulary from it; the records of
  a task always are.

  Args:
    config: With every field of `SECTIONS`.
    devices: Number of devices of the run; for 0, see `imagined.provide`.
  """
  imagined.provide(config['parallel'], devices)
  parts, state, batch = abstract(config)
  run, mesh = parts.run, parts.way.mesh
  compiled = compile_step(parts, state, batch)
  sizes = bytes_per_device(state, compiled, parts.groups)
  shares = mesh.shape['data'] * mesh.shape['fsdp']
  return {
    'devices': dict(mesh.shape),
    'compiled_for': jax.devices()[0].device_kind,
    'parameters': sum(
      math.prod(x.shape) for x in jax.tree.leaves(state.params)
    ),
    'layout': layout(state.params),
    'bytes_per_device': sizes,
    'fits': memory.fits(sizes['total']),
    'bytes_here': limit_here(),
    'collectives': said(compiled, mesh.shape) if on_cpu() else None,
    'examples_per_device_and_microbatch': run.batch_size
    // shares
    // run.microbatches,
    'use_of_rows': use_of_rows(config) if reads_text(config) else None,
    **costs(config, parts, state, batch),
  }


def costs(
  config: Mapping[str, Any], parts: Parts, state: TrainState, batch: Batch
) -> dict[str, float | int]:
  """Returns the tokens and FLOPs of a step and of the run; see `abstract`."""
  length, run = config['data']['length'], parts.run
  flops_of_example = flops.training_flops(
    state.params, flops.lengths_of(batch.inputs)
  )
  short_steps = min(run.short_steps, run.num_steps)
  long_steps = run.num_steps - short_steps
  flops_of_short = 0.0
  if short_steps:
    inputs = imagined_batch(parts.objective, run.short_length).inputs
    flops_of_short = flops.training_flops(
      state.params, flops.lengths_of(inputs)
    )
  return {
    'tokens_per_step': run.batch_size * length,
    'tokens': run.batch_size
    * (short_steps * run.short_length + long_steps * length),
    'flops_per_token': flops_of_example / length,
    'flops_per_step': flops_of_example * run.batch_size,
    'flops': run.batch_size
    * (flops_of_short * short_steps + flops_of_example * long_steps),
  }


def abstract(config: Mapping[str, Any]) -> tuple[Parts, TrainState, Batch]:
  """Returns the parts of a run, its abstract state, and a batch of one row."""
  if assembly.is_task(config):  # Its rows depend on the records.
    parts = assembly.assemble(config, splits=['train'])
    batch = assembly.widest(parts)
  else:
    parts = imagined_parts(config)
    batch = imagined_batch(parts.objective, config['data']['length'])
    batch = assembly.taken_of(batch, parts.model)
  assembly.check_length(batch, parts.way)
  return parts, loop.initial(parts, batch, jax.random.key(0))[1], batch


def reads_text(config: Mapping[str, Any]) -> bool:
  """Whether a plan reads the text, to take the model's vocabulary from it."""
  return config['model']['vocab_size'] is None and not assembly.is_task(config)


def use_of_rows(config: Mapping[str, Any]) -> dict[str, float]:
  """Returns how much of its rows a run on a text uses.

  Counted in the first `COUNTED_ROWS` of them.

  Returns:
    `filled`: The share of a row's positions that are text, not padding.
    `asked`: The number of targets of the first loss term, per token of
      `config.data.length`.
  """
  parts = assembly.assemble(config, splits=['train'])
  objective, seed = parts.objective, config['seed']
  index = np.arange(COUNTED_ROWS)
  source = parts.dataset.source(
    'train',
    objective.example_length,
    seed,
    objective.reads,
    objective.marks,
    COUNTED_ROWS,
  )
  examples = source.examples_at(index)
  batch = objective.prepare(examples, source.draws(index), seed)
  asked = np.count_nonzero(next(iter(batch.weights.values())))
  return {
    'filled': float(np.mean(examples['valid'])),
    'asked': asked / (COUNTED_ROWS * config['data']['length']),
  }


def imagined_parts(config: Mapping[str, Any]) -> Parts:
  """Returns the parts that the config describes, without its text.

  The layers are a loop, as on accelerators: unrolled, as on a CPU, they take
  long to compile.
  """
  section = dict(config['model'])
  if section['unroll'] is None:
    section['unroll'] = 1
  complete = assembly.outline({**config, 'model': section})
  if section['vocab_size'] is None:
    return complete(datasets.build(**config['data']).tokenizer.vocabulary)
  return complete(imagined_vocabulary(section['vocab_size']))


def imagined_vocabulary(size: int) -> Vocabulary:
  """Returns a vocabulary with every role: shapes depend on its size alone."""
  roles = (name for name in Vocabulary._fields if name.endswith('_id'))
  ids = {name: number for number, name in enumerate(roles)}
  sentinels = tuple(range(size - 1, max(size - 101, len(ids)), -1))
  return Vocabulary(
    size, frozenset(ids.values()), sentinel_ids=sentinels, **ids
  )


def imagined_batch(objective: Objective, length: int) -> Batch:
  """Returns a batch of one example, with the shapes for `length`."""
  shape = (1, objective.example_length(length))
  examples = {
    'tokens': np.full(shape, len(Vocabulary._fields), np.int32),
    'valid': np.ones(shape, bool),
    'bytes': np.ones(shape, np.int32),
    'word_starts': np.ones(shape, bool),
    'next_sentence': np.zeros(1, np.int32),
  }
  return objective.prepare(examples, np.zeros(1, np.int64), 0)


def layout(params: PyTree) -> list[dict[str, Any]]:
  """Returns the sharding of each parameter, and its bytes on one device."""
  leaves, _ = jax.tree_util.tree_flatten_with_path(params)
  return [
    {
      'parameter': path_of(path),
      'shape': list(array.shape),
      'spec': list(array.sharding.spec),
      'bytes_per_device': held(array),
    }
    for path, array in leaves
  ]


def held(tree: PyTree) -> int:
  """Returns how many bytes of abstract arrays one device holds."""
  return sum(
    math.prod(array.sharding.shard_shape(array.shape)) * array.dtype.itemsize
    for array in jax.tree.leaves(tree)
  )


def compile_step(
  parts: Parts, state: TrainState, example: Batch
) -> jax.stages.Compiled:
  """Returns the train step, compiled for abstract arrays.

  Args:
    parts: The parts of the run.
    state: The abstract state, with its shardings.
    example: A batch of one example.
  """
  way, mesh, rows = parts.way.run, parts.way.mesh, parts.run.batch_size
  batch = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct((rows, *x.shape[1:]), x.dtype), example
  )
  abstract_key = jax.eval_shape(lambda: jax.random.key(0))
  with way.placing(mesh):
    step = way.compile_step(loop.step_of(parts), state, mesh)
    lowered = step.lower(*way.imagined(state, batch, mesh), abstract_key)
    return lowered.compile(imagined.OPTIONS if on_cpu() else None)


def bytes_per_device(
  state: TrainState,
  compiled: jax.stages.Compiled,
  groups: Groups | None = None,
) -> dict[str, int]:
  """Returns the bytes that a device holds during a step, by its compiler."""
  found, params = compiled.memory_analysis(), held(state.params)
  stays = groups.stays if groups else lambda name, shape: False
  leaves = jax.tree_util.tree_leaves_with_path(state.params)
  gradients = held([x for k, x in leaves if not stays(path_of(k), x.shape)])
  outputs = found.output_size_in_bytes - found.alias_size_in_bytes
  temporary = found.temp_size_in_bytes + outputs
  return {
    'parameters': params,
    'optimizer': held(state.opt_state),
    'average': held(state.ema),
    'batch': found.argument_size_in_bytes - held(state),
    'gradients': gradients,  # For the trained parameters,
    'activations': max(temporary - gradients, 0),  # and all other buffers.
    'total': found.argument_size_in_bytes + temporary,
  }


def said(
  compiled: jax.stages.Compiled, mesh: Mapping[str, int]
) -> list[dict[str, Any]]:
  """Returns the collectives of a step, by kind and mesh axes."""
  groups = collections.defaultdict(lambda: [0, 0])
  for one in collectives.read(compiled.as_text(), mesh):
    group = groups[one.kind, one.axes]
    group[0] += one.times
    group[1] += one.times * one.size
  return [
    {'kind': kind, 'axes': list(axes), 'times': times, 'bytes': size}
    for (kind, axes), (times, size) in sorted(groups.items())
  ]


def on_cpu() -> bool:
  """Whether the CPU compiler is used, not that of an accelerator."""
  return jax.default_backend() == 'cpu'


def limit_here() -> int | None:
  """Returns the bytes that a step may use of a device here, if known."""
  return (jax.local_devices()[0].memory_stats() or {}).get('bytes_limit')


def table(planned: Mapping[str, Any]) -> str:
  """Returns a plan as readable text."""
  sizes, mesh = planned['bytes_per_device'], planned['devices']
  count = math.prod(mesh.values())
  shape = ' x '.join(f'{axis} {size}' for axis, size in mesh.items())
  rows = [('parameter', 'shape', 'split over', 'MB')]
  for row in planned['layout']:
    split = ', '.join(axis or '-' for axis in row['spec'])
    size = ' x '.join(map(str, row['shape']))
    rows.append(
      (row['parameter'], size, split, f'{row["bytes_per_device"] / 1e6:.2f}')
    )
  rows += [('', '', '', '')]
  rows += [(name, '', '', f'{size / 1e6:.2f}') for name, size in sizes.items()]
  widths = [max(map(len, column)) for column in zip(*rows)]
  lines = [
    f'{name:{widths[0]}}  {size:{widths[1]}}  {split:{widths[2]}}'
    f'  {megabytes:>{widths[3]}}'
    for name, size, split, megabytes in rows
  ]
  fits = planned['fits']
  fitting = [kind for kind, does in fits.items() if does]
  others = [kind for kind, does in fits.items() if not does]
  step = planned['flops_per_step']
  here = planned['bytes_here']
  return '\n'.join(
    [
      f'The plan for {count} devices, {shape}; megabytes are of one device.',
      *lines,
      '',
      f'A step computes {step:.3g} FLOPs, {step / count:.3g} a device.',
      *(
        f'{one["times"]} times {one["kind"]} over {", ".join(one["axes"])}, of'
        f' {one["bytes"] / 1e6:.1f} MB together.'
        for one in planned['collectives'] or ()
      ),
      f'An estimate, compiled for {planned["compiled_for"]!r}:'
      f' {sizes["total"] / 1e9:.1f} GB with {memory.SHARE:.0%} of its memory to'
      f' use, it fits into {", ".join(fitting) or "no device known"}; not into'
      f' {", ".join(others) or "any other"}.',
    ]
    + ([f'A step has {here / 1e9:.1f} GB of a device here.'] if here else [])
  )
