"""Reads the results of the runs of a study from their workdirs."""

import json
import math
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from lm.comparison.study import Score, Study
from lm.comparison.terms import Terms
from lm.tasks import predictions
from lm.training import run_config, run_log
from lm.types import UserError

# Fields of a study to which entries may be added later.
ASKED = ('scores', 'tasks')


def cell_of(root: pathlib.Path, name: str, seed: int) -> pathlib.Path:
  """Returns the workdir of a run."""
  return root / 'cells' / name / f'seed-{seed}'


def trial_of(root: pathlib.Path, name: str, rate: float) -> pathlib.Path:
  """Returns the workdir of a trial of a learning rate."""
  return root / 'tuning' / name / f'{rate:g}'


def loss_of(result: Mapping[str, Any] | None) -> float:
  """Returns the final loss of a run; inf if it failed or diverged."""
  loss = None if result is None else result['loss']
  return float('inf') if loss is None or not math.isfinite(loss) else loss


def ended(workdir: pathlib.Path) -> dict[str, Any] | None:
  """Returns the result that a run wrote when it ended; None if it has not."""
  return _json(workdir / 'result.json')


def chosen_rate(losses: Mapping[float, float]) -> float | None:
  """Returns the learning rate with the lowest loss; None if all have failed.

  Ties go to the lowest rate. NaN is worse than any number.
  """
  finite = {rate: loss for rate, loss in losses.items() if loss < float('inf')}
  return min(sorted(finite), key=finite.get, default=None)


def scores(cell: pathlib.Path, study: Study) -> dict[str, float]:
  """Returns the scores of a run, by the names of the study's scores and tasks.

  Missing and failed ones are left out.
  """
  metrics = {each.name: each.metric for each in (*study.scores, *study.tasks)}
  found = {
    name: told[metrics[name]]
    for name, told in _told(cell, study).items()
    if metrics[name] in told
  }
  evals = [line for line in _lines(cell) if line['split'] == 'eval']
  if evals:
    for name in ('loss', 'bits_per_byte'):
      if evals[-1].get(name) is not None:  # None if the run diverged.
        found[name] = evals[-1][name]
  return found


def lacking(cell: pathlib.Path, study: Study) -> list[str]:
  """Returns messages for the scores and tasks that lack the study's metric."""
  found = []
  told_of = _told(cell, study)
  for each in (*study.scores, *study.tasks):
    told = told_of.get(each.name, {each.metric: None})
    if each.metric not in told:
      numbers = (k for k, v in told.items() if isinstance(v, int | float))
      found.append(
        f'{each.name} has no metric {each.metric!r}. It has'
        f' {", ".join(numbers)}.'
      )
  return found


def forms(cell: pathlib.Path, study: Study) -> dict[str, str]:
  """Returns the form of scoring of a run, by score."""
  return {name: told['form'] for name, told in _scored(cell, study).items()}


def answers(cell: pathlib.Path, study: Study) -> dict[str, dict[str, bool]]:
  """Returns which answers of a run are right, by score or task and by id.

  Includes only those whose metric is accuracy.
  """
  found = {}
  for asked in study.scores:
    path = cell / 'scores' / f'{asked.name}.jsonl'
    done = path.with_suffix('.json').exists()  # Else it may be cut off.
    if asked.metric == 'accuracy' and done and path.exists():
      lines = map(json.loads, path.read_text().splitlines())
      found[asked.name] = {line['id']: line['right'] for line in lines}
  for task in study.tasks:
    path = cell / 'tasks' / task.name / 'predictions.jsonl'
    rows = predictions.read(path) if path.exists() else []
    if task.metric == 'accuracy' and all('label' in row for row in rows):
      found[task.name] = {
        row['id']: row['prediction'] == row['label'] for row in rows
      }
  return {name: own for name, own in found.items() if own}


def paradigms(cell: pathlib.Path, study: Study) -> dict[str, dict[str, float]]:
  """Returns the accuracy on each paradigm, by score whose metric it is."""
  told_of = _scored(cell, study)
  return {
    asked.name: told_of[asked.name]['paradigms']
    for asked in study.scores
    if asked.metric == 'accuracy' and 'paradigms' in told_of.get(asked.name, {})
  }


def speed(cell: pathlib.Path) -> float | None:
  """Returns the median tokens per second of a run; None if not measured."""
  found = [
    line['tokens_per_second']
    for line in _lines(cell)
    if 'tokens_per_second' in line
  ]
  return statistics.median(found) if found else None


