"""Sentences of words as rows of tokens, each word being tagged at one token.

Tokens and words are aligned by their offsets in the text, so any tokenizer will
do. A sentence that is longer than a row is read in windows.

    words     Ann     Lee    sang  in  Zürich
    tokens    [CLS] Ann Lee sang in Z ##ür ##ich [SEP]
    word            0   1   2    3  4
    word_end    0   1   2   3    4  5   0    0     0
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from absl import logging
from jaxtyping import Bool, Float, Int

from lm.data.buckets import Ragged, Table
from lm.tasks import encoding, spans
from lm.tasks.encoding import Marks, Pieces

NOWHERE = -1  # The place of a word without a token.


def align(
  pieces: Pieces, words: Sequence[str], joiner: str
) -> Int[np.ndarray, 'W']:
  """Returns the first token of each word, by their offsets in the text.

  Words share a token that covers more than one. A word without a token, such as
  a control character, is `NOWHERE`.

  Args:
    pieces: The pieces of the words joined by `joiner`.
    words: The words of a sentence.
    joiner: What separates them; part of no word.
  """
  sizes = np.array([len(word) for word in words], np.int64)
  start = np.cumsum(sizes + len(joiner)) - sizes - len(joiner)
  real = np.flatnonzero(pieces.end > pieces.start)
  ends = np.maximum.accumulate(pieces.end[real])
  first = np.searchsorted(ends, start, side='right')
  beyond = np.iinfo(np.int32).max
  here = np.append(pieces.start[real], beyond)[first] < start + sizes
  return np.where(here, np.append(real, NOWHERE)[first], NOWHERE)


class Window(NamedTuple):
  """Tokens that are read together.

  Attributes:
    pieces: The tokens.
    place: The indices of those that tag words.
    word: The first word that each of these tags.
    word_end: The word after the last.
  """

  pieces: Pieces
  place: Int[np.ndarray, 'A']
  word: Int[np.ndarray, 'A']
  word_end: Int[np.ndarray, 'A']


class Reading(NamedTuple):
  """A sentence as it is read.

  Attributes:
    windows: One or more windows.
    words: The number of words.
    nowhere: The number of words without a token.
    shared: The number of words without a token of their own.
    cut: The number of words in no window.
  """

  windows: list[Window]
  words: int
  nowhere: int
  shared: int
  cut: int


def read(
  pieces: Pieces, places: Int[np.ndarray, 'W'], room: int, stride: int
) -> Reading:
  """Returns the windows of a sentence, each word being tagged in one of them.

  Args:
    pieces: The pieces of the sentence.
    places: The first token of each word, from `align`.
    room: The most tokens of a window; see `spans.windows`.
    stride: From one window to the next; 0 means a single window.
  """
  own, word, count = np.unique(places, return_index=True, return_counts=True)
  there = own != NOWHERE
  own, word, count = own[there], word[there], count[there]
  plan = spans.windows(len(pieces.tokens), room, stride or room)
  home = plan.home[own]
  bounds = list(zip(plan.begin.tolist(), plan.stop.tolist()))
  made = []
  for number, (begin, stop) in enumerate(bounds if stride else bounds[:1]):
    mine = home == number
    word_end = word[mine] + count[mine]
    made.append(
      Window(pieces.cut(begin, stop), own[mine] - begin, word[mine], word_end)
    )
  kept = home < len(made)
  return Reading(
    made,
    len(places),
    nowhere=int(np.sum(places == NOWHERE)),
    shared=int(np.sum(count[kept] - 1)),
    cut=int(np.sum(count[~kept])),
  )


# What happens to words that cannot be tagged, by the field of `Reading`.
_LOST = {
  'cut': (
    'do not fit into config.data.length, and are of no entity: set that higher,'
    ' or config.task.stride to None'
  ),
  'nowhere': 'have no token, as control characters, and are of no entity',
  'shared': (
    'share the token of the word before, and only go on with what that is: set'
    " config.task.joiner to ' ', or config.data.tokenizer to one with smaller"
    ' tokens'
  ),
}


def say_lost(readings: Sequence[Reading], length: int) -> None:
  """Logs how many sentences take several windows, and how many words are lost.

  Args:
    readings: Those of all sentences.
    length: The length of a row.
  """
  several = [n for reading in readings if (n := len(reading.windows)) > 1]
  if several:
    logging.info(
      'Of %d sentences %d are longer than the %d tokens of config.data.length,'
      ' and are read in %d windows.',
      len(readings),
      len(several),
      length,
      sum(several),
    )
  words = sum(reading.words for reading in readings)
  for kind, what in _LOST.items():
    if count := sum(getattr(reading, kind) for reading in readings):
      logging.info('Of %d words %d %s.', words, count, what)


def table(
  readings: Sequence[Reading],
  tags: Sequence[Int[np.ndarray, '_'] | None],
  marks: Marks,
  length: int,
) -> Table:
  """Returns the windows as rows for the objective `tags`.

  Their columns `word` and `word_end` are the range of words that a token tags:
  none if both are 0.

  Args:
    readings: The reading of each record.
    tags: The tags of its words; None if unknown.
    marks: The special tokens around a row.
    length: The length of a row.
  """
  rows, record = [], []
  names = ('word', 'word_end', 'tags', 'tag_weights')
  columns: dict[str, list] = {name: [] for name in names}
  for number, (reading, known) in enumerate(zip(readings, tags)):
    for window in reading.windows:
      record.append(number)
      rows.append(encoding.row(marks, window.pieces, None, length))
      values = {'word': window.word, 'word_end': window.word_end}
      if known is not None:
        values |= {'tags': known[window.word], 'tag_weights': 1}
      place = window.place + len(marks.first)
      for name, column in columns.items():
        column.append(np.zeros(len(rows[-1].tokens), np.int32))
        column[-1][place] = values.get(name, 0)
  made = {name: Ragged.of(column) for name, column in columns.items()}
  return Table(
    {'tokens': encoding.columns(rows) | made},
    {'record': np.array(record, np.int64)},
  )


class Answered(NamedTuple):
  """The answers for the words of a sentence.

  Attributes:
    scores: The scores of the tags.
    asked: The words that have scores.
    goes_on: The words that share the token of the word before. Words in neither
      were not read.
  """

  scores: Float[np.ndarray, 'W C']
  asked: Bool[np.ndarray, 'W']
  goes_on: Bool[np.ndarray, 'W']


def answered(
  rows: Table, heads: Sequence[np.ndarray], sizes: Sequence[int], number: int
) -> Iterator[Answered]:
  """Yields the answers for each sentence.

  Args:
    rows: As returned by `table`.
    heads: The scores at each token of each row.
    sizes: The number of words of each sentence.
    number: The number of tags.
  """
  columns = rows.ragged['tokens']
  order = np.argsort(rows.single['record'], kind='stable')
  bounds = np.searchsorted(
    rows.single['record'], np.arange(len(sizes) + 1), sorter=order
  )
  for size, begin, end in zip(sizes, bounds, bounds[1:]):
    scores = np.zeros((size, number))
    asked, goes_on = np.zeros((2, size), bool)
    for row in order[begin:end].tolist():
      word, word_end = (columns[x].row(row) for x in ('word', 'word_end'))
      at = np.flatnonzero(word_end)
      scores[word[at]] = heads[row][at]
      asked[word[at]] = True
      for place in at:
        goes_on[word[place] + 1 : word_end[place]] = True
    yield Answered(scores, asked, goes_on)
