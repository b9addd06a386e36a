"""Draws the sharding of arrays over eight devices, in five layouts.

  python -m benchmarks.draw_layouts

Writes docs/images/layouts.png, from the shardings of lm.parallel.mesh.
"""

import collections
import pathlib
from collections.abc import Mapping

import jax
import matplotlib
import numpy as np
from jax.sharding import NamedSharding
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lm.parallel import mesh as meshes

PICTURE = pathlib.Path(__file__).parents[1] / 'docs/images/layouts.png'
DEVICES = 8
LAYOUTS: tuple[dict[str, int], ...] = (
  {'data': 8},
  {'fsdp': 8},
  {'data': 2, 'fsdp': 4},
  {'fsdp': 4, 'tensor': 2},
  {'data': 2, 'sequence': 4},
)
ROWS = ('tokens  B x L', 'up kernel  D x F', 'down kernel  F x D', 'norm  D')
SIZE = 8  # The size of every axis.
TEXT = {'ha': 'center', 'va': 'center', 'fontsize': 8}


def main() -> None:
  """Draws the picture."""
  jax.config.update('jax_num_cpu_devices', DEVICES)
  figure = Figure(figsize=(10, 6.6), dpi=110, layout='constrained')
  heights = [1.0, 1.0, 1.0, 0.25]
  table = figure.subplots(len(ROWS), len(LAYOUTS), height_ratios=heights)
  for column, layout in enumerate(LAYOUTS):
    for row, (name, where) in enumerate(shardings(layout).items()):
      axes = table[row, column]
      draw(axes, where, (SIZE, 1) if name.startswith('norm') else (SIZE, SIZE))
      if column == 0:
        axes.set_ylabel(name, fontsize=10)
    title = ' x '.join(f'{axis} {size}' for axis, size in layout.items())
    table[0, column].set_title(title, fontsize=10)
  figure.suptitle(
    f'Which of {DEVICES} devices holds which part of an array', fontsize=12
  )
  figure.savefig(PICTURE)


def shardings(layout: Mapping[str, int]) -> dict[str, NamedSharding]:
  """Returns the shardings of representative arrays, by the names of `ROWS`."""
  mesh = meshes.make_mesh(**{'data': 1, **layout})
  matrix = jax.ShapeDtypeStruct((SIZE, SIZE), np.float32)
  tree = {
    'up': {'kernel': matrix},
    'down': {'kernel': matrix},
    'norm': {'scale': jax.ShapeDtypeStruct((SIZE,), np.float32)},
  }
  found = meshes.state_shardings(tree, mesh)
  arrays = (
    meshes.batch_sharding((SIZE, SIZE), mesh),
    found['up']['kernel'],
    found['down']['kernel'],
    found['norm']['scale'],
  )
  return dict(zip(ROWS, arrays))


def draw(axes: Axes, where: NamedSharding, shape: tuple[int, int]) -> None:
  """Draws an array as a square, each part labelled with its devices."""
  holders = collections.defaultdict(list)
  real = shape if shape[1] > 1 else shape[:1]
  for device, index in where.devices_indices_map(real).items():
    spans = [part.indices(size)[:2] for part, size in zip(index, real)]
    holders[tuple(spans)].append(device.id)
  colors = matplotlib.colormaps['tab20'].colors
  for spans, devices in holders.items():
    (top, bottom), *rest = spans
    left, right = rest[0] if rest else (0, SIZE)
    axes.add_patch(
      Rectangle(
        (left, top),
        right - left,
        bottom - top,
        facecolor=colors[2 * min(devices) + 1],
        edgecolor='white',
        linewidth=1.5,
      )
    )
    axes.text((left + right) / 2, (top + bottom) / 2, told(devices), **TEXT)
  axes.set(xlim=(0, SIZE), ylim=(SIZE, 0), xticks=[], yticks=[])
  axes.set_box_aspect(1 if shape[1] > 1 else 0.25)


def told(devices: list[int]) -> str:
  """Returns the devices as a range, `0-7`, or as a list."""
  first, last = min(devices), max(devices)
  if len(devices) > 2 and len(devices) == last - first + 1:
    return f'{first}-{last}'
  return ', '.join(map(str, sorted(devices)))


if __name__ == '__main__':
  main()
