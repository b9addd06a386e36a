"""Matrices as heat maps: masks, attention maps, effects of patches."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Array, Shaped
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lm.analysis import plots
from lm.analysis.plots import INK
from lm.types import UserError

Matrix = Shaped[np.ndarray, 'R S'] | Shaped[Array, 'R S']

SHADES, SIGNED = 'Blues', 'RdBu_r'  # For non-negative and for signed values.
WIDTH = 8.0  # Width of the picture in inches.
CELL = 0.3  # Height of a named row in inches, if there is room.
MARGIN = 1.4  # Inches around a panel's cells: names, title, scale.
TALLEST = 3.4  # The largest height of a panel in inches.


def draw(
  panels: Mapping[str, Matrix],
  target: pathlib.Path,
  title: str,
  labels: tuple[str, str],
  *,
  columns: Sequence[str] = (),
  rows: Sequence[str] = (),
  unit: str = '',
  limits: tuple[float, float] | None = None,
  across: int = 4,
) -> None:
  """Draws matrices side by side, all on one colour scale.

  Args:
    panels: The matrices by title; all of one shape.
    target: The PNG to write, atomically.
    title: The title above the picture.
    labels: The labels of the x and the y axis, with units.
    columns: The names of the columns; by default they are numbered.
    rows: The names of the rows; by default they are numbered.
    unit: The unit of the values, for the colour bar; '' means no colour bar.
    limits: The values at the ends of the scale; None means the least and the
      largest. A scale that goes below 0 is white at 0.
    across: The most panels side by side.

  Raises:
    UserError: The matrices differ in shape or are empty, or a name is missing.
  """
  matrices = {name: np.asarray(m, float) for name, m in panels.items()}
  height, width = _shape(matrices, rows, columns)
  limits, colors = _scale(matrices, limits)
  across = min(across, len(matrices))
  down = -(-len(matrices) // across)
  wide = (WIDTH - MARGIN) / across
  named = CELL * height if rows else 0.0
  tall = min(TALLEST, max(1.0, wide * height / width, named))
  figure = Figure(
    figsize=(WIDTH, down * (tall + 0.35) + MARGIN),
    dpi=100,
    layout='constrained',
  )
  grid = figure.subplots(down, across, squeeze=False)
  for place in grid.flat[len(matrices) :]:
    place.set_axis_off()
  for number, (name, matrix) in enumerate(matrices.items()):
    axes = grid.flat[number]
    image = axes.imshow(
      matrix, cmap=colors, vmin=limits[0], vmax=limits[1], aspect='auto'
    )
    axes.set_title(name, fontsize=9, color=INK, parse_math=False)
    below = number + across < len(matrices)
    _name(axes, 'x', () if below else columns, below, wide / width)
    beside = number % across > 0
    _name(axes, 'y', () if beside else rows, beside, tall / height)
  figure.suptitle(title, x=0.01, ha='left', color=INK, parse_math=False)
  figure.supxlabel(labels[0], color=INK, fontsize=10, parse_math=False)
  figure.supylabel(labels[1], color=INK, fontsize=10, parse_math=False)
  if unit:
    _add_scale(figure, image, grid, unit)
  plots.save(figure, target)


def _shape(
  matrices: Mapping[str, np.ndarray],
  rows: Sequence[str],
  columns: Sequence[str],
) -> tuple[int, int]:
  """Returns the shape of all matrices, after checking it and the names."""
  shapes = {matrix.shape for matrix in matrices.values()}
  if len(shapes) != 1 or 0 in next(iter(shapes)):
    raise UserError(
      f'The panels have the shapes {sorted(shapes)}, but they share their rows'
      ' and columns. Give one or more matrices of one shape.'
    )
  [(height, width)] = shapes
  for what, names, count in (('row', rows, height), ('column', columns, width)):
    if len(names) not in (0, count):
      raise UserError(
        f'There are {len(names)} names of {what}s, and {count} {what}s. Give one'
        ' for each, or none.'
      )
  return height, width


def _scale(
  matrices: Mapping[str, np.ndarray], limits: tuple[float, float] | None
) -> tuple[tuple[float, float], str]:
  """Returns the ends of the scale, and its colour map."""
  values = np.concatenate([matrix.ravel() for matrix in matrices.values()])
  low, high = limits or (np.nanmin(values), np.nanmax(values))
  if low >= 0:
    return (low, high), SHADES
  most = max(-low, high)
  return (-most, most), SIGNED


def _name(
  axes: Axes, side: str, names: Sequence[str], hidden: bool, room: float
) -> None:
  """Labels the columns or the rows of a panel, unless they are hidden.

  Args:
    axes: The axes of the panel.
    side: x or y.
    names: Their names; if empty, they are numbered.
    hidden: Whether another panel shows the same labels.
    room: The inches for each.
  """
  axes.tick_params(axis=side, colors=INK, labelsize=8, length=2)
  axis = axes.xaxis if side == 'x' else axes.yaxis
  if names:
    axes.tick_params(axis=side, labelsize=min(8.0, 65 * room))
    axis.set_ticks(range(len(names)), names)
    for text in axis.get_ticklabels():
      text.set_parse_math(False)
      text.set_rotation(90 if side == 'x' else 0)
  else:
    axis.get_major_locator().set_params(integer=True)
  if hidden:
    axis.set_tick_params(labelbottom=False, labelleft=False)


def _add_scale(figure: Figure, image, grid: np.ndarray, unit: str) -> None:
  bar = figure.colorbar(image, ax=grid, shrink=0.8, aspect=25, pad=0.02)
  bar.set_label(unit, color=INK, fontsize=9)
  bar.ax.tick_params(colors=INK, labelsize=8)
  bar.outline.set_visible(False)
