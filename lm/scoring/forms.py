"""Forms of scoring: how a model of each kind measures the likelihood of a text.

Each form turns a text, of which some tokens are scored, into rows. With the
text `the cat sat down`, of which `cat sat` is scored:

    left_to_right  the → cat → sat → down, scored at the last three; if nothing
                   precedes the scored tokens, the token that begins or ends
                   texts is put there
    pll            the [M] sat down, the cat [M] down
    pll_word_l2r   the same, also masking all later tokens of the same word
    spans          the <0> down   and its decoder:  <0> cat sat <1>
    target         the            and its decoder:  cat sat
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from flax import linen as nn
from jaxtyping import Bool, Int

from lm.objectives.denoising import end_of
from lm.scoring.batches import Row, Tokens
from lm.types import Form, UserError, Vocabulary


class Piece(NamedTuple):
  """A text as tokens, and which of them are scored.

  Attributes:
    tokens: Those of the whole text, without special tokens.
    start: The first token that is scored.
    end: The token after the last that is scored.
    word_starts: Which tokens begin a word.
    alone: Whether the text is scored as a whole, with nothing around it.
    name: Its name in error messages.
  """

  tokens: Tokens
  start: int
  end: int
  word_starts: Bool[np.ndarray, '_']
  alone: bool
  name: str


class Reader(NamedTuple):
  """How a model reads tokens.

  Attributes:
    vocabulary: The vocabulary of the tokens.
    max_len: The most tokens that it reads at once.
    cut: Whether to truncate the text around the scored tokens if it is too
      long, instead of raising an error.
  """

  vocabulary: Vocabulary
  max_len: int
  cut: bool = False


def check(form: str, model: nn.Module, vocabulary: Vocabulary) -> None:
  """Raises UserError if a model cannot score in this form."""
  if form not in FORMS:
    raise UserError(
      f'There is no form {form!r} of scoring. Set it to one of'
      f' {", ".join(FORMS)}.'
    )
  needed = FORMS[form].of
  if model.form != needed:
    fitting = [name for name, kind in FORMS.items() if kind.of == model.form]
    advice = f'Set it to {" or ".join(fitting)}.' if fitting else 'None does.'
    raise UserError(
      f'The form of scoring is {form!r}, which asks a model whose form is'
      f' {needed!r}; this one is {model.form!r}. {advice}'
    )
  if needed == 'bidirectional' and vocabulary.mask_id is None:
    raise UserError(
      f'The form of scoring is {form!r}, which masks tokens, but the tokenizer'
      ' has no token that masks. Use a model with one, as BERT or RoBERTa has.'
    )
  if form == 'spans' and len(vocabulary.sentinel_ids) < 2:
    raise UserError(
      "The form of scoring is 'spans', which takes words out, but the tokenizer"
      " has no sentinels as <extra_id_0>. Set it to 'target'."
    )


def default(
  form: Form, vocabulary: Vocabulary, objective: str | None = None
) -> str:
  """Returns the form of scoring that fits a model and its objective.

  Args:
    form: The form of the model.
    vocabulary: The vocabulary of its tokenizer.
    objective: The name of its training objective; None if unknown.
  """
  if form == 'causal':
    return 'left_to_right'
  if form == 'bidirectional':
    return 'pll_word_l2r'
  takes_spans_out = objective in (None, *TAKE_SPANS_OUT)
  has_sentinels = len(vocabulary.sentinel_ids) > 1
  return 'spans' if takes_spans_out and has_sentinels else 'target'


def prefix_id(vocabulary: Vocabulary) -> int | None:
  """Returns the token that the first of a text is conditioned on, if any."""
  ids = (vocabulary.bos_id, vocabulary.eos_id, vocabulary.sep_id)
  return next((id for id in ids if id is not None), None)


def is_conditioned(piece: Piece, vocabulary: Vocabulary) -> bool:
  """Whether there is a token before the first scored one to condition on.

  A text that already begins with the prefix token does not get another.
  """
  prefix = prefix_id(vocabulary)
  return piece.start > 0 or prefix not in (None, piece.tokens[0])


def _left_to_right(piece: Piece, reader: Reader, owner: int) -> Iterator[Row]:
  """Scores every token from the first scored one on, given all before it."""
  tokens, first = piece.tokens, piece.start
  if first == 0:
    tokens = np.append(np.int32(prefix_id(reader.vocabulary)), tokens)
    first = 1
  spare = _over(piece, reader, len(tokens) - 1, len(tokens) - first)
  tokens, first = tokens[spare:], first - spare
  if first < len(tokens):
    places = np.arange(first - 1, len(tokens) - 1, dtype=np.int32)
    yield Row(owner, tokens[:-1], places, tokens[first:])


def _pll(piece: Piece, reader: Reader, owner: int) -> Iterator[Row]:
  """Scores each token given all others (Salazar et al. 2020, 2.1)."""
  yield from _masked(piece, reader, owner, np.arange(len(piece.tokens)) + 1)


def _pll_word_l2r(piece: Piece, reader: Reader, owner: int) -> Iterator[Row]:
  """As `_pll`, but masks later tokens of its word (Kauf and Ivanova 2023)."""
  yield from _masked(piece, reader, owner, _word_ends(piece))


def _masked(
  piece: Piece, reader: Reader, owner: int, hidden_to: Int[np.ndarray, '_']
) -> Iterator[Row]:
  """Yields a row for each scored token.

  Args:
    piece: The text.
    reader: How it is read.
    owner: The owner of the rows.
    hidden_to: The end of the tokens that are masked with each token.
  """
  marks = reader.vocabulary.marks or ()
  room, asked = reader.max_len - len(marks), piece.end - piece.start
  low, high = _around(
    piece, _over(piece, reader, len(piece.tokens), asked, room)
  )
  tokens = piece.tokens[low:high]
  if marks:
    tokens = np.array([marks[0], *tokens, marks[1]], np.int32)
  shift = bool(marks) - low
  for place in range(piece.start, piece.end):
    row = tokens.copy()
    row[place + shift : hidden_to[place] + shift] = reader.vocabulary.mask_id
    at = np.array([place + shift], np.int32)
    yield Row(owner, row, at, piece.tokens[place : place + 1])


def _spans(piece: Piece, reader: Reader, owner: int) -> Iterator[Row]:
  """Scores tokens as T5 would write them in place of a sentinel.

  They are one span; in a text that is scored as a whole, each word is one, as
  there is nothing else around it. The mark that ends a span is scored too, lest
  a word be as likely as all that begin with it.
  """
  spans = [(piece.start, piece.end)]
  if piece.alone:
    starts = np.flatnonzero(piece.word_starts).tolist()
    spans = [*zip(starts, [*starts[1:], len(piece.tokens)])]
  vocabulary = reader.vocabulary
  mark, following = vocabulary.sentinel_ids[:2]
  end = end_of(vocabulary)
  for start, stop in spans:
    one = piece._replace(start=start, end=stop)
    # The decoder reads its start token, <0> and the span.
    _over(one, reader, stop - start + 2, stop - start + 2)
    size = len(piece.tokens) - (stop - start) + 2
    low, high = _around(one, _over(one, reader, size, 2))
    source = [*piece.tokens[low:start], mark, *piece.tokens[stop:high], end]
    closing = following if stop < len(piece.tokens) else end
    span = piece.tokens[start:stop]
    read = np.array([vocabulary.start_id, mark, *span], np.int32)
    places = np.arange(1, len(read), dtype=np.int32)
    targets = np.append(span, np.int32(closing))
    yield Row(owner, read, places, targets, np.array(source, np.int32))


def _target(piece: Piece, reader: Reader, owner: int) -> Iterator[Row]:
  """Scores tokens as written by the decoder, with all before as the source."""
  target = piece.tokens[piece.start :]
  _over(piece, reader, len(target), len(target))
  spare = _over(piece, reader, piece.start + 1, 1)
  end = np.int32(end_of(reader.vocabulary))
  source = np.append(piece.tokens[spare : piece.start], end)
  read = np.append(np.int32(reader.vocabulary.start_id), target[:-1])
  places = np.arange(len(target), dtype=np.int32)
  yield Row(owner, read, places, target, source)


def _word_ends(piece: Piece) -> Int[np.ndarray, '_']:
  """Returns the end of each token's word, at most that of the scored part."""
  size = len(piece.tokens)
  starts = np.append(np.flatnonzero(piece.word_starts), size)
  ends = starts[np.searchsorted(starts, np.arange(size), side='right')]
  return np.minimum(ends, max(piece.end, 1))