def peak_bytes(cell: pathlib.Path) -> int | None:
  """Returns the peak bytes in use of a run; None if not measured."""
  used = [line['peak_bytes'] for line in _lines(cell) if 'peak_bytes' in line]
  return max(used, default=None)


def course(cell: pathlib.Path, asked: Score) -> dict[int, float]:
  """Returns the scores of a run during training, by step."""
  path = cell / 'scores' / f'{asked.name}.json'
  paths = [*path.with_suffix('').glob('step-*/score.json'), path]
  told = [_json(each) for each in paths if each.exists()]
  # A metric that is not there is reported by `lacking`.
  found = {each['step']: each.get(asked.metric) for each in told}
  return {at: found[at] for at in sorted(found) if found[at] is not None}


def curve(
  runs: Sequence[Mapping[int, float]],
  cells: Sequence[pathlib.Path],
  terms: Terms,
) -> dict[str, list[list[tuple[float | int, float]]]]:
  """Returns curves of runs against their tokens, FLOPs and time.

  Args:
    runs: For each run of a variant, a value by step.
    cells: Their workdirs.
    terms: The terms of the variant.

  Returns:
    By unit, for each run the pairs of the amount spent and the value. Time is
    that of training alone, at the median speed of the runs.
  """
  speeds = [each for each in map(speed, cells) if each]
  step = {
    'tokens': terms.tokens_per_step,
    'flops': terms.tokens_per_step * terms.flops_per_token,
  }
  if speeds:  # Unknown after only a few steps.
    step['seconds'] = terms.tokens_per_step / statistics.median(speeds)
  return {
    name: [[(at * one, value) for at, value in run.items()] for run in runs]
    for name, one in step.items()
  }


def failures(
  place: pathlib.Path, root: pathlib.Path | None = None
) -> list[dict[str, Any]]:
  """Returns the failure of each failed run in a folder.

  Args:
    place: A folder with runs.
    root: The folder that `where` is relative to; by default `place`.
  """
  root = root or place
  return [
    {'where': path.parent.relative_to(root).as_posix(), **(_json(path) or {})}
    for path in sorted(place.rglob('failed.json'))
  ]


def check_same(
  root: pathlib.Path,
  terms: Mapping[str, Any],
  kind: str = 'study',
  growing: Sequence[str] = (),
) -> None:
  """Saves what all runs have in common, and checks later calls against it.

  Args:
    root: Where the runs are.
    terms: What must be the same for all runs.
    kind: What the runs form, a study or a sweep.
    growing: The keys of `terms` to which a later call may add entries, or leave
      some out, but not change any.

  Raises:
    UserError: `root` holds another study or sweep.
  """
  path = root / f'{kind}.json'
  if path.exists():
    kept = run_config.read(path)
    old = {key: kept.get(key, {}) for key in growing}
    # Entries that only one of them has are no difference.
    terms = {**terms, **{key: {**old[key], **terms[key]} for key in growing}}
    both = {key: {**terms[key], **old[key]} for key in growing}
    changes = run_config.difference({**kept, **both}, terms)
    if changes:
      lines = [
        f'  {key}: {old} -> {new}' for key, (old, new) in changes.items()
      ]
      raise UserError(
        f'{root} holds another {kind}:\n' + '\n'.join(lines) + '\nGive another'
        ' --workdir, or undo the change.'
      )
    if all(terms[key].keys() == old[key].keys() for key in growing):
      return
  root.mkdir(parents=True, exist_ok=True)
  run_config.write(terms, path)


def _told(cell: pathlib.Path, study: Study) -> dict[str, dict[str, Any]]:
  """Returns all results of a run, by score or task."""
  found = _scored(cell, study)
  for task in study.tasks:
    if told := _json(cell / 'tasks' / task.name / 'result.json'):
      found[task.name] = told.get('test') or told.get('validation') or told
  return found


def _scored(cell: pathlib.Path, study: Study) -> dict[str, dict[str, Any]]:
  """Returns the output of `experiments.score` for a run, by score."""
  found = {
    asked.name: _json(cell / 'scores' / f'{asked.name}.json')
    for asked in study.scores
  }
  return {name: told for name, told in found.items() if told}


def _lines(cell: pathlib.Path) -> list[dict[str, Any]]:
  path = cell / 'metrics.jsonl'
  return run_log.read(path) if path.exists() else []


def _json(path: pathlib.Path) -> Any:
  return json.loads(path.read_text()) if path.exists() else None
