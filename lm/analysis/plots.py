"""Plots of losses and scores."""

import io
import itertools
import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from lm.data import atomic

TRAIN, EVAL, INK = '#86a9d1', '#c8442b', '#444444'
# Safe for colour-blind readers (Okabe and Ito 2008), on white; dashes tell
# lines apart in greyscale. 7 colours and 4 dashes make 28 different lines.
COLORS = (
  '#0072b2',
  '#d55e00',
  '#009e73',
  '#cc79a7',
  '#e69f00',
  '#56b4e9',
  '#000000',
)
DASHES = ('-', '--', '-.', ':')
FEW = 25  # The most points of a line that are marked one by one.
ROOM = 5  # The most entries of a legend inside the axes.


class Bar(NamedTuple):
  """A bar of a chart.

  Attributes:
    height: Its value; None if there is none.
    low: The lower end of its interval; None if it has none.
    high: The upper end.
  """

  height: float | None
  low: float | None = None
  high: float | None = None


Points = Sequence[Sequence[float | int | None]]  # Each an x and a y.
Runs = Sequence[Points]  # Of one variant, one for each seed.


def loss(
  lines: Iterable[Mapping[str, Any]], target: pathlib.Path, title: str
) -> None:
  """Plots the losses of a run against its steps.

  Args:
    lines: The lines of its `metrics.jsonl`.
    target: The PNG to write, atomically.
    title: The title above the plot.
  """
  lines = list(lines)

  def series(split):
    points = [
      (line['step'], line['loss']) for line in lines if line['split'] == split
    ]
    # Missing values leave a gap.
    return [(s, math.nan if value is None else value) for s, value in points]

  figure, axes = empty()
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
  finish(figure, axes, target, title, ('step', 'loss (nats per token)'))


def lines(
  series: Mapping[str, Runs],
  target: pathlib.Path,
  title: str,
  x_label: str,
  y_label: str,
  *,
  log_x: bool = False,
  log_y: bool = False,
) -> None:
  """Plots the mean of each variant, with a band of one standard deviation.

  Args:
    series: The runs by the name in the legend. None and NaN leave a gap; if the
      runs of a variant were not measured at the same points, they are
      interpolated linearly, over the range that all of them cover.
    target: The PNG to write, atomically.
    title: The title above the plot.
    x_label: The label of the x axis, with its unit.
    y_label: The label of the y axis, with its unit.
    log_x: Whether the x axis is logarithmic.
    log_y: Whether the y axis is logarithmic.
  """
  figure, axes = empty()
  looks = zip(itertools.cycle(DASHES), itertools.cycle(COLORS))
  for (name, runs), (dashes, color) in zip(series.items(), looks):
    runs = [run for run in runs if run]
    x, mean, std = band(runs)
    marker = {'marker': 'o', 'markersize': 4} if len(x) <= FEW else {}
    label = f'{name} (n = {len(runs)})' if len(runs) > 1 else name
    axes.plot(
      x, mean, dashes, color=color, label=label, linewidth=1.6, **marker
    )
    if len(runs) > 1:
      edges = mean - std, mean + std
      axes.fill_between(x, *edges, color=color, alpha=0.18, linewidth=0)
  # Values that are not above 0 have no place on a logarithmic axis.
  drawn = axes.get_lines()
  if log_x and any((line.get_xdata() > 0).any() for line in drawn):
    axes.set_xscale('log')
  elif axes.get_xlim()[1] > 1e4:  # 16M, instead of 1.6 and 1e7 in a corner.
    axes.xaxis.set_major_formatter(ticker.EngFormatter(sep=''))
  if log_y and any((line.get_ydata() > 0).any() for line in drawn):
    axes.set_yscale('log')
    axes.yaxis.set_major_formatter(ticker.LogFormatter())
    axes.yaxis.set_minor_formatter(ticker.LogFormatter())
  finish(figure, axes, target, title, (x_label, y_label))


