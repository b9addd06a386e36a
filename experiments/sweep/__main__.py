"""Trains many runs of one config, and collects their results.

  python -m experiments.sweep --config=configs/gpt.py:debug \\
      --sweep=configs/sweeps/learning_rate.py --workdir=runs/rates
  python -m experiments.sweep --config=configs/gpt.py:gpt2 \\
      --sweep=configs/sweeps/learning_rate.py --workdir=runs/rates \\
      --config.data.path='text/*.jsonl.gz' \\
      --to=slurm --devices=8 --time_limit=12:00:00

The first command trains one run after another on this machine. The second
submits each run as a job of its own; the same command later collects the results
and submits the runs that are left. A finished run is never repeated. --dry_run
prints the runs and their cost; --gather starts nothing and collects the results
so far. --to=slurm --help lists the flags of SLURM.
"""

import json
import pathlib
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from absl import logging

from experiments import cells, command, config_file, origins
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

# What a later call may change, since the results do not depend on it.
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
  """Trains all runs of a sweep that have not ended yet.

  Args:
    config: FILE.py or FILE.py:VARIANT, the config of all runs; any field that
      the sweep does not vary can be overridden.
    sweep: A file with a get_sweep(over), such as configs/sweeps/shapes.py.
    workdir: The directory for the runs, sweep.csv and sweep.png.
    metric: The evaluation metric that picks the best run.
    dry_run: Prints the runs and their cost, and does nothing.
    gather: Starts nothing; collects the results so far.
    to: Where each run is started as a job, local or slurm; if not given, the
      runs are trained here, one after another. The flags of jobs, such as
      --devices, need it.
  """
  if arguments and not to:
    raise UserError(
      f'--{min(arguments)} is for jobs. Give --to=slurm or --to=local with it, or'
      ' omit it.'
    )
  if remote.is_url(workdir):
    raise UserError(
      f'--workdir is {workdir!r}, but the results of a sweep are collected in a'
      ' directory of this machine. Give one that the hosts of the jobs see, too.'
    )
  root, found = pathlib.Path(workdir).absolute(), described.read(sweep)
  searches = isinstance(found, over.Search)
  if searches and to:
    raise UserError(
      f'--to is {to!r}, but {sweep} is a search: the results of earlier runs'
      ' choose the next one. Omit --to, or use over.draw.'
    )
  points = optuna_search.corners(found) if searches else found
  runs = described.runs(config, points, root)
  check_evaluated(found, runs)
  jobs = [job_of(to, config, run, arguments) for run in runs] if to else []
  if dry_run:
    show(found, runs, as_jobs=bool(to))
    return None
  if to and not gather:
    rendered.check_program(start.PLATFORMS[to].PROGRAM, to)
  terms = in_common(config, points)
  if searches:
    terms['search'] = optuna_search.terms(found)
  results.check_same(root, terms, 'sweep', growing=('names',))
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
        if waits(run):
          train(config, run)
        gathering.write(runs, root)
    table = gathering.write(runs, root)
  return told(table, root, metric)


def in_common(config: Asked, points: over.Points) -> dict[str, Any]:
  """Returns what later calls may not change, whatever points they add.

  Returns:
    `config`: The content of the config file. A run that is started again checks
      its own config; this is for those that have ended.
    `overrides`: Those of the command line.
    `names`: What stands for each key in the names of runs, and the reverse;
      keys may be added.
  """
  content = config_file.read(config.path)
  overrides = config.overrides
  short = described.shorts({key for point in points for key in point})
  return {
    'config': {k: v for k, v in content.items() if k not in MAY_CHANGE},
    'overrides': {
      k: v
      for k, v in overrides.items()
      if k.partition('.')[0] not in MAY_CHANGE
    },
    'names': {**short, **{name: key for key, name in short.items()}},
  }


def check_evaluated(
  found: over.Points | over.Search, runs: Sequence[Run]
) -> None:
  """Raises UserError if a search prunes runs that are never evaluated."""
  if not isinstance(found, over.Search):
    return
  optuna_search.optuna()
  if found.prune and not all(run.config['eval']['every'] for run in runs):
    raise UserError(
      'config.eval.every is 0, but runs are pruned by their evaluations. Set it'
      ' to a number of steps, or give over.search prune=False.'
    )


