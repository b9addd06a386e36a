"""Windows are those of BERT's code, and no span is better than the best."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from lm.tasks import spans


@pytest.mark.parametrize(
  ('size', 'room', 'stride', 'begin', 'stop', 'home'),
  [
    (7, 4, 2, [0, 2, 4], [4, 6, 7], [0, 0, 0, 1, 1, 2, 2]),
    (4, 4, 2, [0], [4], [0, 0, 0, 0]),
    (5, 4, 4, [0, 4], [4, 5], [0, 0, 0, 0, 1]),
    (5, 4, 9, [0, 4], [4, 5], [0, 0, 0, 0, 1]),
    (6, 4, 2, [0, 2], [4, 6], [0, 0, 0, 1, 1, 1]),
    (1, 4, 2, [0], [1], [0]),
    (0, 4, 2, [0], [0], []),
  ],
)
def test_windows_overlap_and_each_token_counts_in_one(
  size, room, stride, begin, stop, home
):
  found = spans.windows(size, room, stride)
  assert [column.tolist() for column in found] == [begin, stop, home]


def published_windows(size, room, stride):
  """The rule of BERT's code, as its authors describe it there in words."""
  found, start = [], 0
  while True:
    length = min(size - start, room)
    found.append((start, length))
    if start + length == size:
      break
    start += min(length, stride)
  home = []
  for token in range(size):
    scores = {}
    for number, (start, length) in enumerate(found):
      left, right = token - start, start + length - 1 - token
      if left >= 0 and right >= 0:
        scores[number] = min(left, right) + 0.01 * length
    home.append(max(scores, key=scores.get))
  return found, home


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 25))
def test_windows_are_those_of_bert(size, room, stride):
  found = spans.windows(size, room, stride)
  expected, home = published_windows(size, room, stride)
  sizes = found.stop - found.begin
  assert list(zip(found.begin.tolist(), sizes.tolist())) == expected
  assert found.home.tolist() == home


def test_the_best_spans_are_those_of_all_pairs():
  random = np.random.default_rng(3)
  record = np.array([0, 0, 0, 1, 2, 2])
  sizes = [9, 12, 8, 7, 3, 10]
  row = np.repeat(np.arange(6), sizes)
  count = len(row)
  for _ in range(20):
    inside = random.random(count) < 0.7
    inside[row == 3] = False  # Of one record nothing is an answer.
    home = inside & (random.random(count) < 0.6)
    start, end = random.normal(size=(2, count))
    scored = spans.Scored(start, end, inside, home, row, record)
    found = spans.best(scored, 3, max_answer=4, most=5)
    for number in range(3):
      pairs = [
        (start[i] + end[j], i, j)
        for i in range(count)
        for j in range(i, count)
        if record[row[i]] == number and row[i] == row[j] and j - i < 4
        if home[i] and inside[j]
      ]
      best = sorted(pairs, reverse=True)[:5]
      real = found.score[number] > -np.inf
      assert real.sum() == len(best)
      made = zip(found.score[number], found.first[number], found.last[number])
      np.testing.assert_allclose(list(made)[: len(best)], best, atol=1e-12)
      assert (found.first[number][~real] == spans.NONE).all()
