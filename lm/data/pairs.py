"""Pairs of texts, for predicting whether the second follows the first.

As in BERT (Devlin et al. 2019, A.2, and its code). Sentences of one document
are gathered until they fill a row: a chunk. It is split between two sentences;
with probability one half the second part is text from elsewhere. A plan of the
chunks, made once per store and length, is kept beside the store. With
duplicates it has that many plans, one after another as the rows of one epoch,
each of which draws anew which documents have short chunks.
The random choices for an example, where it is split and what is substituted,
depend on its index only. If the second part is replaced, the rest of the chunk
does not form another, as it would in BERT, but appears in other epochs.
"""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Int64

from lm.data import randomness, sentence_rows, sources
from lm.data.sources import Request, Rows
from lm.data.token_store import TokenStore
from lm.types import Examples, UserError

MARKS = 3  # [CLS] first [SEP] second [SEP]
KINDS = ('next_sentence', 'sentence_order')


class Spans(NamedTuple):
  """A span of the token stream for each example.

  Attributes:
    start: The first token.
    size: The number of tokens.
  """

  start: Int[np.ndarray, 'B']
  size: Int[np.ndarray, 'B']


@dataclasses.dataclass(frozen=True)
class Pairs(Rows):
  """Pairs of texts between the special tokens of an encoder.

  Attributes:
    ends: Where each sentence ends in the stream.
    documents: The first sentence of each document, then the end of the last.
    chunks: First sentence, the one after the last, and target length.

  Texts a a a and b b in rows of 10 tokens:

      tokens       [CLS] a a a [SEP] b b [SEP] . .
      token_types    0   0 0 0   0   1 1   1   0 0
  """

  ends: Int64[np.ndarray, 'E']
  documents: Int64[np.ndarray, 'O']
  chunks: Int64[np.ndarray, 'C 3']

  @property
  def size(self) -> int:
    """How many examples an epoch has."""
    return len(self.chunks)

  def examples_at(self, index: Int[np.ndarray, 'B']) -> Examples:
    """Returns the examples with these indices."""
    row, _, real = self.place(index)
    draw = self.draws(index)
    first, last, target = np.asarray(self.chunks[row]).T
    cut = (
      first + 1 + self._integers('cut', draw, np.maximum(last - first - 1, 1))
    )
    one = self._spans(first, cut)
    label = self._uniform('pair', draw) < 0.5
    if self.request.pair == 'next_sentence':
      label = label | (last - first < 2)
      two = self._foreign(draw, first, target - one.size)
      own = self._spans(cut, np.maximum(last, cut))
      two = either(label, two, own)
    else:
      two = self._spans(cut, last)
    one, two = self._fit(draw, one, two)
    if self.request.pair == 'sentence_order':
      one, two = either(label, two, one), either(label, one, two)
    return self._rows(one, two, real) | {
      'next_sentence': (label & real).astype(np.int32)
    }

  def _spans(self, first, last) -> Spans:
    """Returns the spans of sentences `first` up to, but excluding, `last`."""
    start = self._start(first)
    return Spans(start, self._start(last) - start)

  def _start(self, sentence):
    return np.where(sentence > 0, self.ends[sentence - 1], 0)

  def _foreign(self, draw, sentence, room) -> Spans:
    """Returns text of another document, from a random sentence on."""
    own = np.searchsorted(self.documents, sentence, 'right') - 1
    other = self._integers('document', draw, len(self.documents) - 2)
    other += other >= own
    begin, end = self.documents[other], self.documents[other + 1]
    first = begin + self._integers('sentence', draw, end - begin)
    enough = self._start(first) + np.maximum(room, 1)
    last = np.searchsorted(self.ends, enough, 'left') + 1
    return self._spans(first, np.minimum(last, end))

  def _fit(self, draw, one: Spans, two: Spans) -> tuple[Spans, Spans]:
    """Returns both, with tokens dropped from the longer one until they fit.

    Each dropped token is, by a coin toss, the first or the last.
    """
    room = self.request.length - MARKS
    half = room // 2
    kept_one = np.minimum(one.size, np.maximum(room - half, room - two.size))
    kept_two = np.minimum(two.size, room - kept_one)
    fitted = []
    for name, span, kept in (('one', one, kept_one), ('two', two, kept_two)):
      gone = span.size - kept
      words = np.arange(-(-int(gone.max(initial=1)) // 64))
      coins = randomness.bits(self._seed, f'fit {name}', draw[:, None], words)
      coins = np.unpackbits(coins.view(np.uint8), axis=1)
      counted = np.arange(coins.shape[1]) < gone[:, None]
      front = np.sum(coins * counted, axis=1, dtype=np.int64)
      fitted.append(Spans(span.start + front, kept))
    return tuple(fitted)

  def _rows(self, one: Spans, two: Spans, real) -> Examples:
    begin, end = sentence_rows.marks(self.request)
    column = np.arange(self.request.length)[None]
    middle = 1 + one.size[:, None]  # Where the first [SEP] stands.
    close = middle + 1 + two.size[:, None]
    in_one = (column > 0) & (column < middle)
    in_two = (column > middle) & (column < close)
    places = np.where(
      in_one,
      one.start[:, None] + column - 1,
      two.start[:, None] + column - middle - 1,
    )
    text = (in_one | in_two) & real[:, None]
    valid = (column <= close) & real[:, None]
    mark = np.where(column == 0, begin, end)
    return sources.read_marked(
      self.store, self.request, places, text, mark, valid
    ) | {'token_types': ((column > middle) & valid).astype(np.int32)}

  @property
  def _seed(self) -> int:
    return self.request.seed or 0  # Always the same for a single pass.

  def _uniform(self, purpose, draw):
    return randomness.uniform(self._seed, purpose, draw)

  def _integers(self, purpose, draw, high):
    return randomness.integers(self._seed, purpose, draw, high)


def either(first: Bool[np.ndarray, 'B'], one: Spans, two: Spans) -> Spans:
  """Returns `one` where `first`, else `two`."""
  return Spans(*(np.where(first, a, b) for a, b in zip(one, two)))


def pairs(store: TokenStore, request: Request) -> Pairs:
  """Returns pairs of texts; see `Pairs`.

  Raises:
    UserError: The tokenizer lacks special tokens, the text has fewer than two
      documents, or a setting is invalid.
  """
  if request.pair not in KINDS:
    raise UserError(
      f'config.data.pair is {request.pair!r}. Set it to one of'
      f' {", ".join(KINDS)}.'
    )
  if not 0 <= request.short_seq_prob <= 1:
    raise UserError(
      f'short_seq_prob is {request.short_seq_prob}, but it is a share. Set'
      ' config.data.short_seq_prob between 0 and 1; BERT uses 0.1.'
    )
  sentence_rows.marks(request)
  sources.check_length(request.length, MARKS + 1)
  if len(store.offsets) < 3:
    raise UserError(
      'The text has one document only, so there is no other for the second of a'
      " pair to be from. Give more, or set config.data.packing to 'sentences'."
    )
  ends = sentence_rows.sentence_ends(store)
  documents = np.searchsorted(ends, store.offsets[1:], 'left') + 1
  documents = np.concatenate([[0], documents])
  room = request.length - MARKS
  share = request.short_seq_prob
  least = 1 if request.pair == 'next_sentence' else 2
  # A single pass has one plan; without duplicates, all epochs share one.
  versions = 1 if request.seed is None else max(1, request.duplicates)

  def plan() -> Int64[np.ndarray, 'C 3']:
    chunks = itertools.chain.from_iterable(
      gather(ends, documents, room, share, least, version)
      for version in range(versions)
    )
    return np.fromiter(chunks, np.dtype((np.int64, 3)))

  name = f'pairs-{room}-{share:g}-{least}-{versions}.npy'
  chunks = sentence_rows.kept(store.directory / name, plan)
  if not len(chunks):
    raise UserError(
      'No document has two sentences, so there are none whose order could be'
      " asked for. Give other text, or set config.data.pair to 'next_sentence'."
    )
  # All versions are rows of one epoch, so each row has one version.
  request = request._replace(duplicates=min(request.duplicates, 1))
  return Pairs(store, request, ends, documents, chunks)


def gather(
  ends: Int[np.ndarray, 'E'],
  documents: Int[np.ndarray, 'O'],
  room: int,
  short_seq_prob: float,
  least: int,
  version: int = 0,
) -> Iterator[tuple[int, int, int]]:
  """Yields chunks: sentences of one document that fill a row, or part of one.

  Args:
    ends: Where each sentence ends in the stream.
    documents: The first sentence of each document, then the end of the last.
    room: The tokens of a row besides its special tokens.
    short_seq_prob: How often a document has a shorter target, from 2 tokens on.
    least: The least number of sentences in a chunk.
    version: The number of this plan, if there are several.
  """
  starts = np.concatenate([[0], ends])
  number = np.arange(len(documents) - 1)
  short = randomness.uniform(version, 'short', number) < short_seq_prob
  drawn = randomness.integers(version, 'target', number, max(room - 1, 1))
  targets = np.where(short, 2 + drawn, room).tolist()
  for target, (begin, end) in zip(
    targets, itertools.pairwise(documents.tolist())
  ):
    first = begin
    while first < end:
      # Up to the sentence that reaches the target.
      last = int(np.searchsorted(ends, starts[first] + target, 'left')) + 1
      last = min(max(last, first + 1), end)
      if last - first >= least:
        yield first, last, target
      first = last
