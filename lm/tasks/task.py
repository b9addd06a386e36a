"""What an application is: how its records are read, asked and scored.

A task is made for one model and one objective, and knows neither the parameters
nor the loss. Its records become a table of rows; what the model answers for the
rows becomes one prediction for each record; these are scored.

                         rows                 answers
    records --encode--> Table --the model--> by row --predict--> predictions
       \\_____________________________________________________________/ score
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lm.data.buckets import Table
from lm.data.tokenizers import Tokenizer
from lm.types import Form, UserError

Record = Mapping[str, Any]  # See `lm.records.reading`.
Prediction = Mapping[str, Any]  # `id`, `prediction`, and more of a task's own.
Scores = dict[str, float]


class Reader(NamedTuple):
  """What a task is made for.

  Attributes:
    tokenizer: Cuts its texts.
    form: How the model reads.
    objective: The name of what the model is asked.
    length: The most tokens of a row; of the source, where there is one.
    target_length: Of what is written.
  """

  tokenizer: Tokenizer
  form: Form
  objective: str
  length: int
  target_length: int


class Answers(NamedTuple):
  """What a model says of the rows of a table.

  Attributes:
    heads: By term, an array for each row: scores of labels `[C]`, of the tags
      of its tokens `[L, C]`, of a start or an end at each `[L]`.
    texts: What was written for each row; of heads none.
  """

  heads: Mapping[str, Sequence[np.ndarray]] = {}
  texts: Sequence[str] = ()


class Writing(NamedTuple):
  """How a text is made, where it is.

  Attributes:
    max_new_tokens: The most tokens.
    beams: Searched at once; 1: the likeliest token always.
    length_penalty: Of beams.
    eval_beams: As `beams`, at the evaluations of a run that still trains.
    beyond_source: So many tokens more than what is read has are the most, too;
      None: whatever that has.
  """

  max_new_tokens: int
  beams: int = 1
  length_penalty: float = 1.0
  eval_beams: int = 1
  beyond_source: int | None = None


class Task(NamedTuple):
  """An application as one model does it.

  Attributes:
    encode: Makes rows of records; the single column `record` says of which.
    predict: Makes a prediction for each record of what was answered.
    score: Compares predictions with records; names of the field's metrics.
    num_labels: Of the heads `label` and `tags`.
    writing: How it writes answers; None: heads give them.
    taken: Settings that were taken from the training data, to be remembered.
    notes: What another has to know to get the same scores, such as sacrebleu's
      signature.
    kind: Of its records, as `lm.tasks.TASKS` says.
    token_types: How many types of tokens the model has to tell; 0: any number.
  """

  encode: Callable[[Sequence[Record]], Table]
  predict: Callable[[Sequence[Record], Table, Answers], list[Prediction]]
  score: Callable[[Sequence[Record], Sequence[Prediction]], Scores]
  num_labels: int = 2
  writing: Writing | None = None
  taken: Mapping[str, Any] = {}
  notes: Mapping[str, str] = {}
  kind: str = ''
  token_types: int = 0


def check_objective(task: str, given: str, *fitting: str) -> None:
  """Raises UserError if a task cannot be asked as objective `given` asks."""
  if given not in fitting:
    raise UserError(
      f'Task {task!r} cannot be done with objective {given!r}. Set'
      f' config.objective.name to {" or ".join(fitting)}.'
    )
