"""Turns text into arrays of tokens: pieces of documents, tokenized together."""

import functools
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import tokenizers
from jaxtyping import Bool, Int, Integer, UInt8, UInt16

from lm.data import sentences, token_tables
from lm.data.tokenizers import Tokenizer
from lm.types import UserError

# Characters that are tokenized together, during which each token takes about
# 150 bytes of memory.
CHUNK = 1 << 20
CONTEXT = 1000  # Characters on both sides that a cut must not affect.

WORD_START, SENTENCE_END = 1, 2  # Bits of a token's marks.

_GAP = '\n\n'  # Joins pieces to find sentences: it ends one.
_LINE = re.compile(r'\n(?=\s*\S)')


class Chunk(NamedTuple):
  """Pieces of text that are tokenized together.

  Attributes:
    texts: Documents, and parts of large ones.
    ends_document: Whether each is a whole document or the last part of one.
  """

  texts: list[str]
  ends_document: list[bool]


class Tokenized(NamedTuple):
  """The tokens of some pieces, with the bytes and marks of each.

  Attributes:
    tokens: The tokens of all pieces, concatenated.
    byte_counts: How many UTF-8 bytes each token stands for, with any text that
      was dropped before it or, at the end, after it; at most 65535.
    marks: `WORD_START` where a token begins a word, and `SENTENCE_END` where a
      sentence ends in it.
    sizes: The number of tokens of each piece that has any.
    ends_document: Whether each of these pieces ends a document.
  """

  tokens: Integer[np.ndarray, 'N']
  byte_counts: UInt16[np.ndarray, 'N']
  marks: UInt8[np.ndarray, 'N']
  sizes: Int[np.ndarray, 'P']
  ends_document: Bool[np.ndarray, 'P']


def check_end(tokenizer: Tokenizer, end_of_text: bool) -> None:
  """Raises UserError if documents should get an end token, but none exists."""
  if end_of_text and tokenizer.end_id is None:
    raise UserError(
      'config.data.end_of_text is True, but the tokenizer has no token that'
      ' ends a text. Set it to False, or use another config.data.tokenizer.'
    )


def chunks(documents: Iterable[str], tokenizer: Tokenizer) -> Iterator[Chunk]:
  """Yields the documents in chunks of about `CHUNK` characters."""
  chunk, size = Chunk([], []), 0
  for document in documents:
    pieces = cut(document, tokenizer)
    for number, text in enumerate(pieces, start=1):
      chunk.texts.append(text)
      chunk.ends_document.append(number == len(pieces))
      size += len(text) + 100  # Each text has a cost besides its characters.
      if size >= CHUNK:
        yield chunk
        chunk, size = Chunk([], []), 0
  if chunk.texts:
    yield chunk


def cut(document: str, tokenizer: Tokenizer) -> list[str]:
  """Splits a document into pieces of about `CHUNK` characters.

  It is cut before the end of a line, and only where that changes no token,
  judging by the text around it; otherwise the rest stays whole.
  """
  pieces, start = [], 0
  while len(document) - start > 2 * CHUNK:
    lines = _LINE.finditer(document, start + CHUNK)
    places = (line.start() for line in itertools.islice(lines, 10))
    place = next((p for p in places if _is_safe(document, p, tokenizer)), None)
    if place is None:
      break
    pieces.append(document[start:place])
    start = place
  return [*pieces, document[start:]]


def _is_safe(document: str, place: int, tokenizer: Tokenizer) -> bool:
  before = document[place - CONTEXT : place]
  after = document[place : place + CONTEXT]
  texts = [before, after, before + after]
  one, other, both = tokenizer.encode_batch(texts, offsets=False)
  return one.ids + other.ids == both.ids


def tokenize(
  chunk: Chunk,
  tokenizer: Tokenizer,
  end_of_text: bool,
  words: str = 'tokenizer',
) -> Tokenized:
  """Tokenizes a chunk.

  Args:
    chunk: The text. Pieces without tokens, such as empty ones, are left out.
    tokenizer: The tokenizer.
    end_of_text: Whether its `end_id` follows every document.
    words: Where words begin: as the `tokenizer` decides, or after `spaces`.
  """
  exact = tokenizer.bytes_of_id is not None
  encodings = tokenizer.encode_batch(chunk.texts, offsets=not exact)
  texts = list(itertools.compress(chunk.texts, encodings))
  ends_document = list(itertools.compress(chunk.ends_document, encodings))
  encodings = list(filter(None, encodings))
  sizes = np.array([len(encoding) for encoding in encodings], np.int64)
  ids = itertools.chain.from_iterable(encoding.ids for encoding in encodings)
  tokens = np.fromiter(ids, np.uint32, sizes.sum())
  _check_ids(tokens, tokenizer)
  last = np.cumsum(sizes) - 1

  text = ''.join(one + _GAP for one in texts)
  lengths = np.array([len(one) + len(_GAP) for one in texts], np.int64)
  text_ends = _bytes_before(text, np.cumsum(lengths))
  gaps = len(_GAP) * np.arange(1, len(texts) + 1)
  byte_counts = _byte_counts(
    tokens, last, texts, text_ends - gaps, encodings, tokenizer
  )
  token_ends = np.cumsum(byte_counts) + np.repeat(gaps - len(_GAP), sizes)
  token_ends[last] = text_ends

  if words == 'spaces':
    starts = _after_spaces(text, np.concatenate([[0], token_ends[:-1]]))
  else:
    starts = tokenizer.word_starts(tokens)
  marks = _marks(starts, last, text, token_ends)

  byte_counts[_is_mark(tokenizer)[tokens]] = 0
  byte_counts = np.minimum(byte_counts, 65535).astype(np.uint16)
  arrays = (tokens.astype(token_type(tokenizer)), byte_counts, marks)
  ends_document = np.array(ends_document, bool)
  if end_of_text:
    places = last[ends_document] + 1
    values = (tokenizer.end_id, 0, 0)
    arrays = tuple(map(np.insert, arrays, itertools.repeat(places), values))
    sizes += ends_document
  return Tokenized(*arrays, sizes, ends_document)


