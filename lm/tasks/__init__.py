"""The applications, by the name that a config calls them."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from lm.tasks.classification import classification
from lm.tasks.dialogue import dialogue
from lm.tasks.entities import entities
from lm.tasks.question_answering import question_answering
from lm.tasks.summarisation import summarisation
from lm.tasks.task import Reader, Record, Task
from lm.tasks.translation import translation
from lm.types import UserError

# What makes each, and what its records are, as `lm.records.reading` reads them.
TASKS: dict[str, tuple[str, Callable[..., Task]]] = {
  'classification': ('texts', classification),
  'entities': ('entities', entities),
  'question_answering': ('questions', question_answering),
  'translation': ('pairs', translation),
  'summarisation': ('pairs', summarisation),
  'dialogue': ('dialogues', dialogue),
}
GIVEN = ('reader', 'train')


def fields(name: str = '') -> dict[str, inspect.Parameter]:
  """Returns what can be set of a task; of none, '', nothing."""
  if not name:
    return {}
  _, make = _named(name)
  parameters = inspect.signature(make, eval_str=True).parameters
  return {k: v for k, v in parameters.items() if k not in GIVEN}


def kind_of(name: str) -> str:
  """Returns what the records of a task are."""
  kind, _ = _named(name)
  return kind


def build(
  name: str,
  reader: Reader,
  train: Callable[[], Sequence[Record]],
  **settings: Any,
) -> Task:
  """Returns task `name` with its `settings`.

  Args:
    name: One of `TASKS`.
    reader: What it is made for.
    train: Gives the records for training; called if something is taken of them.
    **settings: Of the task of that name.
  """
  kind, make = _named(name)
  return make(reader, train, **settings)._replace(kind=kind)


def _named(name: str) -> tuple[str, Callable[..., Task]]:
  if name not in TASKS:
    raise UserError(
      f'There is no task {name!r}. Set config.task.name to one of'
      f' {", ".join(TASKS)}.'
    )
  return TASKS[name]
