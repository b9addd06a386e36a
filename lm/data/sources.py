"""Examples from a token store, with O(1) access to an endless shuffled stream.

The index of an example is the only state. With a seed the stream is endless:
each example once per epoch, each epoch in another order. Without one it is a
single pass in order, for evaluation, and indices past its end give filler.
"""

import dataclasses
import functools
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int

from lm.data import randomness
from lm.data.packing import OVERLAP, Plan
from lm.data.token_store import TokenStore
from lm.data.tokenization import WORD_START
from lm.types import Examples, UserError, Vocabulary


@runtime_checkable
class Source(Protocol):
  """A source of examples."""

  @property
  def size(self) -> int:
    """How many examples an epoch has."""

  def examples_at(self, index: Int[np.ndarray, 'B']) -> Examples:
    """Returns the examples with these indices; all arrays are `[B, length]`.

    `tokens`, `valid` (False on filler) and, if requested, `bytes` (of text that
    a token stands for) and `word_starts`; for packed documents also
    `segment_ids` (from 1; 0 on filler) and `positions` (which restart with
    every segment); for pairs `token_types` and, `[B]`, `next_sentence`.
    """

  def draws(self, index: Int[np.ndarray, 'B']) -> Int[np.ndarray, 'B']:
    """Returns the counter that each example's randomness is drawn from."""


class Request(NamedTuple):
  """What is requested of a source, whichever it is.

  Attributes:
    length: Tokens per example.
    seed: Seed of the order; None for a single pass in order.
    reads: What an example has besides `tokens` and `valid`: `bytes`,
      `word_starts`.
    vocabulary: The vocabulary, for the special tokens between texts.
    duplicates: Versions of a row, one per epoch, before the first is repeated:
      BERT's static masks; 0 means a new version in each epoch.
    pair: How a pair of texts is altered: the second is replaced, or the two are
      swapped.
    short_seq_prob: The share of documents whose pairs are shorter than a row.
    marks: Whether packed documents stand between special tokens, and share no
      token.
  """

  length: int
  seed: int | None = None
  reads: tuple[str, ...] = ()
  vocabulary: Vocabulary = Vocabulary(0)
  duplicates: int = 0
  pair: str = 'next_sentence'
  short_seq_prob: float = 0.1
  marks: bool = False


class Placed(NamedTuple):
  """The rows of some examples.

  Attributes:
    row: The number of the row; in range even if there is none.
    epoch: The epoch, or the version of the row.
    real: False past the end of a single pass.
  """

  row: Int[np.ndarray, 'B']
  epoch: Int[np.ndarray, 'B']
  real: Bool[np.ndarray, 'B']


@dataclasses.dataclass(frozen=True)
class Rows:
  """The rows of a store in the requested order: what all sources share."""

  store: TokenStore
  request: Request

  @property
  def size(self) -> int:
    raise NotImplementedError

  def place(self, index: Int[np.ndarray, 'B']) -> Placed:
    """Returns the row of each example."""
    size, request = self.size, self.request
    if request.seed is None:
      row = np.minimum(index, size - 1)
      return Placed(row, np.zeros_like(index), index < size)
    epoch, slot = np.divmod(index, size)
    row = randomness.permute(slot, size, request.seed, epoch)
    if request.duplicates:
      epoch = epoch % request.duplicates
    return Placed(row, epoch, np.ones(len(index), bool))

  def draws(self, index: Int[np.ndarray, 'B']) -> Int[np.ndarray, 'B']:
    """Returns the counter of each example: its index, or its row's version."""
    if self.request.seed is None or not self.request.duplicates:
      return index
    row, version, _ = self.place(index)
    return version * self.size + row


