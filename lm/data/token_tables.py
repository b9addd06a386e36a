"""What the pieces of a vocabulary stand for: bytes of text, and words."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Int

# Lines and columns. GPT-2 writes them, and the space, as visible characters.
_BREAKS = ('\t', '\n', '\r', 'ĉ', 'Ċ', 'č')


def byte_table(
  ids: Mapping[str, int], special_ids: Collection[int], byte_level: bool
) -> Int[np.ndarray, 'V']:
  """Returns the bytes of text that each id stands for; none for special ones.

  Args:
    ids: The id of every piece.
    special_ids: Those that are no text.
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
  """Divides the bytes of a text among its tokens, given where each stands.

  What stands between two tokens counts to the second, what follows the last
  one to it, and what several share to the first of them.

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
  """Returns which ids begin a word, and after which ids another one begins.

  Args:
    ids: The id of every piece.
    special_ids: Those that are no text, and stand alone.
    space: How a piece begins that begins a word; None where pieces inside of
      words begin with `##` instead.
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
