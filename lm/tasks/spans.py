"""Answers as spans of a text: windows over a long one, and the best spans.

A context that does not fit into a row is read in overlapping windows (the code
of Devlin et al. 2019). For 7 tokens in windows of 4 with stride 2:

    window 0   0 1 2 3
    window 1       2 3 4 5
    window 2           4 5 6

A token counts in the window where it has the most context on its shorter side:
tokens 0 to 2 in window 0, 3 and 4 in window 1, 5 and 6 in window 2.
"""

import functools
import unicodedata
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from lm.tasks.encoding import Pieces

NONE = -1  # Where there are fewer spans than asked for.


class Windows(NamedTuple):
  """The windows over one context.

  Attributes:
    begin: The first token of each window.
    stop: The token after its last.
    home: The window in which each token counts.
  """

  begin: Int[np.ndarray, 'W']
  stop: Int[np.ndarray, 'W']
  home: Int[np.ndarray, 'N']


@functools.lru_cache(maxsize=4096)
def windows(size: int, room: int, stride: int) -> Windows:
  """Returns the windows over `size` tokens; a single empty one over none.

  Args:
    size: The number of tokens of the context.
    room: The most tokens of a window.
    stride: The distance between the starts of two windows, `room` at most.
  """
  stride = min(stride, room)
  begin = np.arange(0, max(size - room, 0) + stride, stride)
  stop = np.minimum(begin + room, size)
  token = np.arange(size)
  beside = np.minimum(token - begin[:, None], stop[:, None] - 1 - token)
  # Ties go to the first, which is at least as long as the other.
  home = np.argmax(beside, axis=0) if size else token
  for column in (begin, stop, home):
    column.flags.writeable = False  # The cache shares them between callers.
  return Windows(begin, stop, home)


def visible(pieces: Pieces, text: str) -> Pieces:
  """Returns pieces with the white space at their ends trimmed.

  A piece of white space alone becomes empty. Combining marks that belong to no
  piece are added to the one before: where accents are dropped, a `café` written
  with a combining accent has the piece `cafe`, which is extended by it.

  Args:
    pieces: The pieces of `text`.
    text: The text that was tokenized.
  """
  start, end = pieces.start.copy(), pieces.end.copy()
  spaces = _where(text, str.isspace)
  if len(spaces):
    space = np.zeros(len(text) + 1, bool)
    space[spaces] = True
    while (moved := (start < end) & space[start]).any():
      start += moved
    while (moved := (start < end) & space[end - 1]).any():
      end -= moved
  if not text.isascii() and len(marks := _where(text, _is_mark)):
    loose = np.zeros(len(text) + 1, bool)
    loose[marks] = True
    for begin, stop in zip(pieces.start, pieces.end):
      loose[begin:stop] = False
    while (moved := (start < end) & loose[end]).any():
      end += moved
  return Pieces(pieces.tokens, start, end)


def _where(text, is_wanted) -> Int[np.ndarray, '_']:
  wanted = {character for character in set(text) if is_wanted(character)}
  if not wanted:
    return np.zeros(0, np.int64)
  return np.array([i for i, own in enumerate(text) if own in wanted])


def _is_mark(character: str) -> bool:
  return unicodedata.category(character)[0] == 'M'


def of_characters(
  pieces: Pieces, start: int, end: int
) -> tuple[int, int] | None:
  """Returns the first and the last token of some characters, or None.

  Args:
    pieces: As returned by `visible`.
    start: The first character.
    end: The character after the last.
  """
  touched = (pieces.end > start) & (pieces.start < end)
  touched &= pieces.start < pieces.end
  if not touched.any():
    return None
  tokens = np.flatnonzero(touched)
  return int(tokens[0]), int(tokens[-1])


class Scored(NamedTuple):
  """The scores of a model for the tokens of all rows, concatenated.

  Attributes:
    start: The score of an answer that starts at each token.
    end: The score of one that ends there.
    inside: Whether an answer can end there.
    home: Whether one can start there: true once for each token of a context.
    row: The row of each token.
    record: The record of each row, in ascending order.
  """

  start: Float[np.ndarray, 'M']
  end: Float[np.ndarray, 'M']
  inside: Bool[np.ndarray, 'M']
  home: Bool[np.ndarray, 'M']
  row: Int[np.ndarray, 'M']
  record: Int[np.ndarray, 'R']


class Spans(NamedTuple):
  """The best spans of each record, the best first.

  Attributes:
    first: The first token of each, among all tokens; `NONE` if no span.
    last: The last token of each.
    score: The sum of both scores; -inf if no span.
  """

  first: Int[np.ndarray, 'N K']
  last: Int[np.ndarray, 'N K']
  score: Float[np.ndarray, 'N K']


def best(scored: Scored, records: int, max_answer: int, most: int) -> Spans:
  """Returns the spans with the highest sums of scores.

  All spans are compared, whereas BERT's code takes only the highest starts and
  ends of each window. Only the `most` starts with the best spans are searched
  in full, since any other start has `most` better ones before it.

  Args:
    scored: The scores of the tokens.
    records: The number of records.
    max_answer: The most tokens of a span.
    most: The number of spans to return for each record.
  """
  begin = np.flatnonzero(scored.home)
  ends = _ends(scored, max_answer)
  likeliest = np.full(len(begin), -np.inf)
  for far in range(max_answer):
    likeliest = np.maximum(likeliest, ends(begin, far))
  likeliest += scored.start[begin]
  owner = scored.record[scored.row[begin]]
  order = np.lexsort((-likeliest, owner))
  owner, begin = owner[order], begin[order]
  sizes = np.bincount(owner, minlength=records)
  place = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
  kept = place < most
  starts = np.full((records, most), NONE)
  starts[owner[kept], place[kept]] = begin[kept]

  real = starts != NONE
  far = np.arange(max_answer)
  sums = ends(starts[..., None], far) + scored.start[starts][..., None]
  sums = np.where(real[..., None], sums, -np.inf).reshape(records, -1)
  chosen = np.argsort(-sums, axis=1, kind='stable')[:, :most]
  score = np.take_along_axis(sums, chosen, axis=1)
  first = np.take_along_axis(starts, chosen // max_answer, axis=1)
  found = score > -np.inf
  return Spans(
    np.where(found, first, NONE),
    np.where(found, first + chosen % max_answer, NONE),
    score,
  )


def _ends(scored, max_answer):
  """Returns a function for the score of an end `far` tokens after a start."""
  scores = np.where(scored.inside, scored.end.astype(np.float64), -np.inf)
  scores = np.append(scores, np.full(max_answer, -np.inf))
  row = np.append(scored.row, np.full(max_answer, NONE))

  def ends(start, far):
    place = start + far
    return np.where(row[place] == row[start], scores[place], -np.inf)

  return ends
