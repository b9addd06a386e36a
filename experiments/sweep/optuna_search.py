"""Trains runs that Optuna chooses, one after another, on this machine.

Its state is in `optuna.jsonl`, so the same command resumes the search. A run that
is worse than the median of the finished ones is told to stop.
"""

import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from absl import logging

from experiments import cells
from experiments.sweep import over
from experiments.sweep.described import Run
from experiments.sweep.gathering import PRUNED, missing
from experiments.sweep.over import Point, Points, Search
from lm.analysis.directions import higher_is_better
from lm.data import atomic
from lm.training import run_log
from lm.types import UserError

# Trains a run, unless a function tells it to stop, and returns its result.
Train = Callable[[Run, Callable[[], bool] | None], Mapping[str, Any] | None]


def optuna() -> Any:
  """Returns Optuna.

  Raises:
    UserError: Optuna is not installed.
  """
  try:
    import optuna as found
  except ImportError as error:
    raise UserError(
      'over.search needs Optuna, which is not installed here. Install it with'
      " pip install -e '.[optuna]', or use over.draw."
    ) from error
  found.logging.set_verbosity(found.logging.WARNING)
  return found


def keys_of(search: Search) -> list[str]:
  """Returns the keys of the fields that Optuna chooses."""
  return [
    each.key if isinstance(each, over.Range) else next(iter(each[0]))
    for each in search.dimensions
  ]


def terms(search: Search) -> dict[str, Any]:
  """Returns what a later call may not change: all but the number of trials."""
  said = {
    key: each._asdict() | {'integers': over.whole(each)}
    if isinstance(each, over.Range)
    # In their order, since Optuna knows each by its index.
    else [cells.written(point[key]) for point in each]
    for key, each in zip(keys_of(search), search.dimensions)
  }
  kept = {'seed': search.seed, 'prune': search.prune}
  return {**kept, 'unpruned': search.unpruned, 'dimensions': said}


def corners(search: Search) -> list[Point]:
  """Returns points that have each value, and each end of a range, at least once."""
  ends: list[Points] = [
    [{each.key: each.low}, {each.key: each.high}]
    if isinstance(each, over.Range)
    else each
    for each in search.dimensions
  ]
  first = {key: value for part in ends for key, value in part[0].items()}
  points = [first | point for part in ends for point in part]
  return [p for n, p in enumerate(points) if p not in points[:n]]


def run(
  search: Search,
  root: pathlib.Path,
  metric: str,
  make: Callable[[Point], Run],
  train: Train,
) -> list[Run]:
  """Returns all runs of a search, including those of earlier calls.

  Args:
    search: What Optuna chooses from.
    root: Where `optuna.jsonl` is.
    metric: The evaluation metric to improve.
    make: Returns the run of a point.
    train: Trains a run.
  """
  study = open_study(search, root, metric)
  while len(finished := _finished(study)) < search.trials:
    # Each trial has its own seed, so a resumed search makes the same choices.
    study.sampler = optuna().samplers.TPESampler(
      seed=search.seed + 1000 * len(finished)
    )
    trial = study.ask()
    try:
      tell(study, trial, make(_point(trial, search)), metric, search, train)
    except BaseException:
      # The next call resumes it.
      _again(study, trial.number)
      raise
  points = [_point_of(trial, search) for trial in _finished(study)]
  unlike = {json.dumps(point, sort_keys=True): point for point in points}
  return [make(point) for point in unlike.values()]