class Windows(Rows):
  """Windows over the stream of all tokens, across document boundaries.

  Windows of 4 tokens over 9: the last token of one is the first of the next,
  so every token but the very first is a target once. The last one is padded.

      0 1 2 3 | 3 4 5 6 | 6 7 8 .

  With a seed only full windows are used, one fewer than there are, and each
  epoch shifts all of them by a random offset. So no token is always at the same
  position, nor left out in every epoch.
  """

  @functools.cached_property
  def size(self) -> int:
    asked = len(self.store.tokens) - OVERLAP
    stride = self.request.length - OVERLAP
    if self.request.seed is None:
      return -(-asked // stride)
    return max(1, asked // stride - 1)  # One fewer, for a shift by a stride.

  def examples_at(self, index: Int[np.ndarray, 'B']) -> Examples:
    length, seed = self.request.length, self.request.seed
    stride = length - OVERLAP
    row, epoch, real = self.place(index)
    start = row * stride
    if seed is not None:
      room = len(self.store.tokens) - OVERLAP - self.size * stride
      start += randomness.integers(seed, 'window', epoch, room + 1)
    places = start[:, None] + np.arange(length)
    within = places < len(self.store.tokens)
    return read(self.store, self.request, places, within & real[:, None])


@dataclasses.dataclass(frozen=True)
class Packed(Rows):
  """Rows of whole documents; those longer than a row are cut.

  Documents a a a, b b and c c c c c in rows of 6 tokens:

      tokens       a a a b b .    c c c c c .
      segment_ids  1 1 1 2 2 0    1 1 1 1 1 0
      positions    0 1 2 0 1 0    0 1 2 3 4 0

  With special tokens, for a bidirectional model, and documents a a and b:

      tokens       [CLS] a a [SEP] [CLS] b [SEP] .
      segment_ids    1   1 1   1     2   2   2   0
      positions      0   1 2   3     0   1   2   0

  Attributes:
    plan: Which documents share a row.
    marks: The ids that begin and end each of them; () means none.
  """

  plan: Plan
  marks: tuple[int, ...] = ()

  @property
  def size(self) -> int:
    return self.plan.size

  def examples_at(self, index: Int[np.ndarray, 'B']) -> Examples:
    row, _, real = self.place(index)
    first = self.plan.rows[row]
    counts = np.where(real, self.plan.rows[row + 1] - first, 0)
    number = count_up(counts)  # Of each piece within its row.
    piece = np.repeat(first, counts) + number
    starts, inner = self.plan.starts[piece], self.plan.sizes[piece]
    sizes = inner + len(self.marks)
    fill = np.bincount(np.repeat(np.arange(len(row)), counts), sizes, len(row))
    valid = np.arange(self.request.length) < fill[:, None]

    def spread(flat):
      rows = np.zeros(valid.shape, np.int64)
      rows[valid] = flat
      return rows

    position = count_up(sizes)
    places = np.repeat(starts, sizes) + position
    if self.marks:
      begin, end = self.marks
      text = (position > 0) & (position <= np.repeat(inner, sizes))
      mark = np.where(position == 0, begin, end)
      examples = read_marked(
        self.store,
        self.request,
        spread(places - 1),
        spread(text) > 0,
        spread(mark),
        valid,
      )
    else:
      examples = read(self.store, self.request, spread(places), valid)
    return {
      **examples,
      'segment_ids': spread(np.repeat(number + 1, sizes)).astype(np.int32),
      'positions': spread(position).astype(np.int32),
    }


def windows(store: TokenStore, request: Request) -> Windows:
  """Returns windows over the text; see `Windows`.

  Raises:
    UserError: The text is shorter than one window.
  """
  check_length(request.length, OVERLAP)
  tokens = len(store.tokens)
  if tokens < (OVERLAP + 1 if request.seed is None else request.length):
    raise UserError(
      f'The text has {tokens} tokens, fewer than one window of'
      f' {request.length}. Give more text, or set config.data.length lower.'
    )
  return Windows(store, request)


def packed(store: TokenStore, request: Request) -> Packed:
  """Returns rows of whole documents; see `Packed`.

  Raises:
    UserError: No document has two tokens.
  """
  if request.marks:
    marks = request.vocabulary.marks or ()
    check_length(request.length, len(marks))
    plan = store.packing(request.length, overlap=0, marks=len(marks))
    return Packed(store, request, plan, marks)
  check_length(request.length, OVERLAP)
  plan = store.packing(request.length)
  if not plan.size:
    raise UserError(
      f'None of the {len(store.offsets) - 1} documents of the text has more'
      ' than one token, so there is nothing to ask for. Give more text, or set'
      " config.data.packing to 'windows'."
    )
  return Packed(store, request, plan)


def check_length(length: int, taken: int) -> None:
  """Raises UserError if a row has no room besides the `taken` tokens."""
  if length <= taken:
    raise UserError(
      f'An example would have {length} tokens, but to ask for one takes'
      f' {taken + 1}. Set config.data.length higher.'
    )


def count_up(counts: Int[np.ndarray, 'M']) -> Int[np.ndarray, 'N']:
  """Counts from 0 in each: 2 3 1 gives 0 1 0 1 2 0."""
  ends = np.cumsum(counts)
  return np.arange(counts.sum()) - np.repeat(ends - counts, counts)


def read(
  store: TokenStore,
  request: Request,
  places: Int[np.ndarray, 'B L'],
  valid: Bool[np.ndarray, 'B L'],
) -> dict[str, np.ndarray]:
  """Returns the arrays at `places` of the stream, filler where not `valid`."""
  places = np.where(valid, places, 0)
  tokens = store.tokens[places]
  examples = {
    'tokens': np.where(valid, tokens, 0).astype(np.int32),
    'valid': valid,
  }
  if 'bytes' in request.reads:
    counts = store.bytes_of(places, tokens)
    examples['bytes'] = np.where(valid, counts, 0).astype(np.int32)
  if 'word_starts' in request.reads:
    examples['word_starts'] = store.marks[places] & WORD_START > 0
  return examples


def read_marked(
  store: TokenStore,
  request: Request,
  places: Int[np.ndarray, 'B L'],
  text: Bool[np.ndarray, 'B L'],
  marks: Int[np.ndarray, '#B L'],
  valid: Bool[np.ndarray, 'B L'],
) -> dict[str, np.ndarray]:
  """Returns the arrays at `places` where `text`, and `marks` elsewhere.

  Each mark is a word of its own; where not `valid`, there is filler.
  """
  examples = read(store, request, places, text)
  tokens = np.where(text, examples['tokens'], marks * valid)
  examples |= {'tokens': tokens.astype(np.int32), 'valid': valid}
  if 'word_starts' in examples:
    examples['word_starts'] |= ~text
  return examples
