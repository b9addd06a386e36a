"""Extractive question answering, as in SQuAD: finds the answer in a context.

With objective 'span' a head predicts where the answer starts and ends (Devlin
et al. 2019, 4.2 and 4.3); with 'answers' the model writes it, as T5 does
(Raffel et al. 2020, appendix D.15).
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from lm.tasks import question_rows, spans, squad, written
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

MOST = float(np.finfo(np.float32).max)  # JSON can represent it, but not inf.
AT_ONCE = 2048  # Records whose spans are compared at once, to limit memory.


def question_answering(
  reader: Reader,
  train: Callable[[], Sequence[Record]],
  *,
  version: squad.Version = '1.1',
  stride: int = 128,
  max_question: int = 64,
  max_answer: int = 30,
  mark_matches: bool = False,
  null_threshold: float = 0.0,
  n_best: int = 5,
  template: str = 'question: {question} context: {context}',
  unanswerable: str = 'unanswerable',
) -> Task:
  """Returns the task, with the defaults of BERT's code and T5's template.

  Args:
    reader: How the model reads.
    train: Returns the training records; not used.
    version: The rules of scoring; see `lm.tasks.squad`. Only in '2.0' can a
      question have no answer.
    stride: The number of tokens between the starts of two windows.
    max_question: The most tokens of a question; the rest is not read.
    max_answer: The most tokens of an answer.
    mark_matches: Whether context tokens that also occur in the question get
      token type 2 (the exact match of Chen et al. 2017, 3.2), for a BERT with
      `config.model.num_token_types=3`. With little pretraining, a model does
      not find them by itself.
    null_threshold: For '2.0': by how much the score of no answer has to exceed
      that of the best one. The best threshold is reported as `best_f1_thresh`.
    n_best: The number of answers listed with each prediction.
    template: For objective 'answers': the text to read.
    unanswerable: For objective 'answers': the text to write for no answer.
  """
  del train
  check_objective('question_answering', reader.objective, 'span', 'answers')
  _check_counts(
    stride=stride,
    max_question=max_question,
    max_answer=max_answer,
    n_best=n_best,
  )
  if reader.objective == 'answers':
    if mark_matches:
      raise UserError(
        'config.task.mark_matches is of rows for heads, and objective'
        " 'answers' writes. Set it to false, or config.objective.name to 'span'."
      )
    return _in_words(reader, version, max_question, template, unanswerable)
  layout = question_rows.layout(
    reader, stride, max_question, max_answer, mark_matches
  )
  decides = version == '2.0'  # Whether there is an answer.

  def predict(rows, table, answers: Answers):
    made = _best(rows, table, answers, max_answer, n_best)
    if not decides:
      return made
    return [_decided(each, null_threshold) for each in made]

  def score(
    rows: Sequence[Record], predictions: Sequence[Prediction]
  ) -> Scores:
    if not decides:
      return _score(version, rows, predictions)
    # The answers as if every question had one, so that the scoring can also
    # find the best threshold.
    texts = {
      each['id']: each['n_best'][0]['text'] if each['n_best'] else ''
      for each in predictions
    }
    nulls = {each['id']: each['score_difference'] for each in predictions}
    return squad.score(version, rows, texts, nulls, null_threshold)

  return Task(
    encode=lambda rows: question_rows.encode(layout, rows),
    predict=predict,
    score=score,
    token_types=3 if mark_matches else 0,
  )


def _check_counts(**counts: int) -> None:
  for key, value in counts.items():
    if value < 1:
      raise UserError(
        f'config.task.{key} is {value}, but it is a number of tokens or of'
        ' answers. Set it to 1 or more.'
      )


def _score(version, rows, predictions) -> Scores:
  texts = {each['id']: each['prediction'] for each in predictions}
  return squad.score(version, rows, texts)


def _best(rows, table, answers, max_answer, n_best) -> list[Prediction]:
  """Returns the best answers of each record, as if it had one."""
  made = []
  record = table.single['record']
  for first in range(0, len(rows), AT_ONCE):
    some = rows[first : first + AT_ONCE]
    begin, stop = np.searchsorted(record, [first, first + len(some)])
    own = slice(int(begin), int(stop))
    made += _best_of(some, table, answers, own, max_answer, n_best)
  return made


def _best_of(rows, table, answers, own, max_answer, n_best):
  """Returns the best answers of some records, whose rows are slice `own`."""
  start, end = (
    np.concatenate(answers.heads[term][own]).astype(np.float64)
    for term in ('start', 'end')
  )
  columns = table.ragged['tokens']
  offsets = columns['tokens'].offsets[own.start : own.stop + 1]
  char_start, char_end, home = (
    columns[name].values[offsets[0] : offsets[-1]]
    for name in ('char_start', 'char_end', 'home')
  )
  record = table.single['record'][own]
  record = record - record[0]
  found = spans.best(
    spans.Scored(
      start=start,
      end=end,
      inside=char_start < char_end,
      home=home > 0,
      row=np.repeat(np.arange(len(record)), np.diff(offsets)),
      record=record,
    ),
    len(rows),
    max_answer,
    n_best,
  )
  # The null score of a context is the lowest one of its windows.
  at = offsets[:-1] - offsets[0] + table.single['null'][own]
  null = np.full(len(rows), np.inf)
  np.minimum.at(null, record, start[at] + end[at])
  places = np.stack([char_start[found.first], char_end[found.last]], axis=-1)
  return [_prediction(*each) for each in zip(rows, null, found.score, places)]


def _prediction(row, null, scores, places) -> Prediction:
  """Returns the prediction for one record from its best spans.

  Args:
    row: The record.
    null: The score of no answer.
    scores: The score of each span, the best first; -inf means no span.
    places: Where each starts and ends, in characters.
  """
  context = row['context']
  shares = _softmax(np.array([null, *scores]))
  told = [
    {
      'text': context[start:end],
      'start': int(start),
      'probability': round(float(share), 6),
    }
    for (start, end), score, share in zip(places, scores, shares[1:])
    if score > -np.inf
  ]
  return {
    'id': row['id'],
    'prediction': told[0]['text'] if told else '',
    'start': told[0]['start'] if told else None,
    'no_answer_probability': float(shares[0]),
    'score_difference': float(min(null - scores[0], MOST)),
    'n_best': told,
  }


def _softmax(scores: Float[np.ndarray, 'K']) -> Float[np.ndarray, 'K']:
  shares = np.exp(scores - scores.max())
  return shares / shares.sum()


def _decided(prediction: Prediction, null_threshold: float) -> Prediction:
  if prediction['score_difference'] > null_threshold:
    return {**prediction, 'prediction': '', 'start': None}
  return prediction


def _in_words(reader, version, max_question, template, unanswerable) -> Task:
  """Returns the task for a model that writes the answer."""
  fill = written.template(template, ('question', 'context'))
  none = unanswerable.strip()
  if not none:
    raise UserError(
      'config.task.unanswerable is empty, but something is to be written where'
      " there is no answer. Set it to a word, such as 'unanswerable'."
    )

  def target(row):
    if 'answers' not in row:
      return ''  # Unknown.
    return row['answers'][0]['text'] if row['answers'] else none

  def encode(rows):
    sources = question_rows.texts(reader, rows, fill, max_question)
    return written.encode(reader, sources, [target(row) for row in rows])

  def predict(rows, table, answers: Answers):
    del table
    made = []
    for row, text in zip(rows, answers.texts):
      text = '' if text == none else text
      start = row['context'].find(text) if text else -1
      one = {'id': row['id'], 'prediction': text}
      made.append({**one, 'start': None if start < 0 else start})
    return made

  return Task(
    encode=encode,
    predict=predict,
    score=lambda rows, made: _score(version, rows, made),
    writing=Writing(reader.target_length),
  )
