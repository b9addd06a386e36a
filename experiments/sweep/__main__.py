"""Trains many runs of one config, and gathers what they came to.

  python -m experiments.sweep --config=configs/gpt.py:debug \\
      --sweep=configs/sweeps/learning_rate.py --workdir=runs/rates
  python -m experiments.sweep --config=configs/gpt.py:gpt2 \\
      --sweep=configs/sweeps/learning_rate.py --workdir=runs/rates \\
      --config.data.path='text/*.jsonl.gz' \\
      --to=slurm --devices=8 --time_limit=12:00:00

The first trains one run after another on this machine; the second hands each in
as a job of its own, and once these have ended the same command gathers them.
What has been done is never done again. --dry_run prints the runs and what they
take; --gather starts nothing, and gathers what there is. --to=slurm --help has
the flags of SLURM.
"""

import json
import pathlib
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from absl import logging

from experiments import cells, command, origins
from experiments.config_file import Asked
from experiments.launch import flags, given, rendered, start
from experiments.launch.job import Job, seconds
from experiments.sweep import costs, described, gathering, optuna_search, over
from experiments.sweep.described import Run
from lm.comparison import results
from lm.data import remote
from lm.training import workdir as workdirs
from lm.training.sections import SECTIONS
from lm.types import UserError

# What a later call may change, since it changes no run.
MAY_CHANGE = ('hosts', 'log', 'parallel')
STOPPED = (128 + signal.SIGINT, 128 + signal.SIGTERM)


def main(
  config: Asked,
  sweep: str,
  workdir: str,
  metric: str = 'loss',
  dry_run: bool = False,
  gather: bool = False,
  to: Literal['local', 'slurm'] | None = None,
  **arguments: Any,
) -> int | None:
  """Trains all runs of a sweep that have not been yet.

  Args:
    config: FILE.py or FILE.py:VARIANT of all runs; any field of it that the
      sweep does not go over can be overridden.
    sweep: A file with a get_sweep(over), such as configs/sweeps/width.py.
    workdir: Where the runs, sweep.csv and sweep.png go.
    metric: Of an evaluation, by which the best run is named.
    dry_run: Prints the runs and what they take, and does nothing.
    gather: Starts no run, and gathers what those that were have come to.
    to: Where each run is started as a job, local or slurm; if not given, they
      are trained here.
  """
  if remote.is_url(workdir):
    raise UserError(
      f'--workdir is {workdir!r}, but a sweep is gathered in a directory of this'
      ' machine. Give one that the hosts see as well.'
    )
  root, found = pathlib.Path(workdir).absolute(), described.read(sweep)
  searches = isinstance(found, over.Search)
  if searches and to:
    raise UserError(
      f'--to is {to!r}, but {sweep} is searched: each run is chosen by those'
      ' before it. Omit --to, or use over.draw.'
    )
  points = optuna_search.corners(found) if searches else found
  runs = described.runs(config, points, root)
  check_evaluated(found, runs)
  jobs = [job_of(to, config, run, arguments) for run in runs] if to else []
  if dry_run:
    show(found, runs)
    return None
  if to and not gather:
    rendered.check_program(start.PLATFORMS[to].PROGRAM, to)
  terms = in_common(config, points)
  if searches:
    terms['search'] = optuna_search.terms(found)
  results.check_same(root, terms, 'sweep')
  with workdirs.held(root):
    if searches:
      asked = found._replace(trials=0) if gather else found
      runs = search(asked, config, root, metric)
    elif gather:
      for run in runs:
        waits(run)
    elif to:
      launch(to, runs, jobs)
    else:
      for run in runs:
        train(config, run)
        gathering.write(runs, root)
    table = gathering.write(runs, root)
  return told(table, root, metric)


def in_common(config: Asked, points: over.Points) -> dict[str, Any]:
  """Returns what no run may differ in: the config, but for what varies."""
  whole = described.resolve(config, points[0])
  keys = {key for point in points for key in point}
  kept: dict[str, Any] = {}
  for section, fields in whole.items():
    if section in MAY_CHANGE or section in keys:
      continue
    kept[section] = fields
    if isinstance(fields, Mapping):
      kept[section] = {
        key: value
        for key, value in fields.items()
        if f'{section}.{key}' not in keys
      }
  return {'config': kept}


def check_evaluated(
  found: over.Points | over.Search, runs: Sequence[Run]
) -> None:
  """Raises UserError if runs are to be pruned by what is not measured."""
  if not isinstance(found, over.Search):
    return
  optuna_search.optuna()
  if found.prune and not all(run.config['eval']['every'] for run in runs):
    raise UserError(
      'config.eval.every is 0, but runs are pruned by their evaluations. Set it'
      ' to a number of steps, or give over.search prune=False.'
    )


