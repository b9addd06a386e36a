"""Contenders take turns, and are compared within a turn."""

import pytest

from benchmarks import interleaved


def test_each_turn_is_in_the_opposite_order_of_the_last():
  ran = []
  contenders = {
    'a': lambda: ran.append('a'),
    'b': lambda: ran.append('b'),
  }
  taken = interleaved.seconds(contenders, turns=3, warm_up=2)
  assert ''.join(ran) == 'aabb' + 'ab' + 'ba' + 'ab'
  assert {name: len(times) for name, times in taken.items()} == {'a': 3, 'b': 3}


def test_a_ratio_is_of_turns_and_not_of_medians():
  taken = {'ours': [1.0, 2.0, 4.0], 'peer': [3.0, 2.0, 8.0]}
  assert interleaved.ratio(taken, 'ours', 'peer') == {
    'median': 2.0,
    'low': 1.5,
    'high': 2.5,
  }
  assert interleaved.medians(taken) == {'ours': 2.0, 'peer': 3.0}
  assert interleaved.rates(taken, 10) == {'ours': 5.0, 'peer': 3.333}


def test_one_turn_has_a_ratio_without_spread():
  ratio = interleaved.ratio({'ours': [2.0], 'peer': [5.0]}, 'ours', 'peer')
  assert ratio == {'median': 2.5, 'low': 2.5, 'high': 2.5}


def test_the_machine_and_the_versions_are_told():
  assert interleaved.machine()['cores'] >= 1
  assert interleaved.machine()['processor']
  assert interleaved.versions('jax', 'no-such-package').keys() == {'jax'}


@pytest.mark.parametrize(
  ('value', 'told'),
  [(0.0123456, 0.01235), (1234567.0, 1235000.0), (1.0, 1.0)],
)
def test_numbers_have_four_digits(value, told):
  assert interleaved.rounded(value) == told


def test_a_process_of_its_own_takes_turns():
  with interleaved.process('tests.benchmarks.counting', 5) as turn:
    assert [turn(), turn()] == [6, 7]


def test_a_process_that_ends_instead_of_answering_is_told_of():
  with (
    interleaved.process('tests.benchmarks.counting', 7) as turn,
    pytest.raises(RuntimeError, match='counting has ended'),
  ):
    [turn() for _ in range(4)]
