import itertools

import numpy as np
import pytest
from hypothesis import given, strategies as st

from lm.data import buckets
from lm.data.buckets import FILLER, Bucketed, Ragged, Table
from lm.types import UserError


def table_of(sizes, others=None):
  rows = [np.arange(size) + 100 * number for number, size in enumerate(sizes)]
  ragged = {'tokens': {'tokens': Ragged.of(rows)}}
  if others is not None:
    answers = [np.full(size, 7) for size in others]
    ragged['target'] = {'target': Ragged.of(answers)}
  return Table(ragged, {'label': np.arange(len(sizes))})


def test_what_does_not_fill_a_batch_goes_into_the_next_wider_one():
  plan = buckets.fill([np.array([0, 1, 2]), np.array([3, 4])], 2)
  np.testing.assert_array_equal(plan.rows, [[0, 1], [2, 3], [4, FILLER]])
  np.testing.assert_array_equal(plan.bucket, [0, 1, 1])


def test_rows_are_padded_to_the_width_of_their_bucket():
  table = table_of([2, 5, 1], others=[1, 1, 3])
  widths = ({'tokens': 3, 'target': 2}, {'tokens': 6, 'target': 3})
  source = Bucketed(table, 2, widths)
  first, second = (
    source.examples_at(np.arange(2)),
    source.examples_at(np.arange(2, 4)),
  )
  # Row 2 has too long a target for the narrow bucket, so that is of row 0 only,
  # which moves on into the wide one.
  np.testing.assert_array_equal(
    first['tokens'], [[0, 1, 0, 0, 0, 0], [100, 101, 102, 103, 104, 0]]
  )
  np.testing.assert_array_equal(first['tokens_sizes'], [2, 5])
  np.testing.assert_array_equal(first['target'], [[7, 0, 0], [7, 0, 0]])
  np.testing.assert_array_equal(second['real'], [True, False])
  np.testing.assert_array_equal(second['tokens'][1], np.zeros(6))
  np.testing.assert_array_equal(second['label'], [2, 0])


@given(
  st.lists(st.integers(0, 20), min_size=1, max_size=60),
  st.integers(1, 9),
  st.one_of(st.none(), st.integers(0, 3)),
)
def test_each_epoch_has_every_row_once_in_as_few_batches_as_can_be(
  sizes, batch_size, seed
):
  source = Bucketed(
    table_of(sizes), batch_size, buckets.widths({'tokens': 20}), seed
  )
  assert source.size == -(-len(sizes) // batch_size) * batch_size
  for epoch in range(2 if seed is not None else 1):
    seen = []
    for start in range(0, source.size, batch_size):
      index = epoch * source.size + start + np.arange(batch_size)
      rows = source.rows_at(index)
      seen.extend(rows[rows != FILLER])
      examples = source.examples_at(index)
      width = examples['tokens'].shape[1]
      longest = max(sizes[row] for row in rows if row != FILLER)
      assert longest <= width
    assert sorted(seen) == list(range(len(sizes)))


def test_epochs_differ_and_the_same_seed_repeats_them():
  def order(seed, epoch):
    source = Bucketed(
      table_of([3] * 40), 4, buckets.widths({'tokens': 8}), seed
    )
    start = epoch * source.size
    batches = range(start, start + source.size, 4)
    return [tuple(source.rows_at(b + np.arange(4))) for b in batches]

  assert order(1, 0) == order(1, 0)
  for one, other in itertools.combinations(
    [order(1, 0), order(1, 1), order(2, 0)], 2
  ):
    assert one != other


def test_a_process_reads_its_own_rows_of_a_batch():
  source = Bucketed(table_of([1, 2, 3, 4]), 4, buckets.widths({'tokens': 4}), 5)
  whole = source.examples_at(np.arange(4))['label']
  part = source.examples_at(np.array([2, 3]))['label']
  np.testing.assert_array_equal(part, whole[2:])
  with pytest.raises(ValueError, match='more than one batch'):
    source.examples_at(np.array([3, 4]))


def test_a_single_pass_ends_in_filler():
  source = Bucketed(table_of([1, 2]), 2, buckets.widths({'tokens': 4}))
  assert not source.examples_at(np.array([2, 3]))['real'].any()


@pytest.mark.parametrize(
  ('most', 'boundaries', 'expected'),
  [
    ({'a': 128}, (), [16, 32, 64, 128]),
    ({'a': 20}, (), [8, 10, 20]),
    ({'a': 5}, (), [5]),
    ({'a': 100}, (30, 200), [30, 100]),
  ],
)
def test_widths_are_halved_from_the_longest(most, boundaries, expected):
  widths = buckets.widths(most, boundaries)
  assert [width['a'] for width in widths] == expected


def test_an_axis_is_never_wider_than_its_longest():
  widths = buckets.widths({'source': 64, 'target': 20}, (16,))
  assert widths == (
    {'source': 16, 'target': 16},
    {'source': 64, 'target': 20},
  )


def test_a_width_of_nothing_is_refused():
  with pytest.raises(UserError, match=r'config\.data\.buckets is \(0, 8\)'):
    buckets.widths({'a': 9}, (0, 8))