def show(found: over.Points | over.Search, runs: Sequence[Run]) -> None:
  """Prints the runs of a sweep, and what they take."""
  trials = 0
  if isinstance(found, over.Search):
    trials = found.trials
    logging.info('Optuna chooses %d runs; these are the extremes.', trials)
  each = costs.of(runs)
  logging.info('What they take:\n%s', costs.table(runs, each, trials))
  listed = [{'run': r.name, **r.point, **c} for r, c in zip(runs, each)]
  command.report({'runs': listed, **costs.total(each, trials)})


def train(
  config: Asked, run: Run, stop: Callable[[], bool] | None = None
) -> dict[str, Any] | None:
  """Returns the last evaluation of a run, trained here if it was not yet."""
  there = gathering.ended(run)
  if there is not None:
    return there
  path, fields = described.overridden(config, run.point)
  argv = [f'--config={path}', f'--workdir={run.place}', *cells.flags(fields)]
  return cells.once(run.place / 'result.json', 'train', argv, run.place, stop)


def search(
  found: over.Search, config: Asked, root: pathlib.Path, metric: str
) -> list[Run]:
  """Returns the runs that Optuna chose, and have been trained."""
  keys = optuna_search.keys_of(found)

  def make(point: over.Point) -> Run:
    name = described.name_of(point, keys)
    whole = described.resolve(config, point)
    return Run(name, point, whole, root / 'runs' / name)

  return optuna_search.run(
    found, root, metric, make, lambda run, stop: train(config, run, stop)
  )


def job_of(
  to: str, config: Asked, run: Run, arguments: Mapping[str, Any]
) -> tuple[Job, Any]:
  """Returns the job of a run, which can be, and the options of its platform."""
  if patience := run.config['eval']['patience']:
    raise UserError(
      f'config.eval.patience is {patience}, but whether a job has ended is told'
      ' by its last step, which that changes. Set it to 0, or omit --to.'
    )
  own = described.overridden(config, run.point)
  job = flags.made(Job, arguments, config=own, workdir=str(run.place))
  options = flags.made(start.PLATFORMS[to].Options, arguments)
  start.check(to, job, options, run.config)
  return job, options


def launch(
  to: str, runs: Sequence[Run], jobs: Sequence[tuple[Job, Any]]
) -> None:
  """Starts each run that waits for it; see `waits`."""
  for run, (job, options) in zip(runs, jobs):
    if not waits(run):
      continue
    began = time.monotonic()
    status = start.start(to, job, options).get('status')
    (run.place / cells.FAILED).unlink(missing_ok=True)  # Of the try before.
    if status in STOPPED:  # It has saved, and goes on in a later call.
      limit = seconds(job.time_limit)
      if not limit or time.monotonic() - began < limit:
        raise SystemExit(status)  # We were, and it with us.
    elif status:
      mark_failed(run, f'It has ended with status {status}.')


def waits(run: Run) -> bool:
  """Returns whether a run is to be started: it has not ended, and no job has it.

  One whose job is gone before its end has failed. That is said once before it is
  tried again: who has made a mistake would else hand it in for ever.
  """
  if gathering.ended(run) is not None:
    return False
  failed, note = run.place / cells.FAILED, given.read(str(run.place))
  if note is None:
    return True
  if start.PLATFORMS[note['to']].is_alive(note):
    logging.info('%s is under way, as job %s.', run.name, note['id'])
    failed.unlink(missing_ok=True)  # It was started anew by other hands.
    return False
  if gathering.ended(run) is not None:  # While we asked.
    return False
  if failed.exists():
    return True
  mark_failed(run, f'Its job {note["id"]} is gone, and it has not ended.')
  return False


def mark_failed(run: Run, why: str) -> None:
  """Notes in a workdir that its run has failed, and says so."""
  logs = f'{run.place}/launch'
  logging.error('%s has failed. %s See %s.', run.name, why, logs)
  run.place.mkdir(parents=True, exist_ok=True)
  failure = {'why': why, 'see': logs}
  (run.place / cells.FAILED).write_text(json.dumps(failure) + '\n')


def told(
  table: Sequence[gathering.Row], root: pathlib.Path, metric: str
) -> int | None:
  """Says what there is now; the status is 1 if a run has failed."""
  best = gathering.best(table, metric)
  gathering.draw(table, metric, root / 'sweep.png')
  states = [row['status'] for row in table]
  counts = {state: states.count(state) for state in dict.fromkeys(states)}
  for row in table:
    logging.info('%s: %s, %s', row['run'], row['status'], row.get(metric))
  command.report(
    {
      'workdir': str(root),
      'table': str(root / 'sweep.csv'),
      'runs': counts,
      'best': best,
    }
  )
  return 1 if 'failed' in states else None


if __name__ == '__main__':
  # So that what it has started is stopped, too.
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
  to = flags.chosen(sys.argv[1:])
  kinds = [Job, *flags.options_of(to)] if to else []
  command.run(
    flags.signed(main, kinds, without=('name',)), SECTIONS, origins.sections
  )
