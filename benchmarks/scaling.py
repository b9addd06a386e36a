"""Measures compile time by depth, and communication by number of devices.

python -m benchmarks.scaling
    A few minutes on 2 cores; the result is the last line of stdout, as JSON.

Steps are compiled but not run, for 1, 2, 4 and 8 devices, with a batch that
grows with them: each device should send and hold no more than on 2.
"""

import os
import pathlib
import platform
import statistics
import time
from typing import Any

import jax

from experiments import command, config_file
from lm.parallel import imagined
from lm.training import plan
from lm.training.sections import SECTIONS

CONFIG = f'{pathlib.Path(__file__).parents[1]}/configs/gpt.py:gpt2'
# GPT-2 with an eighth of its width.
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
ROWS = 8  # Per device.
# The mesh of each layout, by the number of devices.
LAYOUTS = {
  'data': lambda count: {'data': count},
  'fsdp': lambda count: {'data': 1, 'fsdp': count},
  'tensor': lambda count: {'data': 1, 'tensor': count},
  'sequence': lambda count: {'data': 1, 'sequence': count},
}


def main(quick: bool = False) -> None:
  """Measures both.

  Args:
    quick: Use few layers on one and two devices, to check that everything runs.
  """
  depths, turns = ((1, 4), 1) if quick else ((12, 48), 5)
  counts = (1, 2) if quick else (1, 2, 4, 8)
  command.report(
    {
      'machine': platform.machine(),
      'cores': os.cpu_count(),
      'jax': jax.__version__,
      'compiling': compiling(depths, turns),
      'weak_scaling': [
        scaled(layout, count) for layout in LAYOUTS for count in counts
      ],
    }
  )


def compiling(depths: tuple[int, int], turns: int) -> dict[str, Any]:
  """Returns the seconds to compile a step of GPT-2, by depth.

  Each is compiled `turns` times, in turns; `ratio` is that of the medians.
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


def scaled(layout: str, count: int) -> dict[str, Any]:
  """Returns communication and memory of a step per device, at equal load."""
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
  }


def configure(changes: dict[str, Any]) -> dict[str, Any]:
  """Returns GPT-2's config with these changes."""
  return config_file.load(CONFIG, changes, SECTIONS).to_dict()


if __name__ == '__main__':
  command.run(main)
