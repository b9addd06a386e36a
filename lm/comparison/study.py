"""A study: the variants that are compared, and the terms that all share.

A file in configs/compare/ says what varies, and nothing else may:

    study.question      the question that it answers
    study.budget        one of flops, tokens or seconds, for each run
    study.seeds         the number of runs of each variant
    study.tuning        the grid of learning rates, and its share of the budget
    study.shared        config fields that all variants share
    study.variants      each a name, a config, and fields of it
    study.warmup        the share of steps in which the learning rate rises
    study.evaluations   the number of evaluations of a run
    study.scores        zero-shot scores of all runs: `experiments.score`
    study.tasks         tasks that all runs are fine-tuned for
    study.ladder        whether to fit a power law to the variants' sizes
"""

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any, Literal

from lm.types import UserError

Unit = Literal['flops', 'tokens', 'seconds']
UNITS = ('flops', 'tokens', 'seconds')
MARK = '{data}'
_NAME = re.compile(r'[\w.+-]+')


@dataclasses.dataclass(frozen=True)
class Variant:
  """A variant of a study.

  Attributes:
    name: Its name in the report, and that of its folder.
    config: FILE.py or FILE.py:VARIANT.
    overrides: Config fields by dotted key, including the study's shared ones.
  """

  name: str
  config: str
  overrides: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Tuning:
  """How the learning rate of each variant is found, the same way for all.

  Each rate is tried once, with a seed that no run of the study has; the one
  with the lowest validation loss is chosen.

  Attributes:
    learning_rates: The grid; a single one is not tuned, and with none each
      variant keeps that of its config.
    share: The share of the budget that each trial gets.
  """

  learning_rates: tuple[float, ...] = ()
  share: float | int = 0.25


@dataclasses.dataclass(frozen=True)
class Score:
  """A zero-shot score of every run: the flags of `experiments.score`.

  Attributes:
    name: Its name in the report.
    task: The task of that command.
    data: The path of its data in the folder of data.
    limit: The most pairs of each paradigm, or questions; 0 means all.
    form: The form of scoring; by default, each family's own.
    metric: The metric among those that the command prints.
    curve: Whether to score every evaluated checkpoint of a run, not just the
      last.
  """

  name: str
  task: str
  data: str
  limit: int = 0
  form: str = ''
  metric: str = 'accuracy'
  curve: bool = False


@dataclasses.dataclass(frozen=True)
class Task:
  """A task that every run is fine-tuned for.

  Attributes:
    name: Its name in the report.
    config: The config of the task.
    metric: The metric to report.
    overrides: Fields of the config; `{data}` stands for the folder of data.
  """

  name: str
  config: str
  metric: str
  overrides: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Study:
  """A study, with all its settings.

  Attributes:
    question: The question that it answers.
    unit: The unit of the budget.
    budget: The budget of each run, in this unit.
    seeds: The number of runs of each variant.
    tuning: How the learning rate is found.
    variants: The variants that are compared.
    warmup: The share of steps in which the learning rate rises.
    evaluations: The number of evaluations of a run.
    scores: The zero-shot scores of all runs.
    tasks: The tasks that all runs are fine-tuned for.
    ladder: Whether the variants are sizes, to whose losses a power law in their
      parameters is fitted.
  """

  question: str
  unit: Unit
  budget: float
  seeds: int
  tuning: Tuning
  variants: tuple[Variant, ...]
  warmup: float = 0.1
  evaluations: int = 10
  scores: tuple[Score, ...] = ()
  tasks: tuple[Task, ...] = ()
  ladder: bool = False


def parse(path: str, listed: Mapping[str, Any]) -> Study:
  """Returns the study that a file describes.

  Args:
    path: The file, for messages.
    listed: The value of its `get_config`.

  Raises:
    UserError: It is not a valid study, or has no variants.
  """
  known = {field.name for field in dataclasses.fields(Study)} - {'unit'}
  known |= {'shared'}
  if unknown := sorted(listed.keys() - known):
    raise UserError(
      f'{path} lists {", ".join(unknown)}, which no study has. There are'
      f' {", ".join(sorted(known))}.'
    )
  if missing := sorted({'question', 'budget', 'variants'} - listed.keys()):
    raise UserError(f'{path} does not say {", ".join(missing)} of its study.')
  _check_numbers(path, listed)
  unit, amount = _budget(path, listed['budget'])
  shared = flat(listed.get('shared', {}))
  variants = tuple(_variant(path, each, shared) for each in listed['variants'])
  _check_names(path, 'variants', [each.name for each in variants])
  study = Study(
    unit=unit,
    budget=amount,
    variants=variants,
    tuning=_tuning(path, listed.get('tuning', {})),
    seeds=listed.get('seeds', 3),
    scores=tuple(
      _made(path, 'a score', Score, each) for each in listed.get('scores', ())
    ),
    tasks=tuple(_task(path, each) for each in listed.get('tasks', ())),
    **{
      key: listed[key]
      for key in ('question', 'warmup', 'evaluations', 'ladder')
      if key in listed
    },
  )
  if study.scores or study.tasks:
    asked = [each.name for each in (*study.scores, *study.tasks)]
    _check_names(path, 'scores', [*asked, 'loss', 'bits_per_byte'])
  return study


