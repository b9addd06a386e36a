"""What the runs of a sweep came to: a row for each in sweep.csv, and a plot."""

import csv
import json
import math
import pathlib
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from experiments import cells
from experiments.sweep.described import Run
from lm.analysis import plots
from lm.analysis.directions import higher_is_better
from lm.data import atomic
from lm.training import checkpoint_files, run_log
from lm.types import UserError

PRUNED = 'pruned.json'
FEW = 8  # Integers so few that each has its tick.
LETTERS = 50  # Of a title that fit above a picture.
WIDE = 30  # Times the least that the greatest is, for orders of magnitude.

Row = dict[str, Any]


def ended(run: Run) -> dict[str, Any] | None:
  """Returns the last evaluation of a run that has ended; None: it has not."""
  path = run.place / 'result.json'
  if path.exists():
    return json.loads(path.read_text())
  # One that a launcher started has its last evaluation and what it saved then.
  last, saved = last_evaluation(run), run.place / 'checkpoints'
  steps = {last.get('step', -1)}.intersection(checkpoint_files.steps(saved))
  return last if steps and max(steps) >= run.config['num_steps'] else None


def last_evaluation(run: Run) -> dict[str, Any]:
  """Returns the last evaluation of a run, if it has any yet."""
  path = run.place / 'metrics.jsonl'
  return run_log.last_scores(run.place) if path.exists() else {}


def status(run: Run) -> str:
  """Returns how a run stands: ended, pruned, failed, begun or new."""
  if ended(run) is not None:
    return 'ended'
  for name, text in ((PRUNED, 'pruned'), (cells.FAILED, 'failed')):
    if (run.place / name).exists():
      return text
  return 'begun' if (run.place / 'metrics.jsonl').exists() else 'new'


def rows(runs: Sequence[Run]) -> list[Row]:
  """Returns a row for each run: its point, how it stands, its last evaluation.

  The point's keys are whole, so they are not those of the evaluation.
  """
  found = []
  for run in runs:
    scores = ended(run) or last_evaluation(run)
    numbers = {
      name: value
      for name, value in scores.items()
      if isinstance(value, int | float) and name not in run_log.TIME_FIELDS
    }
    point = {f'config.{key}': value for key, value in run.point.items()}
    found.append({'run': run.name, 'status': status(run), **point, **numbers})
  return found


def best(found: Sequence[Row], metric: str) -> Row | None:
  """Returns the row of the run that ended best; None: none has the metric.

  Raises:
    UserError: Runs have ended, and not one has it.
  """
  over = [row for row in found if row['status'] == 'ended']
  scored = [row for row in over if _is_number(row.get(metric))]
  if over and not any(metric in row for row in over):
    raise missing(metric, over)
  sign = 1 if higher_is_better(metric) else -1
  return max(scored, key=lambda row: sign * row[metric], default=None)


def missing(metric: str, found: Sequence[Mapping[str, Any]]) -> UserError:
  """Returns what to raise where evaluations have other metrics."""
  there = {
    name
    for scores in found
    for name, value in scores.items()
    if _is_number(value) and not name.startswith('config.')
  } - {'step', *run_log.TIME_FIELDS}
  return UserError(
    f'--metric is {metric!r}, which no run has. They have'
    f' {", ".join(sorted(there))}.'
  )


def write(runs: Sequence[Run], root: pathlib.Path) -> list[Row]:
  """Writes sweep.csv, whole or not at all, and returns its rows."""
  found = rows(runs)
  columns = dict.fromkeys(name for row in found for name in row)
  with (
    atomic.new_file(root / 'sweep.csv') as part,
    part.open('w', newline='', encoding='utf-8') as file,
  ):
    writer = csv.DictWriter(file, [*columns], restval='')
    writer.writeheader()
    writer.writerows(found)
  return found


def keys_of(found: Sequence[Row]) -> list[str]:
  """Returns the columns of what varies."""
  columns = dict.fromkeys(name for row in found for name in row)
  return [name for name in columns if name.startswith('config.')]


def draw(found: Sequence[Row], metric: str, target: pathlib.Path) -> None:
  """Draws the metric of each run that has ended against what varies.

  Args:
    found: A row for each run.
    metric: Upwards; of each key that varies there is a picture.
    target: The PNG to write, whole or not at all.
  """
  shown = [
    row
    for row in found
    if row['status'] == 'ended' and _is_number(row.get(metric))
  ]
  keys = keys_of(found)
  if not shown or not keys:
    return
  chosen, columns = best(found, metric), min(3, len(keys))
  lines = math.ceil(len(keys) / columns)
  figure = Figure(
    figsize=(4 * columns, 3.2 * lines), dpi=120, layout='constrained'
  )
  for number, key in enumerate(keys, 1):
    axes = figure.add_subplot(lines, columns, number)
    own = [row for row in shown if key in row]
    x, scale = _placed([row[key] for row in own])
    axes.set(**scale)
    axes.scatter(x, [row[metric] for row in own], color=plots.TRAIN)
    at = [place for place, row in zip(x, own) if row is chosen]
    axes.scatter(at, [chosen[metric]] * len(at), color=plots.EVAL, zorder=3)
    axes.set_xlabel(
      key.removeprefix('config.'), color=plots.INK, parse_math=False
    )
    axes.set_ylabel(metric, color=plots.INK, parse_math=False)
    axes.tick_params(which='both', colors=plots.INK)
    axes.grid(color='#e4e4e4', linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)
  title = f'The best of {len(shown)}: {chosen["run"].replace(",", ", ")}'
  figure.suptitle(
    textwrap.fill(title, LETTERS * columns),
    fontsize=10,
    x=0.01,
    ha='left',
    color=plots.INK,
    parse_math=False,
  )
  with atomic.new_file(target) as part:
    figure.savefig(part, format='png')


def _placed(values: Sequence[Any]) -> tuple[list[float], Mapping[str, Any]]:
  """Returns where values are on an axis, and what it is to be."""
  if not all(map(_is_number, values)):
    names = sorted({str(value) for value in values})
    ticks = {'xticks': range(len(names)), 'xticklabels': names}
    return [names.index(str(value)) for value in values], ticks
  numbers = [float(value) for value in values]
  if all(isinstance(v, int) for v in values) and len({*values}) <= FEW:
    return numbers, {'xticks': sorted({*values})}
  log = numbers and min(numbers) > 0 and max(numbers) >= WIDE * min(numbers)
  return numbers, {'xscale': 'log' if log else 'linear'}


def _is_number(value: Any) -> bool:
  return (
    isinstance(value, int | float)
    and not isinstance(value, bool)
    and math.isfinite(value)
  )
