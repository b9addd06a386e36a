"""Named entity recognition: which words are entities, and of which type.

With objective 'tags' a head predicts an IOB2 tag for each word, at its first
token (Devlin et al. 2019, 5.3); with 'answers' the model writes a list of the
entities in the format of `lm.tasks.listings`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from absl import logging
from jaxtyping import Bool

from lm.data.tokenizers import Tokenizer
from lm.records import reading
from lm.tasks import (
  encoding,
  iob2,
  listings,
  metrics,
  word_rows,
  written,
)
from lm.tasks.listings import Item
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

UNKNOWN = 'none'  # The type of a listed item whose name is no type's.
# The `encode` and `predict` of a task.
Way = tuple[Callable, Callable]


def entities(
  reader: Reader,
  train: Callable[[], Sequence[Record]],
  *,
  labels: tuple[str, ...] | None = None,
  joiner: str = ' ',
  stride: int | None = None,
  constrained: bool = True,
  template: str = 'entities: {text}',
  names: tuple[str, ...] = (),
) -> Task:
  """Returns the task.

  Args:
    reader: How the model reads.
    train: Returns the training records.
    labels: The tags, including O; None means O, and B- and I- of each type of
      the training data, sorted.
    joiner: What separates words in the text that is tokenized: a space, or ''
      if the words are characters of a script without spaces. With 'wordpiece',
      whose tokens hold no spaces, a space suits these too, and keeps the digits
      of a number apart.
    stride: A sentence longer than a row is read in windows that begin this many
      tokens apart, and each word is tagged in the window where it is farthest
      from an edge. None means half a row; 0 means a single window, and words
      that do not fit are tagged O.
    constrained: Whether to decode the likeliest sequence of tags in which each
      I- continues an entity. Otherwise each word gets its likeliest tag, and an
      I- that continues none begins one.
    template: For objective 'answers': the text to read, with {text}.
    names: For objective 'answers': the name to write for each type, in the
      order of the labels; () means the type.
  """
  check_objective('entities', reader.objective, 'tags', 'answers')
  if labels is None:
    labels = iob2.inventory(
      tag for row in train() for tag in row.get('tags', ())
    )
  iob2.check_inventory(labels)
  writes = reader.objective == 'answers'
  if writes:
    encode, predict = _listed(reader, labels, joiner, template, names)
  else:
    encode, predict = _tagged(reader, labels, joiner, stride, constrained)

  def encode_known(rows):
    reading.check_labels([row for row in rows if 'tags' in row], labels)
    return encode(rows)

  return Task(
    encode=encode_known,
    predict=predict,
    score=score,
    num_labels=len(labels),
    writing=Writing(reader.target_length) if writes else None,
    taken={'labels': tuple(labels)},
  )


def score(rows: Sequence[Record], predictions: Sequence[Prediction]) -> Scores:
  """Returns the scores of exact matches of entities, span and type.

  A listed entity that is not in the sentence counts as one of a single word
  after its end, and so against precision.
  """
  gold, made = [], []
  for row, prediction in zip(rows, predictions, strict=True):
    spurious = [item['type'] for item in prediction.get('spurious', ())]
    fitting = len(row['words']) - prediction.get('lost', 0)
    gold.append([*row['tags'], *[iob2.OUTSIDE] * len(spurious)])
    made.append(
      prediction['prediction'][:fitting] + [f'B-{type}' for type in spurious]
    )
  return metrics.entities(gold, made)


def _tagged(
  reader: Reader,
  labels: Sequence[str],
  joiner: str,
  stride: int | None,
  constrained: bool,
) -> Way:
  """Returns `encode` and `predict` for a head."""
  marks = encoding.marks(reader.tokenizer, reader.form)
  room, stride = _windows(reader.length, marks.taken(False), stride)
  order, number = iob2.order(labels), {tag: i for i, tag in enumerate(labels)}
  outside = np.where(np.array(labels) == iob2.OUTSIDE, 0.0, -np.inf)

  def encode(rows):
    texts = [joiner.join(row['words']) for row in rows]
    readings = [
      word_rows.read(
        pieces, word_rows.align(pieces, row['words'], joiner), room, stride
      )
      for row, pieces in zip(rows, encoding.pieces(reader.tokenizer, texts))
    ]
    word_rows.say_lost(readings, reader.length)
    tags = [
      np.array([number[tag] for tag in row['tags']], np.int32)
      if 'tags' in row
      else None
      for row in rows
    ]
    return word_rows.table(readings, tags, marks, reader.length)

  def tags_of(found):
    known = found.asked[:, None]
    scores = np.where(known, found.scores, outside)[~found.goes_on]
    if constrained:
      best = iob2.likeliest(scores, order)
    else:
      best = scores.argmax(axis=1)
    return _continued([labels[tag] for tag in best], found.goes_on)

  def predict(rows, table, answers: Answers):
    sizes = [len(row['words']) for row in rows]
    heads, predictions = answers.heads['tags'], []
    found = word_rows.answered(table, heads, sizes, len(labels))
    for row, own in zip(rows, found):
      prediction = _prediction(row, iob2.repaired(tags_of(own)), joiner)
      if not stride:
        unread = ~(own.asked | own.goes_on)
        lost = np.logical_and.accumulate(unread[::-1]).sum()
        prediction |= {'lost': int(lost)} if lost else {}
      predictions.append(prediction)
    return predictions

  return encode, predict


def _windows(length: int, taken: int, stride: int | None) -> tuple[int, int]:
  """Returns the size of a window and the stride, both in tokens.

  Args:
    length: The length of a row.
    taken: How much of it the marks take.
    stride: As configured.
  """
  room = length - taken
  if room < 1:
    raise UserError(
      f'config.data.length is {length}, which leaves no room for words. Set it'
      f' to {taken + 1} or more.'
    )
  if stride is None:
    stride = max(room // 2, 1)
  if not 0 <= stride <= room:
    raise UserError(
      f'config.task.stride is {stride}, and a row has room for {room} tokens of'
      ' a sentence, so some would be in no window. Set it to at most that, or'
      ' to None for half of it.'
    )
  return room, stride


def _continued(tags: list[str], goes_on: Bool[np.ndarray, 'W']) -> list[str]:
  """Returns the tags of all words, given those of words not in `goes_on`."""
  given, found = iter(tags), []
  for more in goes_on:
    if not more:
      found.append(next(given))
    elif found[-1].startswith('B-'):
      found.append(f'I-{found[-1][2:]}')
    else:
      found.append(found[-1])
  return found


def _prediction(row: Record, tags: list[str], joiner: str) -> dict[str, Any]:
  found = [
    {
      'type': span.type,
      'text': joiner.join(row['words'][span.start : span.end]),
      'start_word': span.start,
      'end_word': span.end,
    }
    for span in iob2.spans(tags)
  ]
  return {'id': row['id'], 'prediction': tags, 'entities': found}


def _names(given: Sequence[str], types: Sequence[str]) -> Sequence[str]:
  """Returns the name to write for each type."""
  names = given or types
  if len(names) != len(types) or len({*names}) != len(names):
    raise UserError(
      f'config.task.names has {len(names)} values, {", ".join(names)}, for'
      f' {len(types)} types: {", ".join(types)}. Give one for each, in this'
      ' order, all different.'
    )
  return names


def _check_writable(tokenizer: Tokenizer, names: Sequence[str]) -> None:
  """Raises UserError if the tokenizer cannot represent a listing.

  One trained on the sentences alone may never have seen a colon.
  """
  for name in names:
    listing = listings.write([Item(name, ';')] * 2)
    tokens = tokenizer.encode(listing)
    again = tokenizer.decode(tokens, special_tokens=False)
    if listings.essence(again) != listings.essence(listing):
      raise UserError(
        f'Entities are written as in {listing!r}, of which the tokenizer has no'
        f' more than {again!r}. Set config.data.tokenizer to one that has any'
        " character, such as 'bpe' with config.data.end_of_text, or"
        ' config.task.names to what it has.'
      )


def _listed(
  reader: Reader,
  labels: Sequence[str],
  joiner: str,
  template: str,
  names: Sequence[str],
) -> Way:
  """Returns `encode` and `predict` for writing listings."""
  types = iob2.types_of(labels)
  names = _names(names, types)
  _check_writable(reader.tokenizer, names)
  fill = written.template(template, ('text',))
  name_of, type_of = dict(zip(types, names)), dict(zip(names, types))

  def listing(row):
    if 'tags' not in row:
      return ''
    return listings.write(
      [
        Item(name_of[type], joiner.join(row['words'][start:end]))
        for type, start, end in iob2.spans(row['tags'])
      ]
    )

  def read(row, text):
    return listings.find(listings.parse(text), row['words'], type_of)

  def encode(rows):
    texts = [fill({'text': joiner.join(row['words'])}) for row in rows]
    targets = [listing(row) for row in rows]
    otherwise = sum(
      read(row, target).entities != iob2.spans(row['tags'])
      for row, target in zip(rows, targets)
      if target
    )
    if otherwise:
      logging.info(
        'Of %d sentences %d have entities whose words stand there before, too:'
        ' a listing is read to mean those.',
        len(rows),
        otherwise,
      )
    return written.encode(reader, texts, targets)

  def predict(rows, table, answers: Answers):
    del table
    predictions = []
    for row, text in zip(rows, answers.texts):
      found = read(row, text)
      made = iob2.tagged(found.entities, len(row['words']))
      spurious = [
        {'type': type_of.get(item.name, UNKNOWN), 'text': item.text}
        for item in found.spurious
      ]
      own = {'text': text, 'spurious': spurious}
      predictions.append(_prediction(row, made, joiner) | own)
    return predictions

  return encode, predict
