"""Text into arrays of tokens: pieces of documents, tokenized together."""

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

# Characters that are tokenized together. While they are, each token takes some
# 150 bytes of memory.
CHUNK = 1 << 20
CONTEXT = 1000  # Characters on both sides of a cut that must not notice it.

WORD_START, SENTENCE_END = 1, 2  # Bits of a token's marks.

_GAP = '\n\n'  # Between pieces while sentences are found: it ends one.
_LINE = re.compile(r'\n(?=\s*\S)')


class Piece(NamedTuple):
  """A document, or a part of a large one."""

  text: str
  ends_document: bool


class Tokenized(NamedTuple):
  """What becomes of some pieces.

  Attributes:
    tokens: Of all pieces, one after another.
    byte_counts: How many bytes of UTF-8 each token stands for, with what was
      left out before it, and after the last one; at most 65535.
    marks: `WORD_START` where a token begins a word, and `SENTENCE_END` where a
      sentence ends in it.
    sizes: The tokens of each piece that has any.
    ends_document: Of each of these.
  """

  tokens: Integer[np.ndarray, 'N']
  byte_counts: UInt16[np.ndarray, 'N']
  marks: UInt8[np.ndarray, 'N']
  sizes: Int[np.ndarray, 'P']
  ends_document: Bool[np.ndarray, 'P']


def chunks(
  documents: Iterable[str], tokenizer: Tokenizer
) -> Iterator[list[Piece]]:
  """Yields the documents in lists of about `CHUNK` characters."""
  chunk, size = [], 0
  for document in documents:
    for piece in cut(document, tokenizer):
      chunk.append(piece)
      size += len(piece.text) + 100  # Short ones cost more than their text.
      if size >= CHUNK:
        yield chunk
        chunk, size = [], 0
  if chunk:
    yield chunk


def cut(document: str, tokenizer: Tokenizer) -> Iterator[Piece]:
  """Yields a document in pieces of about `CHUNK` characters.

  It is cut before the end of a line, and only where that changes no token, as
  the text around it shows; else it stays whole.
  """
  start = 0
  while len(document) - start > 2 * CHUNK:
    lines = _LINE.finditer(document, start + CHUNK)
    places = (line.start() for line in itertools.islice(lines, 10))
    place = next((p for p in places if _is_safe(document, p, tokenizer)), None)
    if place is None:
      break
    yield Piece(document[start:place], ends_document=False)
    start = place
  yield Piece(document[start:], ends_document=True)


def _is_safe(document: str, place: int, tokenizer: Tokenizer) -> bool:
  before = document[place - CONTEXT : place]
  after = document[place : place + CONTEXT]
  texts = [before, after, before + after]
  one, other, both = tokenizer.encode_batch(texts, offsets=False)
  return one.ids + other.ids == both.ids


def tokenize(
  pieces: list[Piece], tokenizer: Tokenizer, end_of_text: bool
) -> Tokenized:
  """Tokenizes some pieces.

  Args:
    pieces: The text. What has no tokens, such as empty documents, is left out.
    tokenizer: Cuts it into tokens.
    end_of_text: Whether its `eos_id` is put behind every document.
  """
  encodings = tokenizer.encode_batch(
    [piece.text for piece in pieces], offsets=tokenizer.bytes_of_id is None
  )
  pieces = list(itertools.compress(pieces, encodings))
  encodings = list(filter(None, encodings))
  tokens = _concatenate([encoding.ids for encoding in encodings], np.uint32)
  _check_ids(tokens, tokenizer)
  sizes = np.array([len(encoding) for encoding in encodings], np.int64)
  last = np.cumsum(sizes) - 1

  byte_counts = _byte_counts(tokens, pieces, encodings, tokenizer)
  ends = np.cumsum(byte_counts)
  ends += np.repeat(np.arange(len(sizes)) * len(_GAP), sizes)
  ends[last] += len(_GAP)
  byte_counts[_is_mark(tokenizer)[tokens]] = 0
  byte_counts = np.minimum(byte_counts, 65535).astype(np.uint16)

  starts = [tokenizer.word_starts(encoding) for encoding in encodings]
  marks = _concatenate(starts, np.uint8) * np.uint8(WORD_START)
  text = ''.join(piece.text + _GAP for piece in pieces)
  stops = _bytes_before(text, np.array(sentences.ends(text), np.int64))
  marks[np.searchsorted(ends, stops, side='right')] |= SENTENCE_END

  arrays = (tokens.astype(token_type(tokenizer)), byte_counts, marks)
  ends_document = np.array([piece.ends_document for piece in pieces], bool)
  if end_of_text:
    places = last[ends_document] + 1
    values = (tokenizer.eos_id, 0, 0)
    arrays = tuple(map(np.insert, arrays, itertools.repeat(places), values))
    sizes += ends_document
  return Tokenized(*arrays, sizes, ends_document)


def token_type(tokenizer: Tokenizer) -> type[np.unsignedinteger]:
  """Returns the smallest type that holds all ids."""
  return np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32


def _concatenate(
  parts: list, dtype: type[np.unsignedinteger]
) -> Integer[np.ndarray, 'N']:
  return np.concatenate([np.array(part, dtype) for part in ([], *parts)])


def _bytes_before(
  text: str, places: Int[np.ndarray, 'P']
) -> Int[np.ndarray, 'P']:
  """Returns where characters begin in the UTF-8 of a text."""
  if text.isascii():
    return places
  codes = np.frombuffer(text.encode('utf-32-le'), np.uint32)
  wide = np.flatnonzero(codes >= 1 << 7)
  extra = np.searchsorted([1 << 7, 1 << 11, 1 << 16], codes[wide], 'right')
  return places + np.append(0, np.cumsum(extra))[np.searchsorted(wide, places)]


def _byte_counts(
  tokens: Integer[np.ndarray, 'N'],
  pieces: list[Piece],
  encodings: list[tokenizers.Encoding],
  tokenizer: Tokenizer,
) -> Int[np.ndarray, 'N']:
  """Returns how many bytes of its piece each token takes up."""
  texts = [piece.text for piece in pieces]
  if tokenizer.bytes_of_id is not None:
    counts = _bytes_taken(tokenizer)[tokens]
    ends = np.cumsum([len(encoding) for encoding in encodings], dtype=int)
    whole = np.cumsum([len(text.encode()) for text in texts], dtype=int)
    if np.array_equal(np.cumsum(counts)[ends - 1], whole):
      return counts
    # A special token in the text took the spaces beside it.
    encodings = tokenizer.encode_batch(texts)
  parts = map(
    token_tables.byte_lengths, texts, (one.offsets for one in encodings)
  )
  return np.concatenate([np.zeros(0, np.int64), *parts])


@functools.lru_cache(maxsize=1)
def _is_mark(tokenizer: Tokenizer) -> Bool[np.ndarray, 'V']:
  """Which ids stand for no text: all special ones but that of unknown text."""
  is_mark = np.zeros(tokenizer.vocab_size, bool)
  is_mark[list(tokenizer.special_ids - {tokenizer.unk_id})] = True
  return is_mark


@functools.lru_cache(maxsize=1)
def _bytes_taken(tokenizer: Tokenizer) -> Int[np.ndarray, 'V']:
  """`bytes_of_id`, but for special tokens those that they are written with."""
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