def with_data(study: Study, data: str) -> Study:
  """Returns a study with `{data}` in its fields replaced by a folder.

  Raises:
    UserError: A field needs the folder, but it is ''.
  """

  def placed(fields: Mapping[str, Any]) -> dict[str, Any]:
    needed = [k for k, v in fields.items() if isinstance(v, str) and MARK in v]
    if needed and not data:
      raise UserError(
        f'config.{needed[0]} is {fields[needed[0]]!r}, which is in the folder of'
        ' data. Give it as --data=DIR.'
      )
    own = {key: fields[key].replace(MARK, data) for key in needed}
    return {**fields, **own}

  replace = dataclasses.replace
  return replace(
    study,
    variants=tuple(
      replace(each, overrides=placed(each.overrides)) for each in study.variants
    ),
    tasks=tuple(
      replace(each, overrides=placed(each.overrides)) for each in study.tasks
    ),
  )


def flat(sections: Mapping[str, Any]) -> dict[str, Any]:
  """Returns sections as dotted keys.

  Examples:
    >>> flat({'seed': 1, 'model': {'num_layers': 2}})
    {'seed': 1, 'model.num_layers': 2}
  """
  found = {}
  for key, value in sections.items():
    if isinstance(value, Mapping):
      found |= {f'{key}.{field}': item for field, item in value.items()}
    else:
      found[key] = value
  return found


def _check_numbers(path: str, listed: Mapping[str, Any]) -> None:
  for key in {'seeds', 'evaluations'} & listed.keys():
    if not isinstance(listed[key], int) or listed[key] < 1:
      raise UserError(
        f'{path}: {key} is {listed[key]}, but it is a whole number, 1 or more.'
      )
  if not 0 <= listed.get('warmup', 0) < 1:
    raise UserError(
      f'{path}: warmup is {listed["warmup"]:g}, but it is a share of the steps. Set'
      ' it to 0 or more, and below 1.'
    )


def _tuning(path: str, listed: Mapping[str, Any]) -> Tuning:
  tuning = _made(path, 'tuning', Tuning, listed)
  if not 0 < tuning.share <= 1:
    raise UserError(
      f'{path}: tuning.share is {tuning.share:g}, but it is a share of the budget.'
      ' Set it above 0, and to 1 at most.'
    )
  rates = tuple(tuning.learning_rates)
  if len({*rates}) < len(rates) or not all(0 < r < math.inf for r in rates):
    raise UserError(
      f'{path}: tuning.learning_rates are {", ".join(map(str, rates))}, but they'
      ' are numbers above 0, each once.'
    )
  return Tuning(rates, float(tuning.share))


def _budget(path: str, listed: Mapping[str, Any]) -> tuple[Unit, float]:
  if len(listed) != 1 or not listed.keys() <= {*UNITS}:
    raise UserError(
      f'{path}: budget is {dict(listed)}, but it is one number, of'
      f' {", ".join(UNITS)}.'
    )
  [(unit, amount)] = listed.items()
  if not 0 < amount < math.inf:
    raise UserError(f'{path}: a budget of {amount} {unit} is none.')
  return unit, float(amount)


def _variant(path: str, listed: Any, shared: Mapping[str, Any]) -> Variant:
  if not isinstance(listed, Mapping):
    raise UserError(
      f'{path}: a variant is {listed!r}, but it has a name, a config and fields.'
    )
  if missing := {'name', 'config'} - listed.keys():
    raise UserError(
      f'{path}: a variant has no {" and no ".join(sorted(missing))}:'
      f' {dict(listed)}.'
    )
  own = {k: v for k, v in listed.items() if k not in ('name', 'config')}
  return Variant(listed['name'], listed['config'], {**shared, **flat(own)})


def _task(path: str, listed: Mapping[str, Any]) -> Task:
  fields = flat(listed.get('overrides', {}))
  return _made(path, 'a task', Task, {**listed, 'overrides': fields})


def _made(path: str, what: str, kind: type, listed: Mapping[str, Any]) -> Any:
  """Returns a part of a study, after checking its fields."""
  fields = dataclasses.fields(kind)
  known = {field.name for field in fields}
  needed = {
    field.name
    for field in fields
    if field.default is field.default_factory is dataclasses.MISSING
  }
  if listed.keys() - known or needed - listed.keys():
    raise UserError(
      f'{path}: {what} lists {", ".join(sorted(listed)) or "nothing"}; it has'
      f' {", ".join(sorted(known))}, of which {", ".join(sorted(needed)) or "none"}'
      ' cannot be left out.'
    )
  return kind(**listed)


def _check_names(path: str, what: str, names: list[str]) -> None:
  if not names:
    raise UserError(f'{path} has no variants, so there is nothing to compare.')
  for name in names:
    if not _NAME.fullmatch(name):
      raise UserError(
        f'{path}: one of the {what} is called {name!r}, but it names a folder. Use'
        ' letters, digits, and _ . + -.'
      )
    if names.count(name) > 1:
      raise UserError(f'{path}: two of the {what} are called {name!r}.')
