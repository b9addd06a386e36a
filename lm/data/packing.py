"""Packs documents into rows, so that rows are full and hardly padded.

A plan is made once per store and length, and kept beside the tokens, so that
row i is found without reading the rows before it.
"""

import pathlib
from typing import NamedTuple

import numpy as np
from absl import logging
from jaxtyping import Int, Int64

from lm.data import atomic

# Documents that are packed together: more fill rows better, but take longer to
# sort; with this many, rows of 1024 tokens are 99.9% full.
WINDOW = 1 << 16

# Tokens that pieces of one text share: the last of a piece is a target there
# and an input in the next, so that no target is left out or repeated.
OVERLAP = 1


class Plan(NamedTuple):
  """Rows, each made of pieces of the token stream.

  Attributes:
    rows: Row i is made of pieces `rows[i]` to `rows[i + 1]`.
    starts: Where each piece starts in the stream.
    sizes: How many tokens each piece has.
  """

  rows: Int64[np.ndarray, 'O']
  starts: Int64[np.ndarray, 'P']
  sizes: Int64[np.ndarray, 'P']

  @property
  def size(self) -> int:
    """How many rows there are."""
    return len(self.rows) - 1


def cut(
  offsets: Int[np.ndarray, 'O'], length: int, overlap: int = OVERLAP
) -> tuple[Int64[np.ndarray, 'P'], Int64[np.ndarray, 'P']]:
  """Returns the starts and sizes of pieces of at most `length` tokens.

  With `length` 4, documents of 6 and 2 tokens become

      0 1 2 3 | 3 4 5 | 6 7

  Documents of one token have no target, and are left out. Without an overlap
  they are kept, and pieces share no token:

      0 1 2 3 | 4 5 | 6 7
  """
  stride = length - overlap
  sizes = np.diff(offsets)
  counts = np.maximum(-((overlap - sizes) // stride), 0)
  document = np.repeat(np.arange(len(sizes)), counts)
  first = np.cumsum(counts) - counts
  turn = np.arange(len(document)) - first[document]
  starts = offsets[:-1][document] + turn * stride
  return starts, np.minimum(length, offsets[1:][document] - starts)


def best_fit(sizes: Int[np.ndarray, 'P'], length: int) -> list[int]:
  """Returns the row of each piece, by best-fit decreasing.

  Each piece, largest first, goes where it leaves the least room. Sizes
  5 4 3 2 1 1 and `length` 8 give rows 0 1 0 1 1 1: 5+3 and 4+2+1+1.
  """
  open_rows = [[] for _ in range(length + 1)]  # By the room that is left.
  rooms = 0  # Bit r is set where `open_rows[r]` has a row.
  rows = [0] * len(sizes)
  num_rows = 0
  for piece in np.argsort(-sizes, kind='stable').tolist():
    size = int(sizes[piece])
    if fitting := rooms >> size:
      room = size + (fitting & -fitting).bit_length() - 1
      row = open_rows[room].pop()
      if not open_rows[room]:
        rooms ^= 1 << room
    else:
      room, row = length, num_rows
      num_rows += 1
    rows[piece] = row
    room -= size
    open_rows[room].append(row)
    rooms |= 1 << room
  return rows


def pack(
  offsets: Int[np.ndarray, 'O'],
  length: int,
  window: int = WINDOW,
  overlap: int = OVERLAP,
  marks: int = 0,
) -> Plan:
  """Returns a plan of rows of at most `length` tokens for all documents.

  Args:
    offsets: Where each document starts, then where the last one ends.
    length: Tokens per row. Longer documents are cut.
    window: How many documents are packed together.
    overlap: The tokens that pieces of one document share.
    marks: Special tokens put around each piece; the plan does not hold them.
  """
  counts, starts, sizes = [], [], []
  for first in range(0, len(offsets) - 1, window):
    offset = offsets[first : first + window + 1]
    start, size = cut(offset, length - marks, overlap)
    row = np.array(best_fit(size + marks, length), np.int64)
    order = np.argsort(row, kind='stable')
    starts.append(start[order])
    sizes.append(size[order])
    counts.append(np.bincount(row))
  ends = np.cumsum(np.concatenate([[0], *counts]), dtype=np.int64)
  empty = np.zeros(0, np.int64)
  return Plan(
    ends, np.concatenate([empty, *starts]), np.concatenate([empty, *sizes])
  )


def save(plan: Plan, path: pathlib.Path) -> None:
  """Writes one flat array: the number of rows, then the fields of `Plan`."""
  with atomic.new_file(path) as temporary, temporary.open('wb') as file:
    np.save(file, np.concatenate([[plan.size], *plan]))


def load(path: pathlib.Path) -> Plan:
  """Memory-maps a plan.

  Raises:
    ValueError: The file is truncated.
  """
  try:
    flat = np.asarray(np.load(path, mmap_mode='r'))
  except EOFError as error:  # Raised by numpy for an empty file.
    raise ValueError(f'{path} is empty') from error
  num_rows = int(flat[0])
  rows, pieces = np.split(flat[1:], [num_rows + 1])
  return Plan(rows, *np.split(pieces, 2))


def of_store(
  directory: pathlib.Path,
  offsets: Int[np.ndarray, 'O'],
  length: int,
  overlap: int = OVERLAP,
  marks: int = 0,
) -> Plan:
  """Returns the plan kept in a store's directory, which is made if missing.

  The other arguments are those of `pack`.
  """
  kind = '' if overlap else f'-apart-{marks}'
  path = directory / f'pack-{length}{kind}.npy'
  if path.exists():
    try:
      return load(path)
    except ValueError as error:
      logging.warning('%s; the packing plan is made anew.', error)
  plan = pack(offsets, length, overlap=overlap, marks=marks)
  save(plan, path)
  logging.info(
    'Packed %d documents into %d rows of %d tokens, %.1f%% full.',
    len(offsets) - 1,
    plan.size,
    length,
    100 * (plan.sizes + marks).sum() / max(1, plan.size * length),
  )
  return plan
