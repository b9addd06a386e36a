"""The applications, by their name in a config."""

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

# The kind of records of each, see `lm.records.reading`, and its constructor.
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
  """Returns the settings of a task; none for ''."""
  if not name:
    return {}
  _, make = _named(name)
  parameters = inspect.signature(make, eval_str=True).parameters
  return {k: v for k, v in parameters.items() if k not in GIVEN}


def kind_of(name: str) -> str:
  """Returns the kind of records of a task."""
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
    reader: How the model reads.
    train: Returns the training records; called only if the task needs them.
    **settings: Those of that task.
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
