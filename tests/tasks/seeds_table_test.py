"""Scores of several seeds are summarized as statistics does it."""

import math

import pytest

from lm.tasks import seeds_table
from lm.types import UserError

ROWS = [
  {'accuracy': 0.8, 'loss': 1.0},
  {'accuracy': 0.9, 'loss': 4.0, 'f1_LOC': 50.0},
  {'accuracy': 0.4, 'loss': 1.0},
]


def test_the_best_loss_is_the_lowest_and_the_best_accuracy_the_highest():
  summary = seeds_table.aggregate(ROWS)
  # Deviations .1, .2, -.3 and -1, 2, -1, over n - 1.
  assert summary['accuracy'] == pytest.approx(
    {'mean': 0.7, 'std': 0.07**0.5, 'median': 0.8, 'best': 0.9, 'n': 3}
  )
  assert summary['loss'] == pytest.approx(
    {'mean': 2.0, 'std': 3**0.5, 'median': 1.0, 'best': 1.0, 'n': 3}
  )


def test_a_metric_that_one_seed_has_is_of_that_one():
  assert seeds_table.aggregate(ROWS)['f1_LOC'] == {
    **dict.fromkeys(('mean', 'median', 'best'), 50.0),
    'std': 0.0,
    'n': 1,
  }


def test_a_seed_that_diverged_is_not_hidden():
  rows = [{'loss': math.nan}, {'loss': 2.0}]
  summary = seeds_table.aggregate(rows)['loss']
  assert summary['best'] == 2.0
  assert all(math.isnan(summary[name]) for name in ('mean', 'std', 'median'))
  alone = seeds_table.aggregate(rows[:1])['loss']
  assert math.isnan(alone['best'])


def test_the_table_has_a_line_a_seed_and_then_the_summary():
  assert seeds_table.table(ROWS, (0, 1, 12)).splitlines() == [
    '|   seed | accuracy |  loss | f1_LOC |',
    '| -----: | -------: | ----: | -----: |',
    '|      0 |      0.8 |     1 |        |',
    '|      1 |      0.9 |     4 |     50 |',
    '|     12 |      0.4 |     1 |        |',
    '|   mean |      0.7 |     2 |     50 |',
    '|    std |   0.2646 | 1.732 |      0 |',
    '| median |      0.8 |     1 |     50 |',
    '|   best |      0.9 |     1 |     50 |',
  ]


def test_rows_without_their_seeds_are_refused():
  with pytest.raises(UserError, match=r'3 rows for the 2 seeds \[0, 1\]'):
    seeds_table.table(ROWS, (0, 1))
  with pytest.raises(UserError, match='no seeds'):
    seeds_table.aggregate([])
