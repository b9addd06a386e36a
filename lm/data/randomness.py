"""Counter-based randomness: a function of (seed, purpose, index, column) alone.

No state is carried from one example to the next, so any example can be drawn
again, on any host, in any order; and a few array operations draw a whole batch,
where a generator per example would cost 20 us each.
"""

import functools
import hashlib
import math

import numpy as np
from jaxtyping import Float, Int, UInt64

# SplitMix64 (Steele, Lea and Flood, 2014): the golden ratio as a step between
# counters, and the two multipliers of its finalizer.
STEP = np.uint64(0x9E3779B97F4A7C15)
MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
ROUNDS = 8  # Of the Feistel network; 6 permute 5 to 8 rows unevenly.


def _mix(x: UInt64[np.ndarray, '*shape']) -> UInt64[np.ndarray, '*shape']:
  """A 64-bit bijection in which every input bit affects every output bit."""
  x = (x ^ (x >> np.uint64(30))) * MULTIPLIERS[0]
  x = (x ^ (x >> np.uint64(27))) * MULTIPLIERS[1]
  return x ^ (x >> np.uint64(31))


@functools.lru_cache(maxsize=1024)
def _key(seed: int, purpose: str) -> np.uint64:
  digest = hashlib.sha256(f'{seed}/{purpose}'.encode()).digest()
  return np.uint64(int.from_bytes(digest[:8], 'little'))


def bits(
  seed: int,
  purpose: str,
  index: Int[np.ndarray, '*#shape'],
  column: Int[np.ndarray, '*#shape'] | int = 0,
) -> UInt64[np.ndarray, '...']:
  """Returns 64 random bits for each pair of `index` and `column`.

  Args:
    seed: Seed of the run.
    purpose: What the bits decide, such as 'masking': each has its own bits.
    index: Number of the example, counted over the whole run. It broadcasts with
      `column`: `index[:, None]` and `arange(length)` give one row per example.
    column: Which of the example's numbers.
  """
  with np.errstate(over='ignore'):  # Scalars, unlike arrays, warn of wrapping.
    start = _mix(np.uint64(index) * STEP + _key(seed, purpose))
    return _mix(start + np.uint64(column) * STEP)


def uniform(
  seed: int,
  purpose: str,
  index: Int[np.ndarray, '*#shape'],
  column: Int[np.ndarray, '*#shape'] | int = 0,
) -> Float[np.ndarray, '...']:
  """Returns float64 numbers in [0, 1); arguments as for `bits`."""
  return (bits(seed, purpose, index, column) >> np.uint64(11)) * 2.0**-53


def integers(
  seed: int,
  purpose: str,
  index: Int[np.ndarray, '*#shape'],
  high: Int[np.ndarray, '*#shape'] | int,
  column: Int[np.ndarray, '*#shape'] | int = 0,
) -> Int[np.ndarray, '...']:
  """Returns integers in [0, high); other arguments as for `bits`."""
  return (uniform(seed, purpose, index, column) * high).astype(np.int64)


def permute(
  index: Int[np.ndarray, 'B'],
  size: int,
  seed: int,
  epoch: Int[np.ndarray, 'B'],
) -> Int[np.ndarray, 'B']:
  """Permutes [0, size), differently in every epoch.

  A Feistel network permutes the smallest square not below `size`; results
  outside the range are permuted again until they fall inside (cycle walking),
  which is still a bijection. No table of the order is stored.
  """
  side = np.uint64(math.isqrt(size - 1) + 1)
  keys = bits(seed, 'permute', epoch[:, None], np.arange(ROUNDS))

  def once(x, keys):
    left, right = x // side, x % side
    for turn in range(ROUNDS):
      drawn = _mix(right + keys[:, turn]) % side
      left, right = right, (left + drawn) % side
    return left * side + right

  permuted = once(np.uint64(index), keys)
  while (outside := permuted >= size).any():
    permuted[outside] = once(permuted[outside], keys[outside])
  return permuted.astype(np.int64)