def show(
  found: over.Points | over.Search, runs: Sequence[Run], as_jobs: bool
) -> None:
  """Prints the runs of a sweep and their cost, if it can be known here."""
  trials = 0
  if isinstance(found, over.Search):
    trials = found.trials
    logging.info('Optuna chooses %d runs; these are the extremes.', trials)
  try:
    each = costs.of(runs)
  except UserError as error:
    if not as_jobs:
      raise
    # Their data may be where only the jobs can read it.
    logging.warning('The cost is not known here: %s', error)
    listed = [{'run': run.name, **run.point} for run in runs]
    command.report({'runs': listed, 'tokens': None, 'flops': None})
    return
  logging.info('The runs and their cost:\n%s', costs.table(runs, each, trials))
  listed = [{'run': r.name, **r.point, **c} for r, c in zip(runs, each)]
  command.report({'runs': listed, **costs.total(each, trials)})


def train(
  config: Asked, run: Run, stop: Callable[[], bool] | None = None
) -> dict[str, Any] | None:
  """Returns the result of a run, after training it here if it has not ended.

  None: it failed, or `stop` has stopped it.
  """
  there = gathering.ended(run)
  if there is not None:
    return there
  path, fields = described.overridden(config, run.point)
  argv = [f'--config={path}', f'--workdir={run.place}', *cells.flags(fields)]
  return cells.once(run.place / 'result.json', 'train', argv, run.place, stop)


def search(
  found: over.Search, config: Asked, root: pathlib.Path, metric: str
) -> list[Run]:
  """Returns the runs that Optuna has chosen, after training them."""
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
  """Returns the checked job of a run, and the options of its platform."""
  if patience := run.config['eval']['patience']:
    raise UserError(
      f'config.eval.patience is {patience}, but a job has ended when it has'
      ' reached config.num_steps, and patience ends it earlier. Set it to 0, or'
      ' omit --to.'
    )
  own = described.overridden(config, run.point)
  job = flags.made(Job, arguments, config=own, workdir=str(run.place))
  options = flags.made(start.PLATFORMS[to].Options, arguments)
  start.check(to, job, options, run.config)
  return job, options


def launch(
  to: str, runs: Sequence[Run], jobs: Sequence[tuple[Job, Any]]
) -> None:
  """Starts each run as a job, if it `waits` to be started."""
  for run, (job, options) in zip(runs, jobs):
    if not waits(run):
      continue
    began = time.monotonic()
    status = start.start(to, job, options).get('status')
    # That of an earlier try.
    (run.place / cells.FAILED).unlink(missing_ok=True)
    if status in STOPPED:  # It has saved, and resumes in a later call.
      limit = seconds(job.time_limit)
      if not limit or time.monotonic() - began < limit:
        raise SystemExit(status)  # Not its time limit: we were stopped, too.
    elif status:
      mark_failed(run, f'It ended with status {status}.')


def waits(run: Run) -> bool:
  """Returns whether to start a run: it has not ended, and no job is alive for it.

  A run whose job is gone before its end has failed. One call reports this, and
  the next starts it again; otherwise a job that always fails would be submitted
  for ever without a word.
  """
  if gathering.ended(run) is not None:
    return False
  failed, note = run.place / cells.FAILED, given.read(str(run.place))
  if note is None:
    return True
  if start.PLATFORMS[note['to']].is_alive(note):
    logging.info(
      '%s is under way, as job %s of %s.', run.name, note['id'], note['to']
    )
    failed.unlink(missing_ok=True)  # Somebody else has started it again.
    return False
  if gathering.ended(run) is not None:  # It ended while we asked.
    return False
  if failed.exists():
    return True
  mark_failed(run, f'Its job {note["id"]} is gone, but the run has not ended.')
  return False


def mark_failed(run: Run, why: str) -> None:
  """Records in the workdir of a run that it has failed, and logs it."""
  logs = f'{run.place}/launch'
  logging.error('%s has failed. %s See %s.', run.name, why, logs)
  run.place.mkdir(parents=True, exist_ok=True)
  failure = {'why': why, 'see': logs}
  (run.place / cells.FAILED).write_text(json.dumps(failure) + '\n')


def told(
  table: Sequence[gathering.Row], root: pathlib.Path, metric: str
) -> int | None:
  """Reports the results so far; returns 1 if a run has failed."""
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
  # So that the run that it has started is stopped, too.
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
  to = flags.chosen(sys.argv[1:])
  # Without --to, `main` says of these flags that they need it.
  kinds = [Job, *flags.options_of(to)] if to else [Job]
  command.run(
    flags.signed(main, kinds, without=('name',)), SECTIONS, origins.sections
  )
