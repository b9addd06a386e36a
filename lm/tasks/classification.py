"""Classification of texts or pairs of texts, such as GLUE's tasks.

With objective 'label' a head predicts the class; with 'answers' the model
writes its name, as T5 does (Raffel et al. 2020, 2.4), or a GPT after a prompt.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lm.data.buckets import Table
from lm.tasks import encoding, metrics, written
from lm.tasks.task import (
  Answers,
  Prediction,
  Reader,
  Record,
  Scores,
  Task,
  Writing,
  check_objective,
)
from lm.types import UserError

REGRESSION = 'stsb'  # GLUE's only task whose labels are numbers.
STEP = 0.2  # T5 rounds them to multiples of it (Raffel et al. 2020, 2.4).


def classification(
  reader: Reader,
  train: Callable[[], Sequence[Record]],
  *,
  labels: tuple[str, ...] | None = None,
  glue: str = '',
  class_weights: tuple[float, ...] = (),
  template: str = '{text}',
  names: tuple[str, ...] = (),
) -> Task:
  """Returns the task.

  Args:
    reader: How the model reads.
    train: Returns the training records.
    labels: The classes in order; None means those of the training data, sorted.
      Of two classes, the second is the positive one for F1.
    glue: The GLUE task whose metrics are reported, a name in
      `lm.tasks.metrics.GLUE`; '' means accuracy and F1. The labels of 'stsb'
      are numbers.
    class_weights: The weight of each class in training; () means 1 for all.
    template: For objective 'answers': the text to read, with {text} and, for
      pairs, {text_pair}.
    names: For objective 'answers': the text to write for each class; () means
      its label.
  """
  check_objective('classification', reader.objective, 'label', 'answers')
  metrics.check_glue(glue)
  numbers = glue == REGRESSION
  if numbers:
    classes = ()
  else:
    classes = labels or tuple(sorted({row['label'] for row in train()}))
    _check(classes, class_weights, names)
  written_form = reader.objective == 'answers'
  if class_weights and (written_form or numbers):
    raise UserError(
      f'config.task.class_weights is {class_weights}, which a head of classes'
      " has alone. Set it to (), or config.objective.name to 'label'."
    )
  texts = names or classes

  def encode_rows(rows):
    if not written_form:
      return _encode(reader, rows, classes, class_weights)
    return _in_words(reader, rows, template, classes, texts)

  def predict(rows, table, answers: Answers):
    del table
    if written_form:
      values = [_read(text, classes, texts) for text in answers.texts]
      return [
        {**_told(row), 'prediction': value, 'text': text}
        for row, value, text in zip(rows, values, answers.texts)
      ]
    return [
      _choose(row, scores, classes)
      for row, scores in zip(rows, answers.heads['label'])
    ]

  def score(
    rows: Sequence[Record], predictions: Sequence[Prediction]
  ) -> Scores:
    gold = [row['label'] for row in rows]
    made = [prediction['prediction'] for prediction in predictions]
    return metrics.classification(gold, made, classes, glue)

  return Task(
    encode=encode_rows,
    predict=predict,
    score=score,
    num_labels=len(classes) or 1,
    writing=Writing(reader.target_length) if written_form else None,
    taken={'labels': classes} if not numbers else {},
  )


def _check(classes, class_weights, names) -> None:
  if len(classes) < 2:
    raise UserError(
      f'The texts are of the classes {classes}, so there is nothing to tell'
      ' apart. Give texts of two, or set config.task.labels.'
    )
  for key, values in (('class_weights', class_weights), ('names', names)):
    if values and len(values) != len(classes):
      raise UserError(
        f'config.task.{key} has {len(values)} values for {len(classes)}'
        f' classes: {", ".join(classes)}. Give one for each, in this order.'
      )


def _in_words(reader, rows, template, classes, texts) -> Table:
  """Returns rows of texts to read and to write."""
  pair = any('text_pair' in row for row in rows)
  fields = ('text', 'text_pair') if pair else ('text',)
  if pair and '{text_pair}' not in template:
    raise UserError(
      f'config.task.template is {template!r}, which leaves out the second text'
      ' of each pair. Name {text_pair} in it.'
    )
  fill = written.template(template, fields)
  targets = [_target(row, classes, texts) for row in rows]
  return written.encode(reader, [fill(row) for row in rows], targets)


def _encode(reader, rows, classes, class_weights) -> Table:
  """Returns rows for a head; `label_weights` is 0 if the label is unknown."""
  around = encoding.marks(reader.tokenizer, reader.form)
  first = encoding.pieces(reader.tokenizer, [row['text'] for row in rows])
  second = encoding.pieces(
    reader.tokenizer, [row.get('text_pair', '') for row in rows]
  )
  made = [
    encoding.row(
      around, one, two if 'text_pair' in row else None, reader.length
    )
    for row, one, two in zip(rows, first, second)
  ]
  encoding.say_lost(made, reader.length)
  number = {name: place for place, name in enumerate(classes)}
  known = np.array(['label' in row for row in rows])
  if classes:
    label = [number.get(row.get('label'), 0) for row in rows]
    label = np.array(label, np.int32)
    weights = np.array(class_weights or np.ones(len(classes)))[label]
  else:
    label = np.array([row.get('label', 0.0) for row in rows], np.float32)
    weights = np.ones(len(rows))
  return Table(
    {'tokens': encoding.columns(made)},
    {
      'record': np.arange(len(rows)),
      'label': label,
      'label_weights': (weights * known).astype(np.float32),
    },
  )


def _told(row) -> dict[str, Any]:
  """Returns the id of a record, and its label if known."""
  return {key: row[key] for key in ('id', 'label') if key in row}


def _choose(row, scores, classes) -> Prediction:
  if not classes:
    return {**_told(row), 'prediction': float(scores[0])}
  scores = scores.astype(np.float64)
  shares = np.exp(scores - scores.max())
  shares /= shares.sum()
  return {
    **_told(row),
    'prediction': classes[int(np.argmax(scores))],
    'probabilities': dict(zip(classes, np.round(shares, 6).tolist())),
  }


def _target(row, classes, texts) -> str:
  """Returns the text to write for a record, or '' if it is unknown."""
  if 'label' not in row or (classes and row['label'] not in classes):
    return ''
  if not classes:
    return f'{round(row["label"] / STEP) * STEP:.1f}'
  return texts[classes.index(row['label'])]


def _read(text, classes, texts) -> str | float:
  """Returns the class that `text` names, '' if none; or a number, 0 if none."""
  if not classes:
    try:
      return float(text)
    except ValueError:
      return 0.0
  found = dict(zip((name.strip() for name in texts), classes))
  return found.get(text.strip(), '')
