"""Rows of consecutive whole sentences, as in RoBERTa.

FULL-SENTENCES (Liu et al. 2019, 4.2): as many sentences as fit, in the order of
the text, across document boundaries. A plan, made once per store and length and
kept beside the tokens, holds where each row begins.
"""

import dataclasses
import pathlib

import numpy as np
from absl import logging
from jaxtyping import Int, Int64

from lm.data import atomic, sources
from lm.data.sources import Request, Rows
from lm.data.token_store import TokenStore
from lm.data.tokenization import SENTENCE_END
from lm.types import Examples, UserError

MARKS = 2  # One begins a row, and one ends it.


@dataclasses.dataclass(frozen=True)
class Sentences(Rows):
  """Rows of whole sentences between the special tokens of an encoder.

  Sentences a a a a, b b and c c c in rows of 8 tokens:

      <s> a a a a b b </s>    <s> c c c </s> . . .
  """

  starts: Int64[np.ndarray, 'O']

  @property
  def size(self) -> int:
    """How many examples an epoch has."""
    return len(self.starts) - 1

  def examples_at(self, index: Int[np.ndarray, 'B']) -> Examples:
    """Returns the examples with these indices."""
    row, _, real = self.place(index)
    start = self.starts[row]
    size = np.where(real, self.starts[row + 1] - start, -MARKS)
    column = np.arange(self.request.length)[None]
    places = start[:, None] + column - 1
    valid = column < (size + MARKS)[:, None]
    inside = (column > 0) & (column <= size[:, None])
    begin, end = marks(self.request)
    return sources.read_marked(
      self.store,
      self.request,
      places,
      inside,
      np.where(column == 0, begin, end),
      valid,
    )


def sentences(store: TokenStore, request: Request) -> Sentences:
  """Returns rows of whole sentences; see `Sentences`.

  Raises:
    UserError: The tokenizer lacks special tokens, or they leave no room.
  """
  marks(request)
  sources.check_length(request.length, MARKS)
  room = request.length - MARKS
  path = store.directory / f'sentences-{room}.npy'
  return Sentences(store, request, kept(path, lambda: plan(store, room)))


def marks(request: Request) -> tuple[int, int]:
  """Returns the ids that begin a row, and that end it and separate texts."""
  found = request.vocabulary.marks
  if found is None:
    raise UserError(
      'The tokenizer has no tokens that begin and end the rows of an encoder.'
      " Set config.data.tokenizer to 'wordpiece' or 'roberta', or to a"
      " published one of BERT or RoBERTa, or config.data.packing to 'windows'."
    )
  return found


def sentence_ends(store: TokenStore) -> Int64[np.ndarray, 'E']:
  """Returns where sentences end in the stream; a document's end counts as one.

  A token that only ends a document belongs to its last sentence.
  """
  ends = store.marks & SENTENCE_END > 0
  last = store.offsets[1:] - 1
  no_bytes = store.bytes_of(last, store.tokens[last]) == 0
  ends[np.maximum(last - 1, 0)[no_bytes]] = False
  ends[last] = True
  return np.flatnonzero(ends) + 1


def plan(store: TokenStore, room: int) -> Int64[np.ndarray, 'O']:
  """Returns where rows of up to `room` tokens begin, then where the last ends.

  Sentences that are longer than a row are cut.
  """
  ends, total = sentence_ends(store), len(store.tokens)
  starts = [0]
  while starts[-1] < total:
    limit = starts[-1] + room
    fitting = np.searchsorted(ends, limit, 'right')
    end = int(ends[fitting - 1]) if fitting else 0
    starts.append(end if end > starts[-1] else limit)
  return np.array(starts, np.int64)


def kept(path: pathlib.Path, make) -> np.ndarray:
  """Returns the array in a file, which is made if missing or truncated."""
  if path.exists():
    try:
      return np.load(path, mmap_mode='r')
    except (ValueError, EOFError) as error:
      logging.warning('%s: %s; the plan is made anew.', path, error)
  array = make()
  with atomic.new_file(path) as temporary, temporary.open('wb') as file:
    np.save(file, array)
  logging.info('Planned %d rows: %s.', len(array) - 1, path)
  return array