def bars(
  series: Mapping[str, Mapping[str, Bar]],
  target: pathlib.Path,
  title: str,
  y_label: str,
  x_label: str = '',
  *,
  chance: float | None = None,
) -> None:
  """Draws a grouped bar chart, with intervals.

  Args:
    series: The bars by name, of each series by the name in the legend. Bars of
      one name are grouped.
    target: The PNG to write, atomically.
    title: The title above the plot.
    y_label: The label of the y axis, with its unit.
    x_label: The label of the x axis.
    chance: The score of guessing, at which bars then begin; None means at 0.
  """
  figure, axes = empty()
  names = [*dict.fromkeys(name for own in series.values() for name in own)]
  width = 0.8 / max(1, len(series))
  base = 0.0 if chance is None else chance
  for number, (label, own) in enumerate(series.items()):
    drawn = {name: bar for name, bar in own.items() if bar.height is not None}
    places = [
      names.index(name) + (number - (len(series) - 1) / 2) * width
      for name in drawn
    ]
    heights = [bar.height - base for bar in drawn.values()]
    style = {'color': COLORS[number % len(COLORS)], 'alpha': 0.75}
    style |= {'label': label} if len(series) > 1 else {}
    axes.bar(places, heights, 0.9 * width, base, **style)
    for place, bar in zip(places, drawn.values()):
      top = bar.height if bar.high is None else bar.high
      if bar.low is not None and bar.high is not None:
        axes.vlines(place, bar.low, bar.high, color=INK, linewidth=1.4)
      axes.annotate(
        f'{bar.height:.3g}',
        (place, max(top, base)),
        (0, 3),
        textcoords='offset points',
        ha='center',
        fontsize=9,
        color=INK,
      )
  if chance is not None:
    axes.axhline(chance, color=INK, linewidth=1, label='chance')
  axes.margins(y=0.12)
  axes.set_axisbelow(True)
  axes.set_xticks(range(len(names)), names)
  for text in axes.get_xticklabels():
    text.set_parse_math(False)
  finish(figure, axes, target, title, (x_label, y_label), room=0)


def band(runs: Runs) -> tuple[Float[np.ndarray, 'points'], ...]:
  """Returns the x of the points, and the mean and deviation of runs there."""
  if not runs:
    return (np.zeros(0),) * 3
  whole = [
    np.array([(x, math.nan if y is None else y) for x, y in run], float)
    for run in runs
  ]
  places = np.unique(np.concatenate([run[:, 0] for run in whole]))
  first = max(run[0, 0] for run in whole)
  last = min(run[-1, 0] for run in whole)
  places = places[(places >= first) & (places <= last)]
  heights = np.array([np.interp(places, *run.T) for run in whole])
  spread = heights.std(axis=0, ddof=1) if len(whole) > 1 else 0 * heights[0]
  return places, heights.mean(axis=0), spread


def empty() -> tuple[Figure, Axes]:
  """Returns an empty figure and its axes."""
  # No pyplot: its state is global to the process.
  figure = Figure(figsize=(8, 4.5), dpi=120, layout='constrained')
  return figure, figure.add_subplot()


def finish(
  figure: Figure,
  axes: Axes,
  target: pathlib.Path,
  title: str,
  labels: tuple[str, str],
  room: int = ROOM,
) -> None:
  """Adds title, labels, grid and legend to a figure, and writes it atomically.

  Args:
    figure: The figure.
    axes: Its axes.
    target: The PNG.
    title: The title above the plot.
    labels: The labels of the x and the y axis.
    room: The most entries of a legend that is put inside the axes.
  """
  axes.set_title(title, loc='left', color=INK, parse_math=False)
  axes.set_xlabel(labels[0], color=INK, parse_math=False)
  axes.set_ylabel(labels[1], color=INK, parse_math=False)
  axes.tick_params(which='both', colors=INK)
  axes.grid(color='#e4e4e4', linewidth=0.8)
  axes.spines[['top', 'right']].set_visible(False)
  if handles := axes.get_legend_handles_labels()[0]:
    style = {'frameon': False, 'labelcolor': INK}
    if len(handles) > room:
      legend = figure.legend(loc='outside right upper', **style)
    else:
      legend = axes.legend(**style)
    for text in legend.get_texts():
      text.set_parse_math(False)
  save(figure, target)


def save(figure: Figure, target: pathlib.Path) -> None:
  """Writes a figure as a PNG, atomically.

  Its colors are the 256 that fit it best: a third of the bytes, which a report
  or a notebook holds once for each of its plots.
  """
  drawn = io.BytesIO()
  figure.savefig(drawn, format='png')
  picture = Image.open(drawn).convert('RGB').quantize(256)
  with atomic.new_file(target) as part:
    picture.save(part, format='png', optimize=True)
