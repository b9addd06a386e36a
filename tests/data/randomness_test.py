"""Counted randomness is random, and counted."""

import hashlib

import numpy as np
import pytest

from lm.data import randomness


def chi_squared(counts: np.ndarray) -> float:
  """How many standard deviations the statistic lies above its mean."""
  expected = counts.sum() / counts.size
  freedom = counts.size - 1
  statistic = ((counts - expected) ** 2 / expected).sum()
  return (statistic - freedom) / np.sqrt(2 * freedom)


@pytest.mark.parametrize('seed', [0, 1, 2**40])
def test_uniforms_fill_the_unit_interval_evenly(seed):
  index = np.arange(2000)[:, None]
  drawn = randomness.uniform(seed, 'test', index, np.arange(100))
  counts = np.histogram(drawn, bins=256, range=(0, 1))[0]
  assert counts.sum() == 200_000
  assert abs(chi_squared(counts)) < 4


@pytest.mark.parametrize(
  'one, other',
  [
    ((0, 'a', 0, 0), (0, 'a', 0, 1)),  # neighbouring columns
    ((0, 'a', 0, 0), (0, 'a', 1, 0)),  # neighbouring examples
    ((0, 'a', 0, 1), (0, 'a', 1, 0)),  # example and column in each other's role
    ((0, 'a', 0, 0), (1, 'a', 0, 0)),  # neighbouring seeds
    ((0, 'a', 0, 0), (0, 'b', 0, 0)),  # purposes
  ],
)
def test_numbers_that_differ_in_one_argument_are_independent(one, other):
  def draw(seed, purpose, index, column):
    shifted = index + np.arange(400)[:, None], column + np.arange(400)
    return randomness.integers(seed, purpose, shifted[0], 16, shifted[1])

  pairs = 16 * draw(*one) + draw(*other)
  assert abs(chi_squared(np.bincount(pairs.ravel(), minlength=256))) < 4


def test_every_bit_is_set_half_of_the_time():
  drawn = randomness.bits(3, 'test', np.arange(40_000))
  ones = (drawn[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
  share = ones.mean(axis=0)
  assert np.abs(share - 0.5).max() < 4 * 0.5 / np.sqrt(40_000)


def splitmix(start: int) -> int:
  """The published generator's output function, in Python's own integers."""
  x = start % 2**64
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
  return x ^ (x >> 31)


def test_bits_are_the_splitmix_stream_of_each_example():
  digest = hashlib.sha256(b'5/test').digest()
  key = int.from_bytes(digest[:8], 'little')
  step = 0x9E3779B97F4A7C15
  drawn = randomness.bits(5, 'test', np.array([[7], [10**12]]), np.arange(3))
  assert drawn.tolist() == [
    [
      splitmix(splitmix(key + index * step) + column * step)
      for column in range(3)
    ]
    for index in (7, 10**12)
  ]


def test_integers_stay_below_a_bound_of_their_own():
  high = np.array([1, 2, 3, 1000])
  drawn = randomness.integers(0, 'test', np.arange(5000)[:, None], high)
  assert drawn.min(axis=0).tolist() == [0, 0, 0, 0]
  assert drawn[:, :3].max(axis=0).tolist() == [0, 1, 2]
  assert 990 < drawn[:, 3].max() < 1000


@pytest.mark.parametrize('size', [1, 2, 3, 4, 5, 17, 1000, 10_007, 1 << 16])
@pytest.mark.parametrize('seed', [0, 9])
def test_permute_visits_every_row_once_an_epoch(size, seed):
  index = np.arange(size)
  orders = [
    randomness.permute(index, size, seed, np.full(size, epoch))
    for epoch in range(3)
  ]
  for order in orders:
    assert sorted(order.tolist()) == list(range(size))
  if size >= 17:
    assert (orders[0] != orders[1]).mean() > 0.5
    assert (orders[1] != orders[2]).mean() > 0.5


def test_permute_needs_no_neighbours():
  epoch = np.array([4, 0, 4])
  index = np.array([999, 0, 5])
  together = randomness.permute(index, 1000, 1, epoch)
  for place in range(3):
    alone = randomness.permute(
      index[place : place + 1], 1000, 1, epoch[place : place + 1]
    )
    assert alone[0] == together[place]


@pytest.mark.parametrize('size', [3, 5, 8, 16, 20])
def test_permute_sends_every_two_rows_to_every_two_places(size):
  # Over many epochs; small sizes are where a Feistel network is weakest.
  epochs = 20_000
  landed = [
    randomness.permute(np.full(epochs, row), size, 0, np.arange(epochs))
    for row in range(2)
  ]
  counts = np.bincount(size * landed[0] + landed[1], minlength=size**2)
  apart = ~np.eye(size, dtype=bool).ravel()
  assert not counts[~apart].any()
  assert abs(chi_squared(counts[apart])) < 4


def test_neighbours_do_not_stay_together():
  order = randomness.permute(
    np.arange(50_000), 50_000, 0, np.zeros(50_000, int)
  )
  steps = np.diff(order) % 50_000
  counts = np.histogram(steps, bins=100, range=(0, 50_000))[0]
  assert abs(chi_squared(counts)) < 4
