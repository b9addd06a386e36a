"""Plots the learning curves of the reference results of the applications.

  python -m benchmarks.draw_applications

Reads benchmarks/results/applications.json, and writes
docs/images/applications.png: the validation metric of each by step, with the
standard deviation over seeds as a band.
"""

import collections
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.applications import RESULTS
from lm.analysis import plots

PICTURE = pathlib.Path(__file__).parents[1] / 'docs/images/applications.png'
# The suffixes of names that share a panel with another, and their labels.
VARIANTS = {
  '_pretrained': 'from WikiText-2',
  '_scratch': 'with its sizes and tokenizer',
}
COLUMNS = 3


def main() -> None:
  """Draws the picture."""
  draw(json.loads(RESULTS.read_text()), PICTURE)


def draw(rows: Mapping[str, Mapping[str, Any]], target: pathlib.Path) -> None:
  """Draws the curves of results, with a panel for each task."""
  panels = panels_of(rows)
  height = math.ceil(len(panels) / COLUMNS)
  figure = Figure(figsize=(10, 2.6 * height), dpi=110, layout='constrained')
  places = [*figure.subplots(height, COLUMNS, squeeze=False).flat]
  for place, (name, lines) in zip(places, panels.items()):
    panel(place, name, lines)
  for place in places[len(panels) :]:
    place.set_axis_off()
  figure.savefig(target)


def panels_of(
  rows: Mapping[str, Mapping[str, Any]],
) -> dict[str, dict[str, Mapping[str, Any]]]:
  """Returns the results of each task that have a curve, by their label."""
  panels = collections.defaultdict(dict)
  for name, row in rows.items():
    end = next((end for end in VARIANTS if name.endswith(end)), '')
    if len(row['curve']['step']) > 1:  # Else it was only evaluated at the end.
      panels[name.removesuffix(end)][VARIANTS.get(end, 'from nothing')] = row
  return dict(panels)


def panel(
  axes: Axes, name: str, lines: Mapping[str, Mapping[str, Any]]
) -> None:
  """Draws the curves of one task."""
  for color, (label, row) in zip(plots.COLORS, lines.items()):
    curve = {key: np.array(value) for key, value in row['curve'].items()}
    mean, deviation = curve['mean'], curve['standard_deviation']
    axes.plot(curve['step'], mean, color=color, linewidth=1.4, label=label)
    axes.fill_between(
      curve['step'],
      mean - deviation,
      mean + deviation,
      color=color,
      alpha=0.2,
      linewidth=0,
    )
  metric = next(iter(lines.values()))['metric']
  axes.set_title(f'{name}: {metric}', fontsize=9)
  axes.set_xlabel('step', fontsize=7)
  axes.tick_params(labelsize=7)
  axes.spines[['top', 'right']].set_visible(False)
  axes.grid(alpha=0.25, linewidth=0.5)
  if len(lines) > 1:
    axes.legend(fontsize=7, frameon=False)


if __name__ == '__main__':
  main()