def _over(
  piece: Piece, reader: Reader, size: int, asked: int, room: int | None = None
) -> int:
  """Returns the number of tokens in excess.

  Raises:
    UserError: There are some, and they may not or cannot be truncated.
  """
  room = reader.max_len if room is None else room
  if size > room and (asked > room or not reader.cut):
    advice = 'Give a shorter one.'
    if asked <= room:
      advice = 'Give a shorter one, or let what is around it be cut.'
    raise UserError(
      f'{piece.name} has {size} tokens to be read at once, and the model reads'
      f' {room} beside what it is marked with. {advice}'
    )
  return max(0, size - room)


def _around(piece: Piece, spare: int) -> tuple[int, int]:
  """Returns the bounds of a text after dropping `spare` tokens from it.

  It loses its beginning, and its end only if that is not enough.
  """
  low = min(piece.start, spare)
  return low, len(piece.tokens) - (spare - low)


class Kind(NamedTuple):
  """A form of scoring.

  Attributes:
    of: The form of the models that it is for.
    rows: Makes the rows, from `(piece, reader, owner)`.
    to_end: Whether the tokens after the scored ones are scored with them.
    apart: Whether they are tokenized separately from what precedes them.
  """

  of: Form
  rows: Callable[[Piece, Reader, int], Iterator[Row]]
  to_end: bool = False
  apart: bool = False


FORMS = {
  'left_to_right': Kind('causal', _left_to_right, to_end=True),
  'pll': Kind('bidirectional', _pll),
  'pll_word_l2r': Kind('bidirectional', _pll_word_l2r),
  'spans': Kind('encoder_decoder', _spans),
  'target': Kind('encoder_decoder', _target, apart=True),
}
# Objectives whose decoder writes the spans that sentinels replace.
TAKE_SPANS_OUT = ('span_corruption', 'iid_denoising', 'ul2')
