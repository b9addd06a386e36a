"""Questions and their contexts, as rows for a head or as texts.

For heads, question and context share a row,

    BERT      [CLS] question [SEP] context [SEP]
    RoBERTa   <s> question </s> </s> context </s>
    GPT, T5   question <end> context <end>

and a context that is too long takes several, by windows. In a window that does
not contain the whole answer, the target is the null position: the first token,
or in a decoder the last, which sees all the others.
"""

import collections
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import logging
from jaxtyping import Shaped

from lm.data.buckets import Ragged, Table
from lm.data.tokenizers import Tokenizer
from lm.tasks import encoding, spans
from lm.tasks.encoding import Marks, Pieces
from lm.tasks.task import Reader, Record
from lm.types import UserError

# For each token: whether it can be in an answer, whether one can begin there in
# this window, and its characters in the context, so that an answer is copied
# from the original text.
COLUMNS = {
  'tokens': np.int32,
  'token_types': np.int32,
  'answerable': np.int8,
  'home': np.int8,
  'char_start': np.int32,
  'char_end': np.int32,
}
# For each row.
SINGLE = {
  'record': np.int32,
  'start': np.int32,
  'end': np.int32,
  'null': np.int32,
  'span_weights': np.float32,
}


class Layout(NamedTuple):
  """How questions and contexts are put into rows.

  Attributes:
    reader: How the model reads.
    marks: The special tokens around them.
    stride: The number of tokens between the starts of two windows.
    max_question: The most tokens of a question.
    max_answer: The most tokens of an answer.
    mark_matches: Whether context tokens that also occur in the question get a
      token type of their own.
  """

  reader: Reader
  marks: Marks
  stride: int
  max_question: int
  max_answer: int
  mark_matches: bool = False


def layout(
  reader: Reader,
  stride: int,
  max_question: int,
  max_answer: int,
  mark_matches: bool = False,
) -> Layout:
  """Returns a `Layout`, after checking it.

  Raises:
    UserError: A question leaves no room for a context.
  """
  marks = encoding.marks(reader.tokenizer, reader.form)
  room = reader.length - marks.taken(True)
  if max_question >= room:
    raise UserError(
      f'config.task.max_question is {max_question}, and a row of'
      f' config.data.length={reader.length} tokens has {room} for a question'
      ' and its context. Set config.data.length higher, or'
      ' config.task.max_question lower.'
    )
  return Layout(reader, marks, stride, max_question, max_answer, mark_matches)


class Window(NamedTuple):
  """A window of a context as a row: `COLUMNS`, and `SINGLE` but the record."""

  columns: dict[str, Shaped[np.ndarray, 'L']]
  start: int
  end: int
  null: int


def encode(layout: Layout, rows: Sequence[Record]) -> Table:
  """Returns the windows of all records, in order."""
  tokenizer = layout.reader.tokenizer
  questions = encoding.pieces(tokenizer, [row['question'] for row in rows])
  contexts = contexts_of(tokenizer, rows)
  columns = {name: [] for name in COLUMNS}
  single = {name: [] for name in SINGLE}
  lost = collections.Counter()
  for number, (row, question) in enumerate(zip(rows, questions)):
    context = contexts[row['context']]
    answers = _answers(row, context)
    held = False
    for window in _windows(layout, question, context, answers):
      held |= bool(window.columns['home'][window.start])
      for name, column in window.columns.items():
        columns[name].append(column)
      one = (number, window.start, window.end, window.null, 'answers' in row)
      for values, value in zip(single.values(), one):
        values.append(value)
    lost['questions'] += len(question.tokens) > layout.max_question
    lost['answers'] += bool(row.get('answers') and not held)
    sizes = [last - first + 1 for first, last in answers]
    lost['long'] += bool(sizes) and min(sizes) > layout.max_answer
  _say_lost(lost, rows)
  return Table(
    {
      'tokens': {
        name: Ragged.of(column, COLUMNS[name])
        for name, column in columns.items()
      }
    },
    {name: np.array(values, SINGLE[name]) for name, values in single.items()},
  )


def contexts_of(
  tokenizer: Tokenizer, rows: Sequence[Record]
) -> dict[str, Pieces]:
  """Returns the pieces of each distinct context, which questions share."""
  texts = list(dict.fromkeys(row['context'] for row in rows))
  made = zip(texts, encoding.pieces(tokenizer, texts))
  return {text: spans.visible(pieces, text) for text, pieces in made}


