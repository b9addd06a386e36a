"""Measures what depth costs to compile, and what devices say to each other.

python -m benchmarks.scaling
    Some minutes on 2 cores; the result is the last line of stdout, as JSON.

The devices are of one CPU and share its cores: what is measured over 1, 2, 4
and 8 of them, each with rows of its own, is how much more work there is in all
than eight times that of one, not how fast eight are.
"""

import os
import pathlib
import platform
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import command, config_file
from lm.parallel import imagined
from lm.training import loop, plan
from lm.training.sections import SECTIONS

CONFIG = f'{pathlib.Path(__file__).parents[1]}/configs/gpt.py:gpt2'
# GPT-2 with an eighth of its width, in float32, which a CPU computes with.
SMALL = {
  'model.num_layers': 4,
  'model.num_heads': 8,
  'model.head_dim': 12,
  'model.embed_dim': 96,
  'model.mlp_dim': 384,
  'model.vocab_size': 2048,
  'model.max_len': 128,
  'model.dtype': 'float32',
  'model.unroll': 1,
  'data.length': 128,
  'microbatches': 1,
}
ROWS = 8  # Of a device.
# What grows with the devices, and what is divided among all of them.
LAYOUTS = {
  'data': lambda count: {'data': count},
  'fsdp': lambda count: {'data': 1, 'fsdp': count},
  'tensor': lambda count: {'data': 1, 'tensor': count},
  'sequence': lambda count: {'data': 1, 'sequence': count},
}


def main(quick: bool = False) -> None:
  """Measures both.

  Args:
    quick: Takes two layers, one device and two, to see that everything runs.
  """
  depths, turns = ((1, 4), 1) if quick else ((12, 48), 5)
  counts, steps = ((1, 2), 2) if quick else ((1, 2, 4, 8), 10)
  command.report(
    {
      'machine': platform.machine(),
      'cores': os.cpu_count(),
      'jax': jax.__version__,
      'compiling': compiling(depths, turns),
      'weak_scaling': [
        scaled(layout, count, steps) for layout in LAYOUTS for count in counts
      ],
    }
  )


def compiling(depths: tuple[int, int], turns: int) -> dict[str, Any]:
  """Returns the seconds that a step of GPT-2 takes to compile, by its depth.

  Each is compiled `turns` times, in turn; `ratio` is that of the medians.
  """
  imagined.provide({'kind': 'mesh'}, 1)
  seconds = {depth: [] for depth in depths}
  for _ in range(turns):
    for depth in depths:
      changes = {'model.num_layers': depth, 'microbatches': 1}
      parts, state, batch = plan.abstract(configure(changes))
      began = time.perf_counter()
      plan.compile_step(parts, state, batch)
      seconds[depth].append(time.perf_counter() - began)
  medians = [statistics.median(times) for times in seconds.values()]
  return {
    'layers': depths,
    'seconds': medians,
    'ratio': medians[1] / medians[0],
    'all_seconds': [*seconds.values()],
  }


def scaled(layout: str, count: int, steps: int) -> dict[str, Any]:
  """Returns what a step does on so many devices, each with as much to do."""
  parallel = {f'parallel.{k}': v for k, v in LAYOUTS[layout](count).items()}
  changes = {'batch_size': ROWS * count, **parallel}
  config = configure(SMALL | changes)
  imagined.provide(config['parallel'], count)
  parts, state, example = plan.abstract(config)
  compiled = plan.compile_step(parts, state, example)
  sizes = plan.bytes_per_device(state, compiled)
  return {
    'layout': layout,
    'devices': count,
    'collectives': plan.said(compiled, parts.way.mesh.shape),
    'parameters_per_device': sizes['parameters'],
    'activations_per_device': sizes['activations'],
    'seconds': run(parts, example, steps),
  }


def run(parts: Any, example: Any, steps: int) -> float:
  """Returns the median seconds of a step, after the first."""
  way, mesh, rows = parts.way.run, parts.way.mesh, parts.run.batch_size
  key = jax.random.key(0)
  init, abstract = loop.initial(parts, example, key)
  shardings = jax.tree.map(lambda array: array.sharding, abstract)
  batch = jax.tree.map(lambda x: np.repeat(x, rows, axis=0), example)
  with way.placing(mesh):
    state = jax.jit(init, out_shardings=shardings)()
    step = way.compile_step(loop.step_of(parts), state, mesh)
    batch, seconds = way.to_devices(batch, mesh), []
    for _ in range(steps + 1):
      began = time.perf_counter()
      state, metrics = step(state, batch, key)
      jax.block_until_ready(metrics)
      seconds.append(time.perf_counter() - began)
    assert jnp.isfinite(metrics['loss'][0])
  return statistics.median(seconds[1:])


def configure(changes: dict[str, Any]) -> dict[str, Any]:
  """Returns GPT-2's config with these changes."""
  return config_file.load(CONFIG, changes, SECTIONS).to_dict()


if __name__ == '__main__':
  command.run(main)
