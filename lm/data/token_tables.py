"""What the pieces of a vocabulary stand for: bytes of text, and words."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Int

# Tabs and line breaks. GPT-2 writes them, and spaces, as visible characters.
_BREAKS = ('\t', '\n', '\r', 'ĉ', 'Ċ', 'č')


def byte_table(
  ids: Mapping[str, int], special_ids: Collection[int], byte_level: bool
) -> Int[np.ndarray, 'V']:
  """Returns how many bytes of text each id stands for; 0 for special tokens.

  Args:
    ids: The id of every piece.
    special_ids: The ids that are not text.
    byte_level: Whether a piece writes each byte as a character.
  """
  table = np.zeros(max(ids.values()) + 1, np.int32)
  for piece, id in ids.items():
    table[id] = len(piece) if byte_level else len(piece.encode())
  table[list(special_ids)] = 0
  return table


def byte_lengths(
  text: str, offsets: Sequence[tuple[int, int]]
) -> Int[np.ndarray, 'N']:
  """Divides the bytes of a text among its tokens, given their offsets.

  Text between two tokens counts towards the second, text after the last one
  towards it, and text that several share towards the first of them.

      I  see 你 .   at (0, 1) (3, 6) (7, 8) (9, 10)   ->   1 5 4 2
  """
  ends = np.array(offsets, np.int64).reshape(-1, 2)[:, 1]
  ends = np.maximum.accumulate(ends)
  ends[-1:] = len(text)
  if not text.isascii():
    codes = np.frombuffer(text.encode('utf-32-le'), np.uint32)
    sizes = 1 + np.searchsorted([1 << 7, 1 << 11, 1 << 16], codes, 'right')
    ends = np.concatenate([[0], np.cumsum(sizes)])[ends]
  return np.diff(ends, prepend=0).astype(np.int32)


def word_tables(
  ids: Mapping[str, int],
  special_ids: Collection[int],
  space: str | None,
) -> tuple[Bool[np.ndarray, 'V'], Bool[np.ndarray, 'V']]:
  """Returns which ids begin a word, and after which ids a new word begins.

  Args:
    ids: The id of every piece.
    special_ids: The ids that are not text, and each stand alone.
    space: The prefix of pieces that begin a word; None if pieces inside words
      begin with `##` instead.
  """
  begins, ends = np.zeros((2, max(ids.values()) + 1), bool)
  for piece, id in ids.items():
    if space is None:
      begins[id] = not piece.startswith('##')
    else:
      begins[id] = piece.startswith((space, *_BREAKS))
      ends[id] = piece.endswith(_BREAKS)
  for table in (begins, ends):
    table[list(special_ids)] = True
  return begins, ends