def _answers(row, context: Pieces) -> list[tuple[int, int]]:
  """Returns the first and the last token of each known answer."""
  found = []
  for answer in row.get('answers', ()):
    end = answer['start'] + len(answer['text'])
    tokens = spans.of_characters(context, answer['start'], end)
    if tokens:
      found.append(tokens)
  return found


def _windows(layout, question, context, answers) -> Iterator[Window]:
  question = question.cut(0, layout.max_question)
  before = sum(
    map(len, (layout.marks.first, question.tokens, layout.marks.between))
  )
  room = layout.reader.length - before - len(layout.marks.last)
  plan = spans.windows(len(context.tokens), room, layout.stride)
  edges = zip(plan.begin.tolist(), plan.stop.tolist())
  for number, (begin, stop) in enumerate(edges):
    part = context.cut(begin, stop)
    row = encoding.row(
      layout.marks, question, part, layout.reader.length, cut='second'
    )
    size = len(row.tokens)
    null = 0 if layout.reader.form == 'bidirectional' else size - 1
    columns = {name: np.zeros(size, kind) for name, kind in COLUMNS.items()}
    columns |= {'tokens': row.tokens, 'token_types': row.token_types}
    own = slice(before, before + len(part.tokens))
    if layout.mark_matches:
      columns['token_types'][own] += np.isin(part.tokens, question.tokens)
    seen = part.start < part.end
    columns['answerable'][own] = seen
    columns['answerable'][null] = True
    columns['home'][own] = seen & (plan.home[begin:stop] == number)
    columns['char_start'][own] = part.start
    columns['char_end'][own] = part.end
    shift = before - begin
    whole = (
      (first + shift, last + shift)
      for first, last in answers
      if begin <= first and last < stop
    )
    yield Window(columns, *next(whole, (null, null)), null)


def texts(
  reader: Reader,
  rows: Sequence[Record],
  fill: Callable[[Mapping[str, str]], str],
  max_question: int,
) -> list[str]:
  """Returns the text to read for each record, no longer than a row.

  If it does not fit, the context is truncated, whatever follows it.

  Args:
    reader: How the model reads.
    rows: The records.
    fill: Makes the text from a question and its context.
    max_question: The most tokens of a question.
  """
  asked = encoding.pieces(reader.tokenizer, [row['question'] for row in rows])
  shown: list[dict[str, Any]] = [
    {
      'question': row['question'][: _end(pieces, max_question)],
      'context': row['context'],
    }
    for row, pieces in zip(rows, asked)
  ]
  made = [fill(each) for each in shown]
  contexts, left, todo = {}, {}, list(range(len(rows)))
  while todo:
    encoded = reader.tokenizer.encode_batch([made[i] for i in todo], False)
    over = {i: len(e.ids) + 1 - reader.length for i, e in zip(todo, encoded)}
    todo = [i for i in todo if over[i] > 0 and left.get(i, 1)]
    new = [rows[i] for i in todo if rows[i]['context'] not in contexts]
    contexts |= contexts_of(reader.tokenizer, new)
    for i in todo:
      context = rows[i]['context']
      pieces = contexts[context]
      left[i] = max(left.get(i, len(pieces.tokens)) - over[i], 0)
      shown[i]['context'] = context[: _end(pieces, left[i])]
      made[i] = fill(shown[i])
  cut = [(row, each['context']) for row, each in zip(rows, shown)]
  cut = [(row, text) for row, text in cut if len(text) < len(row['context'])]
  lost = collections.Counter(
    questions=sum(len(pieces.tokens) > max_question for pieces in asked),
    contexts=len(cut),
    answers=sum(
      answer['start'] + len(answer['text']) > len(text)
      for row, text in cut
      for answer in row.get('answers', ())[:1]
    ),
  )
  _say_lost(lost, rows)
  return made


def _end(pieces: Pieces, most: int) -> int | None:
  """Returns where the first `most` pieces end; None if those are all."""
  if len(pieces.tokens) <= most:
    return None
  return int(pieces.end[:most].max(initial=0))


LOST = {
  'questions': 'are cut at config.task.max_question',
  'contexts': 'have a context that is cut at config.data.length',
  'answers': 'have no answer that can be found, for none is whole in a row',
  'long': 'have none within config.task.max_answer',
}


def _say_lost(lost: Mapping[str, int], rows: Sequence[Record]) -> None:
  said = [f'{lost[key]} {what}' for key, what in LOST.items() if lost[key]]
  if said:
    logging.info('Of %d questions %s.', len(rows), ', '.join(said))
