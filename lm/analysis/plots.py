"""Pictures of what was measured."""

import math
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from matplotlib.figure import Figure

from lm.data import atomic

TRAIN, EVAL, INK = '#86a9d1', '#c8442b', '#444444'


def loss(
  lines: Iterable[Mapping[str, Any]], target: pathlib.Path, title: str
) -> None:
  """Draws the losses of a run against its steps.

  Args:
    lines: Of its `metrics.jsonl`.
    target: The PNG to write, whole or not at all.
    title: Above the picture.
  """
  lines = list(lines)

  def series(split):
    points = [
      (line['step'], line['loss']) for line in lines if line['split'] == split
    ]
    # What is not a number leaves a gap.
    return [(s, math.nan if value is None else value) for s, value in points]

  # No pyplot: its state is the whole process's.
  figure = Figure(figsize=(8, 4.5), dpi=120, layout='constrained')
  axes = figure.add_subplot()
  train, evaluation = series('train'), series('eval')
  if train:
    axes.plot(*zip(*train), color=TRAIN, linewidth=1.2, label='training')
  if evaluation:
    style = {'color': EVAL, 'linewidth': 1.8, 'marker': 'o', 'markersize': 4}
    label = 'validation'
    measured = [point for point in evaluation if not math.isnan(point[1])]
    if measured:
      step, lowest = min(measured, key=lambda point: point[1])
      label += f', lowest {lowest:.3f} at step {step:,}'
    axes.plot(*zip(*evaluation), label=label, **style)
  axes.set_title(title, loc='left', color=INK, parse_math=False)
  axes.set_xlabel('step', color=INK)
  axes.set_ylabel('loss (nats per token)', color=INK)
  axes.tick_params(colors=INK)
  axes.grid(color='#e4e4e4', linewidth=0.8)
  axes.spines[['top', 'right']].set_visible(False)
  if train or evaluation:
    axes.legend(frameon=False, labelcolor=INK)
  with atomic.new_file(target) as part:
    figure.savefig(part, format='png')
