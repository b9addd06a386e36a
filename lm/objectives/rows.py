"""Removal of tokens from rows, and random choices of tokens.

Rows have the same width whatever was drawn, and no loop runs over them.
"""

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped


def compact(
  values: Shaped[np.ndarray, 'B N'],
  kept: Bool[np.ndarray, 'B N'],
  width: int,
  fill: int = 0,
) -> tuple[Shaped[np.ndarray, 'B width'], Int[np.ndarray, 'B']]:
  """Returns the kept values of each row, moved to the left, and their number.

  For instance:

      values  5 6 7 8    kept  0 1 0 1    width 3 gives  6 8 0  and  2
  """
  sizes = kept.sum(axis=1)
  rows = np.full((len(values), width), fill, values.dtype)
  rows[np.arange(width) < sizes[:, None]] = values[kept]
  return rows, sizes


def choose(
  scores: Float[np.ndarray, 'B N'], counts: Int[np.ndarray, 'B']
) -> Bool[np.ndarray, 'B N']:
  """Returns a mask of the `counts` lowest scores of each row.

  With random scores, this is a random choice; infinite ones come last.
  """
  chosen = np.zeros(scores.shape, bool)
  order = np.argsort(scores, axis=1)
  among = np.arange(scores.shape[1]) < counts[:, None]
  np.put_along_axis(chosen, order, among, axis=1)
  return chosen
