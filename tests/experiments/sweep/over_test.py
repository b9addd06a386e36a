"""What a sweep goes over, in literal points."""

import math

import pytest

from experiments.sweep import over
from lm.types import UserError

RATE = 'optimizer.learning_rate'


def test_parts_are_put_together():
  layers = over.values('layers', 2, 4)
  assert over.product(layers, over.values('seed', 0, 1, 2)) == [
    {'layers': 2, 'seed': 0},
    {'layers': 2, 'seed': 1},
    {'layers': 2, 'seed': 2},
    {'layers': 4, 'seed': 0},
    {'layers': 4, 'seed': 1},
    {'layers': 4, 'seed': 2},
  ]
  zipped = over.zipped(layers, over.values('width', 8, 16))
  assert zipped == [{'layers': 2, 'width': 8}, {'layers': 4, 'width': 16}]
  assert over.chain(zipped, over.values('seed', 1)) == [*zipped, {'seed': 1}]
  assert over.product() == [{}]


def test_what_is_drawn_is_spread_as_it_is_to_be_and_counted():
  # With a second number no point is drawn twice.
  ranges = over.log_uniform(RATE, 1e-4, 1e-2), over.uniform('a', 0.0, 4.0)
  draw = lambda count, seed=0, key=RATE: [
    point[key] for point in over.draw(count, *ranges, seed=seed)
  ]
  rates = draw(2000)
  assert draw(20) == rates[:20]  # With more, the first stay.
  assert draw(20, seed=1) != rates[:20]
  assert 1e-4 <= min(rates) < 1.1e-4 and 0.9e-2 < max(rates) <= 1e-2
  below = sum(rate < 1e-3 for rate in rates) / 2000
  assert below == pytest.approx(0.5, abs=4 * math.sqrt(0.25 / 2000))
  assert all(rate == float(f'{rate:.4g}') for rate in rates)
  shares = draw(2000, key='a')
  assert sum(shares) / 2000 == pytest.approx(2, abs=4 * 4 / math.sqrt(24000))


def test_integers_stay_integers_with_both_ends():
  drawn = over.draw(
    300,
    over.uniform('n', 2, 4),
    over.log_uniform('w', 8, 64),
    over.uniform('x', 0.0, 1.0),
  )
  assert {type(point[key]) for point in drawn for key in 'nw'} == {int}
  counts = [sum(point['n'] == n for point in drawn) for n in (2, 3, 4)]
  assert sum(counts) == 300 and min(counts) > 60
  assert {8, 64} <= {point['w'] for point in drawn}


def test_no_point_is_drawn_twice():
  layers = over.uniform('layers', 1, 4)
  drawn = [point['layers'] for point in over.draw(99, layers)]
  assert sorted(drawn) == [1, 2, 3, 4]
  few = [point['layers'] for point in over.draw(6, layers)]
  assert few == drawn[: len(few)]


@pytest.mark.parametrize(
  ('make', 'message'),
  [
    (lambda: over.uniform('a', 2, 1), 'from 2 to 1. Let it rise'),
    (lambda: over.log_uniform('a', 0, 1), 'from above 0'),
    (
      lambda: over.zipped(over.values('a', 1), over.values('b', 1, 2)),
      'parts of 1, 2 points',
    ),
    (
      lambda: over.product(over.values('a', 1), over.values('a', 2)),
      'a is in two parts',
    ),
    (
      lambda: over.product(over.values('a', 1), over.uniform('b', 1, 2)),
      r"over.product is given Range.key='b'.*over.draw.COUNT",
    ),
    (lambda: over.zipped(over.uniform('a', 1, 2)), 'over.zipped is given'),
    (lambda: over.chain(over.uniform('a', 1, 2)), 'over.chain is given'),
    (
      lambda: over.draw(6, over.values('a', 1)),
      r"is given \[{'a': 1}\], but draws from ranges",
    ),
    (
      lambda: over.draw(6, over.uniform('a', 1, 2), over.uniform('a', 3, 4)),
      'a is in two parts',
    ),
    (
      lambda: over.search(9, over.uniform('a', 1, 2), over.values('a', 3)),
      'a is in two parts',
    ),
    (
      lambda: over.search(9, [{'a': 1, 'b': 2}]),
      'chooses for each field by itself',
    ),
    (lambda: over.search(9, 'a'), 'chooses for each field by itself'),
    (lambda: over.search(0, over.values('a', 1)), '0 trials'),
    (
      lambda: over.search(1, over.chain(over.values('a', 1), [{'b': 1}])),
      'chooses for each field by itself',
    ),
  ],
)
def test_what_makes_no_sense_is_refused(make, message):
  with pytest.raises(UserError, match=message):
    make()
