"""What the runs of a study came to, read from where they are."""

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

# Of a study: more of these may come.
ASKED = ('scores', 'tasks')


def cell_of(root: pathlib.Path, name: str, seed: int) -> pathlib.Path:
  """Returns the workdir of a run."""
  return root / 'cells' / name / f'seed-{seed}'


def trial_of(root: pathlib.Path, name: str, rate: float) -> pathlib.Path:
  """Returns the workdir of a trial of a learning rate."""
  return root / 'tuning' / name / f'{rate:g}'


def loss_of(result: Mapping[str, Any] | None) -> float:
  """Returns the last loss of a run; inf if it failed or diverged."""
  loss = None if result is None else result['loss']
  return float('inf') if loss is None or not math.isfinite(loss) else loss


def ended(workdir: pathlib.Path) -> dict[str, Any] | None:
  """Returns what a run printed when it ended; None: it has not."""
  return _json(workdir / 'result.json')


def chosen_rate(losses: Mapping[float, float]) -> float | None:
  """Returns the learning rate with the lowest loss; None: all have failed.

  Of rates that are as good it is the lowest. What is not a number is worse than
  any.
  """
  finite = {rate: loss for rate, loss in losses.items() if loss < float('inf')}
  return min(sorted(finite), key=finite.get, default=None)


def scores(cell: pathlib.Path, study: Study) -> dict[str, float]:
  """Returns what a run scored, by the names of the study's scores and tasks.

  What is not there, or has failed, is left out.
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
      if evals[-1].get(name) is not None:  # As where a run has diverged.
        found[name] = evals[-1][name]
  return found


def lacking(cell: pathlib.Path, study: Study) -> list[str]:
  """Returns of what was asked that its metric is none, and which there are."""
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
  """Returns the form in which a run was asked, by score."""
  return {name: told['form'] for name, told in _scored(cell, study).items()}


def answers(cell: pathlib.Path, study: Study) -> dict[str, dict[str, bool]]:
  """Returns which answers of a run are right, by score or task and by id.

  Of those whose metric is the share of them.
  """
  found = {}
  for asked in study.scores:
    path = cell / 'scores' / f'{asked.name}.jsonl'
    if asked.metric == 'accuracy' and path.exists():
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
  """Returns how much of each paradigm is right, where that is the metric."""
  told_of = _scored(cell, study)
  return {
    asked.name: told_of[asked.name]['paradigms']
    for asked in study.scores
    if asked.metric == 'accuracy' and 'paradigms' in told_of.get(asked.name, {})
  }


def speed(cell: pathlib.Path) -> float | None:
  """Returns the median tokens a second of a run; None: it has no metrics."""
  found = [
    line['tokens_per_second']
    for line in _lines(cell)
    if 'tokens_per_second' in line
  ]
  return statistics.median(found) if found else None


def peak_bytes(cell: pathlib.Path) -> int | None:
  """Returns the most bytes that a run used at once; None: it does not say."""
  used = [line['peak_bytes'] for line in _lines(cell) if 'peak_bytes' in line]
  return max(used, default=None)


def course(cell: pathlib.Path, asked: Score) -> dict[int, float]:
  """Returns what a run scored on its way, by step."""
  path = cell / 'scores' / f'{asked.name}.json'
  paths = [*path.with_suffix('').glob('step-*/score.json'), path]
  told = [_json(each) for each in paths if each.exists()]
  found = {each['step']: each[asked.metric] for each in told}
  return dict(sorted(found.items()))


def curve(
  runs: Sequence[Mapping[int, float]],
  cells: Sequence[pathlib.Path],
  terms: Terms,
) -> dict[str, list[list[tuple[float | int, float]]]]:
  """Returns what runs came to against their tokens, FLOPs and time.

  Args:
    runs: Of each of a variant's runs, a number by step.
    cells: Their workdirs.
    terms: Of the variant.

  Returns:
    By what it is against, for each run what it had spent and the number then.
    Time is that of training alone, at the median speed of the runs.
  """
  speeds = [each for each in map(speed, cells) if each]
  step = {
    'tokens': terms.tokens_per_step,
    'flops': terms.tokens_per_step * terms.flops_per_token,
  }
  if speeds:  # Of a few steps alone it is not known.
    step['seconds'] = terms.tokens_per_step / statistics.median(speeds)
  return {
    name: [[(at * one, value) for at, value in run.items()] for run in runs]
    for name, one in step.items()
  }


def failures(
  place: pathlib.Path, root: pathlib.Path | None = None
) -> list[dict[str, Any]]:
  """Returns what each run in a place that failed has said.

  Args:
    place: A folder with runs.
    root: That is named in `where`; by default the place.
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
  """Keeps what all runs have in common, and holds a later call to it.

  Args:
    root: Where the runs are.
    terms: What no run may differ in.
    kind: What the runs are together, a study or a sweep.
    growing: Those of the terms of which more may come, or fewer be asked for,
      but no other ones.

  Raises:
    UserError: There, another one is under way.
  """
  path = root / f'{kind}.json'
  if path.exists():
    kept = run_config.read(path)
    old = {key: kept.get(key, {}) for key in growing}
    # Of what only one of both has, there is no difference.
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
  """Returns all that is known of a run by what it was asked."""
  found = _scored(cell, study)
  for task in study.tasks:
    if told := _json(cell / 'tasks' / task.name / 'result.json'):
      found[task.name] = told.get('test') or told.get('validation') or told
  return found


def _scored(cell: pathlib.Path, study: Study) -> dict[str, dict[str, Any]]:
  """Returns what `experiments.score` has told of a run, by score."""
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
