"""Pictures of what was measured."""

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

from lm.data import atomic

TRAIN, EVAL, INK = '#86a9d1', '#c8442b', '#444444'
# Told apart by the colour-blind (Okabe and Ito 2008), on white; and by dashes on
# a grey print. 7 and 4 make 28 different lines.
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
FEW = 25  # Points so few that each is marked.
ROOM = 5  # Lines whose legend finds a place among them.


class Bar(NamedTuple):
  """A number to be drawn.

  Attributes:
    height: The number; None: there is none.
    low: The lower end of its interval; None: it has none.
    high: The upper end.
  """

  height: float | None
  low: float | None = None
  high: float | None = None


Points = Sequence[Sequence[float | int | None]]  # Each where, and how high.
Runs = Sequence[Points]  # Of one variant, one of each seed.


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
  """Draws variants, the mean of each and a band of a standard deviation around.

  Args:
    series: By what the legend calls them. What is None or no number leaves a
      gap; where the runs of a variant were not measured at the same places, they
      are compared on lines between those, as far as all of them go.
    target: The PNG to write, whole or not at all.
    title: Above the picture.
    x_label: What is to the right, with its unit.
    y_label: What is upwards, with its unit.
    log_x: Whether to the right every step multiplies.
    log_y: The same upwards.
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
  # What is not above 0 has no place on such an axis.
  drawn = axes.get_lines()
  if log_x and any((line.get_xdata() > 0).any() for line in drawn):
    axes.set_xscale('log')
  elif axes.get_xlim()[1] > 1e4:  # 16M, and not 1.6 with 1e7 in a corner.
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
  """Draws numbers side by side, with their intervals.

  Args:
    series: By what the legend calls them; of each, the bars by what they are
      called. Those of one name stand together.
    target: The PNG to write, whole or not at all.
    title: Above the picture.
    y_label: What is upwards, with its unit.
    x_label: What tells the bars apart.
    chance: What guessing achieves, where the bars begin then; None: at 0.
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
  """Returns where runs are compared, and their mean and deviation there."""
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
  """Returns a picture to draw in."""
  # No pyplot: its state is the whole process's.
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
  """Writes a picture, whole or not at all, with all that explains it.

  Args:
    figure: With what is drawn.
    axes: Of it.
    target: The PNG.
    title: Above the picture.
    labels: Of what is to the right and of what is upwards.
    room: The most lines of a legend that stands among what is drawn.
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
  with atomic.new_file(target) as part:
    figure.savefig(part, format='png')