def token_type(tokenizer: Tokenizer) -> type[np.unsignedinteger]:
  """Returns the smallest dtype that holds all ids."""
  return np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32


def _bytes_before(
  text: str, places: Int[np.ndarray, 'P']
) -> Int[np.ndarray, 'P']:
  """Returns the byte offsets of characters in the UTF-8 of a text."""
  if text.isascii():
    return places
  codes = np.frombuffer(text.encode('utf-32-le'), np.uint32)
  wide = np.flatnonzero(codes >= 1 << 7)
  extra = np.searchsorted([1 << 7, 1 << 11, 1 << 16], codes[wide], 'right')
  return places + np.append(0, np.cumsum(extra))[np.searchsorted(wide, places)]


def _byte_counts(
  tokens: Integer[np.ndarray, 'N'],
  last: Int[np.ndarray, 'P'],
  texts: list[str],
  text_ends: Int[np.ndarray, 'P'],
  encodings: list[tokenizers.Encoding],
  tokenizer: Tokenizer,
) -> Int[np.ndarray, 'N']:
  """Returns how many bytes of the text each token takes up.

  Args:
    tokens: The tokens of all texts.
    last: The index of the last token of each text.
    texts: The texts that were tokenized.
    text_ends: Where each text ends, in bytes.
    encodings: Their encodings, with offsets if there is no `bytes_of_id`.
    tokenizer: The tokenizer that made them.
  """
  if tokenizer.bytes_of_id is not None:
    counts = _bytes_taken(tokenizer)[tokens]
    if np.array_equal(np.cumsum(counts)[last], text_ends):
      return counts
    # A special token in a text took the spaces beside it.
    encodings = tokenizer.encode_batch(texts)
  offsets = (encoding.offsets for encoding in encodings)
  parts = map(token_tables.byte_lengths, texts, offsets)
  return np.concatenate([np.zeros(0, np.int64), *parts])


def _after_spaces(
  text: str, places: Int[np.ndarray, 'N']
) -> Bool[np.ndarray, 'N']:
  """Returns which byte offsets of a text are white space."""
  code = np.frombuffer(text.encode(), np.uint8)
  return np.isin(code[np.minimum(places, len(code) - 1)], list(b' \t\n\r'))


def _marks(
  starts: Bool[np.ndarray, 'N'],
  last: Int[np.ndarray, 'P'],
  text: str,
  token_ends: Int[np.ndarray, 'N'],
) -> UInt8[np.ndarray, 'N']:
  """Returns the marks of tokens, given the byte offsets of their ends."""
  starts[:1] = True
  starts[last[:-1] + 1] = True  # The first token of every text.
  marks = np.where(starts, np.uint8(WORD_START), np.uint8(0))
  stops = _bytes_before(text, np.array(sentences.ends(text), np.int64))
  marks[np.searchsorted(token_ends, stops, side='right')] |= SENTENCE_END
  return marks


@functools.lru_cache(maxsize=1)
def _is_mark(tokenizer: Tokenizer) -> Bool[np.ndarray, 'V']:
  """Which ids stand for no text: all special ones except the unknown token."""
  is_mark = np.zeros(tokenizer.vocab_size, bool)
  is_mark[list(tokenizer.special_ids - {tokenizer.unk_id})] = True
  return is_mark


@functools.lru_cache(maxsize=1)
def _bytes_taken(tokenizer: Tokenizer) -> Int[np.ndarray, 'V']:
  """`bytes_of_id`, but with the bytes that special tokens are written with."""
  sizes = tokenizer.bytes_of_id.astype(np.int64)
  for id in tokenizer.special_ids:
    sizes[id] = len(tokenizer.pipeline.id_to_token(id).encode())
  return sizes


def _check_ids(tokens: Integer[np.ndarray, 'N'], tokenizer: Tokenizer) -> None:
  largest = int(tokens.max(initial=0))
  if largest >= tokenizer.vocab_size:
    raise UserError(
      f'The tokenizer gave id {largest}, but its vocabulary has'
      f' {tokenizer.vocab_size} ids, from 0 on. Its files do not belong'
      ' together: check config.data.tokenizer.'
    )
