"""The interface of an application: encodes, predicts and scores its records.

A task is made for one model and one objective, and knows neither the parameters
nor the loss. It turns records into a table of rows, the model's answers for the
rows into one prediction for each record, and predictions into scores.

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
Prediction = Mapping[str, Any]  # `id`, `prediction`, and fields of the task.
Scores = dict[str, float]


class Reader(NamedTuple):
  """The model that a task is made for, and how it reads.

  Attributes:
    tokenizer: The tokenizer of the model.
    form: The form of the model.
    objective: The name of the objective.
    length: The most tokens of a row, or of the source if there is one.
    target_length: The most tokens of a target.
  """

  tokenizer: Tokenizer
  form: Form
  objective: str
  length: int
  target_length: int


class Answers(NamedTuple):
  """The outputs of a model for the rows of a table.

  Attributes:
    heads: By term, an array for each row: scores of labels `[C]`, of the tags
      of its tokens `[L, C]`, of a start or an end at each token `[L]`.
    texts: The text generated for each row; empty if heads answer.
  """

  heads: Mapping[str, Sequence[np.ndarray]] = {}
  texts: Sequence[str] = ()


class Writing(NamedTuple):
  """How texts are generated.

  Attributes:
    max_new_tokens: The most tokens.
    beams: Beam width; 1 means greedy decoding.
    length_penalty: For beam search.
    eval_beams: Beam width for the evaluations during training.
    beyond_source: The most tokens beyond the length of the source; None means
      no such limit.
  """

  max_new_tokens: int
  beams: int = 1
  length_penalty: float = 1.0
  eval_beams: int = 1
  beyond_source: int | None = None


class Task(NamedTuple):
  """An application for one model.

  Attributes:
    encode: Makes rows of records; their column `record` is the record of each.
    predict: Makes a prediction for each record from the model's answers.
    score: Compares predictions with records; returns the metrics by name.
    num_labels: The number of outputs of the heads `label` and `tags`.
    writing: How answers are generated; None if heads give them.
    taken: Settings derived from the training data, to be saved with the run.
    notes: What is needed to reproduce the scores, such as sacrebleu's
      signature.
    kind: The kind of its records; see `lm.tasks.TASKS`.
    token_types: The token types that the model must have; 0 means any number.
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
  """Raises UserError if a task cannot be done with objective `given`."""
  if given not in fitting:
    raise UserError(
      f'Task {task!r} cannot be done with objective {given!r}. Set'
      f' config.objective.name to {" or ".join(fitting)}.'
    )
