"""The results of a sweep: a row for each run in sweep.csv, and a plot."""

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
from lm.training import checkpoint_files, run_log, testing
from lm.types import UserError

PRUNED = 'pruned.json'
FEW = 8  # Up to so many integers, each has its tick.
LETTERS = 50  # Of a title that fit above one plot.
WIDE = 30  # From this ratio of greatest to least on, an axis is logarithmic.

Row = dict[str, Any]


def ended(run: Run) -> dict[str, Any] | None:
  """Returns the result of a run that has ended; None if it has not.

  The result is its last evaluation; if its task has a test set, `test` has the
  scores of that.
  """
  path = run.place / 'result.json'
  if path.exists():
    return json.loads(path.read_text())
  # A job writes no result: its last evaluation, the checkpoint of the same step
  # and the scores of the test set tell that it has ended.
  last, steps = last_evaluation(run), run.config['num_steps']
  saved = checkpoint_files.steps(run.place / 'checkpoints')
  if last.get('step', -1) < steps or last['step'] not in saved:
    return None
  if not run.config['task']['name'] or not run.config['data']['test']:
    return last
  scores = run.place / testing.SCORES
  if not scores.exists():
    return None
  return {**last, 'test': json.loads(scores.read_text())['scores']}


def last_evaluation(run: Run) -> dict[str, Any]:
  """Returns the last evaluation of a run; empty if it has none yet."""
  path = run.place / 'metrics.jsonl'
  return run_log.last_scores(run.place) if path.exists() else {}


def status(run: Run) -> str:
  """Returns the state of a run: ended, pruned, failed, begun or new."""
  if ended(run) is not None:
    return 'ended'
  for name, text in ((PRUNED, 'pruned'), (cells.FAILED, 'failed')):
    if (run.place / name).exists():
      return text
  return 'begun' if (run.place / 'metrics.jsonl').exists() else 'new'


def rows(runs: Sequence[Run]) -> list[Row]:
  """Returns a row for each run: its state, its point and its last scores.

  The columns of the point begin with `config.`, those of a test set with
  `test.`; the others are of the last evaluation.
  """
  found = []
  for run in runs:
    scores = ended(run) or last_evaluation(run)
    tested = scores.get('test', {})
    scores = scores | {f'test.{name}': tested[name] for name in tested}
    numbers = {
      name: value
      for name, value in scores.items()
      if isinstance(value, int | float) and name not in run_log.TIME_FIELDS
    }
    point = {f'config.{key}': value for key, value in run.point.items()}
    found.append({'run': run.name, 'status': status(run), **point, **numbers})
  return found


def best(found: Sequence[Row], metric: str) -> Row | None:
  """Returns the row of the best run that has ended; None if there is none.

  Raises:
    UserError: Runs have ended, but none has the metric.
  """
  over = [row for row in found if row['status'] == 'ended']
  scored = [row for row in over if _is_number(row.get(metric))]
  if over and not any(metric in row for row in over):
    raise missing(metric, over)
  sign = 1 if higher_is_better(metric) else -1
  return max(scored, key=lambda row: sign * row[metric], default=None)


def missing(metric: str, found: Sequence[Mapping[str, Any]]) -> UserError:
  """Returns the error for a metric that is not among those of `found`."""
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
  """Writes sweep.csv atomically, and returns its rows."""
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
  """Returns the columns of the fields that vary."""
  columns = dict.fromkeys(name for row in found for name in row)
  return [name for name in columns if name.startswith('config.')]


def draw(found: Sequence[Row], metric: str, target: pathlib.Path) -> None:
  """Plots the metric of each run that has ended, against each key that varies.

  Args:
    found: A row for each run.
    metric: The metric of the vertical axes.
    target: The PNG to write, atomically.
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
  plots.save(figure, target)


def _placed(values: Sequence[Any]) -> tuple[list[float], Mapping[str, Any]]:
  """Returns the positions of values on an axis, and the axis's settings."""
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