def open_study(search: Search, root: pathlib.Path, metric: str) -> Any:
  """Returns the study so far; a trial that was interrupted comes next again.

  Raises:
    UserError: The runs so far were chosen by another metric.
  """
  library = optuna()
  backend = library.storages.journal.JournalFileBackend(
    str(root / 'optuna.jsonl')
  )
  pruner = library.pruners.NopPruner()
  if search.prune:
    pruner = library.pruners.MedianPruner(n_startup_trials=search.unpruned)
  storage = library.storages.JournalStorage(backend)
  for name in library.get_all_study_names(storage):
    # If no trial has finished, it was for a metric that no run has.
    other = library.load_study(study_name=name, storage=storage)
    if name != metric and _finished(other):
      raise UserError(
        f'--metric is {metric!r}, but the runs in {root} were chosen by'
        f' {name!r}. Give --metric={name} or another --workdir.'
      )
  study = library.create_study(
    study_name=metric,
    storage=storage,
    pruner=pruner,
    direction='maximize' if higher_is_better(metric) else 'minimize',
    load_if_exists=True,
  )
  running = library.trial.TrialState.RUNNING
  for trial in study.get_trials(states=(running,)):
    _again(study, trial.number)
  return study


def tell(
  study: Any,
  trial: Any,
  run: Run,
  metric: str,
  search: Search,
  train: Train,
) -> None:
  """Trains a run, and tells the study its result."""
  states, reported, hopeless = optuna().trial.TrialState, set(), []

  def is_hopeless() -> bool:
    for step, value in evaluations(run.place, metric).items():
      if step not in reported:
        reported.add(step)
        trial.report(value, step)
        if trial.should_prune():
          hopeless.append(step)
    return bool(hopeless)

  result = train(run, is_hopeless if search.prune else None)
  if result is not None and metric not in result:
    raise missing(metric, [result])
  if result is not None and isinstance(result.get(metric), int | float):
    study.tell(trial, result[metric])
  elif result is None and hopeless and not (run.place / cells.FAILED).exists():
    mark(run, evaluations(run.place, metric), metric)
    study.tell(trial, state=states.PRUNED)
  else:  # It failed, or it diverged and its metric is no number.
    trial.set_user_attr('failed', True)
    study.tell(trial, state=states.FAIL)


def mark(run: Run, found: Mapping[int, float], metric: str) -> None:
  """Records in the workdir of a run that it was stopped early, and why."""
  step = max(found)
  why = {'step': step, metric: found[step], 'why': 'worse than the median'}
  with atomic.new_file(run.place / PRUNED) as part:
    part.write_text(json.dumps(why, indent=2) + '\n')
  logging.info('%s is pruned at step %d.', run.name, step)


def evaluations(place: pathlib.Path, metric: str) -> dict[int, float]:
  """Returns the metric of each evaluation of a run, by step."""
  path = place / 'metrics.jsonl'
  lines = run_log.read(path) if path.exists() else []
  return {
    line['step']: line[metric]
    for line in lines
    if line['split'] == 'eval' and line.get(metric) is not None
  }


def _point(trial: Any, search: Search) -> Point:
  """Returns the point of a trial, which Optuna chooses now."""
  point: Point = {}
  for key, each in zip(keys_of(search), search.dimensions):
    if not isinstance(each, over.Range):
      choices = [one[key] for one in each]
      index = trial.suggest_categorical(key, [*range(len(choices))])
      point[key] = choices[index]
    elif over.whole(each):
      point[key] = trial.suggest_int(key, each.low, each.high, log=each.log)
    else:
      value = trial.suggest_float(key, each.low, each.high, log=each.log)
      point[key] = over.rounded(value)
  return point


def _point_of(trial: Any, search: Search) -> Point:
  """Returns the point of an earlier trial."""
  return _point(optuna().trial.FixedTrial(trial.params), search)


def _finished(study: Any) -> list[Any]:
  """Returns the trials that are not to be repeated."""
  states = optuna().trial.TrialState
  return [
    trial
    for trial in study.get_trials()
    if trial.state in (states.COMPLETE, states.PRUNED)
    or (trial.state == states.FAIL and 'failed' in trial.user_attrs)
  ]


def _again(study: Any, number: int) -> None:
  """Ends an interrupted trial, and makes the next one repeat it."""
  trial = study.get_trials()[number]
  study.tell(number, state=optuna().trial.TrialState.FAIL)
  study.enqueue_trial(trial.params)
