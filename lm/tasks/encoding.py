"""Texts as rows of tokens with offsets, between a family's special tokens.

The special tokens are called marks here. By family:

    BERT      [CLS] a a [SEP] b b [SEP]
    RoBERTa   <s> a a </s> </s> b b </s>
    GPT, T5   a a <end> b b <end>
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from absl import logging
from jaxtyping import Int

from lm.data.buckets import Ragged
from lm.data.tokenizers import Tokenizer
from lm.types import Form, UserError

MARK = -1  # In `Row.text`: a token that belongs to neither text.


class Row(NamedTuple):
  """One or two texts as a model reads them.

  Attributes:
    tokens: The tokens, marks included.
    text: The text that each token belongs to: 0, 1 or `MARK`.
    start: Where it begins in that text, in characters; 0 for marks.
    end: Where it ends.
    lost: The number of tokens that did not fit.
  """

  tokens: Int[np.ndarray, 'L']
  text: Int[np.ndarray, 'L']
  start: Int[np.ndarray, 'L']
  end: Int[np.ndarray, 'L']
  lost: int

  @property
  def token_types(self) -> Int[np.ndarray, 'L']:
    """The text of each token, 0 or 1; marks belong to the one before."""
    kinds = np.where(self.text == MARK, 0, self.text)
    return np.maximum.accumulate(kinds).astype(np.int32)


class Pieces(NamedTuple):
  """The tokens of a text, without marks; the fields are as in `Row`."""

  tokens: Int[np.ndarray, 'N']
  start: Int[np.ndarray, 'N']
  end: Int[np.ndarray, 'N']

  def cut(self, begin: int | np.integer, stop: int | np.integer) -> 'Pieces':
    """Returns tokens `begin` to `stop`."""
    return Pieces(*(column[begin:stop] for column in self))


def pieces(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Pieces]:
  """Returns the tokens of each text with their offsets in characters."""
  made = []
  for encoding in tokenizer.encode_batch(texts):
    places = np.array(encoding.offsets, np.int32).reshape(-1, 2)
    tokens = np.array(encoding.ids, np.int32)
    made.append(Pieces(tokens, places[:, 0], places[:, 1]))
  return made


class Marks(NamedTuple):
  """The tokens before, between and after two texts."""

  first: tuple[int, ...]
  between: tuple[int, ...]
  last: tuple[int, ...]

  def taken(self, pair: bool) -> int:
    """Returns the number of tokens they take."""
    between = len(self.between) if pair else 0
    return len(self.first) + between + len(self.last)


def marks(tokenizer: Tokenizer, form: Form) -> Marks:
  """Returns the marks of a family of models.

  Raises:
    UserError: The tokenizer has none.
  """
  vocabulary = tokenizer.vocabulary
  end = tokenizer.end_id
  if form == 'bidirectional':
    if vocabulary.marks is None:
      raise UserError(
        'The tokenizer has no marks to put around a text. Set'
        " config.data.tokenizer to 'wordpiece' or 'roberta'."
      )
    begin, end = vocabulary.marks
    twice = tokenizer.kind == 'roberta'
    return Marks((begin,), (end, end) if twice else (end,), (end,))
  if end is None:
    raise UserError(
      'The tokenizer has no token that ends a text, which a decoder would read'
      " its answer from. Set config.data.tokenizer to 'bpe' or 'unigram'."
    )
  return Marks((), (end,), (end,))


def row(
  marks: Marks,
  first: Pieces,
  second: Pieces | None,
  length: int,
  cut: Literal['longer', 'second'] = 'longer',
) -> Row:
  """Returns one or two texts as a row of at most `length` tokens.

  Args:
    marks: Those of the family.
    first: A text.
    second: The text after it; None means nothing.
    length: The most tokens, marks included.
    cut: Which text to truncate if both do not fit: 'longer', token by token,
      whichever is longer (the code of Devlin et al. 2019), or only 'second'.
  """
  room = length - marks.taken(second is not None)
  sizes = [len(first.tokens), 0 if second is None else len(second.tokens)]
  whole = sum(sizes)
  if cut == 'second':
    sizes[1] = min(sizes[1], room - sizes[0])
  else:  # Each gets half of the room, or whatever the other leaves.
    half = room // 2
    sizes[0], sizes[1] = (
      min(sizes[0], max(room - half, room - sizes[1])),
      min(sizes[1], max(half, room - sizes[0])),
    )
  if min(sizes) < 0 or room < 1:
    raise UserError(
      f'A row of {length} tokens has no room for its texts. Set'
      ' config.data.length higher.'
    )
  parts = [_marked(marks.first), _of(first.cut(0, sizes[0]), 0)]
  if second is not None:
    parts += [_marked(marks.between), _of(second.cut(0, sizes[1]), 1)]
  parts.append(_marked(marks.last))
  columns = (np.concatenate(column) for column in zip(*parts))
  return Row(*columns, lost=whole - sum(sizes))


def _marked(ids):
  size = len(ids)
  zeros = np.zeros(size, np.int32)
  kind = np.full(size, MARK, np.int32)
  return np.array(ids, np.int32).reshape(-1), kind, zeros, zeros


def _of(pieces, number):
  kind = np.full(len(pieces.tokens), number, np.int32)
  return pieces.tokens, kind, pieces.start, pieces.end


def columns(rows: Sequence[Row]) -> dict[str, Ragged]:
  """Returns the model's inputs for rows, as columns of a table."""
  return {
    'tokens': Ragged.of([row.tokens for row in rows]),
    'token_types': Ragged.of([row.token_types for row in rows]),
  }


def say_lost(rows: Sequence[Row], length: int) -> None:
  """Logs how many rows were truncated, if any were."""
  cut = [row.lost for row in rows if row.lost]
  if cut:
    logging.info(
      'Of %d texts %d are longer than the %d tokens of config.data.length, and'
      ' lose %d tokens.',
      len(rows),
      len(cut),
      length,
      sum(cut),
    )
