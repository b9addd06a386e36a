"""Few shots, held-out slices and sets without duplicates are drawn by count."""

import collections

import pytest
from absl import logging

from lm.records import splits
from lm.types import UserError

ROWS = [
  {'id': str(i), 'text': f't{i}', 'label': 'ab'[i % 3 > 0]} for i in range(90)
]


def test_few_shots_have_so_many_of_each_class_in_their_order():
  drawn = splits.few_shot(ROWS, 8, seed=0)

  assert collections.Counter(row['label'] for row in drawn) == {'a': 8, 'b': 8}
  assert [int(row['id']) for row in drawn] == sorted(
    int(r['id']) for r in drawn
  )
  assert drawn == splits.few_shot(ROWS, 8, seed=0)
  assert drawn != splits.few_shot(ROWS, 8, seed=1)
  ids = {row['id'] for row in splits.few_shot(ROWS, 20, seed=0)}
  assert ids > {row['id'] for row in drawn}


def test_every_row_is_as_likely_to_be_among_few_shots():
  counts = collections.Counter(
    row['id'] for seed in range(600) for row in splits.few_shot(ROWS, 10, seed)
  )

  # 200 of 30 rows of class a, 100 of 60 of b: five standard deviations.
  for row in ROWS:
    mean, deviation = (200, 11.6) if row['label'] == 'a' else (100, 9.2)
    assert abs(counts[row['id']] - mean) < 5 * deviation


@pytest.mark.parametrize('field', [{}, {'label': 2.5}, {'tags': ['O']}])
def test_rows_without_classes_are_drawn_in_all(field):
  rows = [{'id': str(i)} | field for i in range(20)]

  assert len(splits.few_shot(rows, 8, seed=0)) == 8


def test_too_few_rows_for_few_shots_are_refused():
  with pytest.raises(
    UserError, match="31, but there are 30 records of label 'a'"
  ):
    splits.few_shot(ROWS, 31, seed=0)
  with pytest.raises(UserError, match='few_shot is 0'):
    splits.few_shot(ROWS, 0, seed=0)


def test_a_share_is_held_out_and_nothing_is_lost():
  train, held_out = splits.divide(ROWS, 0.2, seed=0)

  assert len(held_out) == 18
  both = sorted([*train, *held_out], key=lambda row: int(row['id']))
  assert both == ROWS
  assert [*train] == [row for row in ROWS if row in train]
  assert (train, held_out) == splits.divide(ROWS, 0.2, seed=0)
  assert held_out != splits.divide(ROWS, 0.2, seed=1)[1]


def test_rows_of_one_group_stay_on_one_side():
  rows = [{'id': str(i), 'title': f't{i * i % 17}'} for i in range(400)]

  for seed in range(5):
    train, held_out = splits.divide(rows, 0.3, seed, by='title')

    sides = [{row['title'] for row in side} for side in (train, held_out)]
    assert sides[0].isdisjoint(sides[1])
    assert len(train) + len(held_out) == 400
    assert abs(len(held_out) - 120) <= 24  # Half of the largest group.


def test_questions_without_a_title_are_divided_by_their_context():
  rows = [{'title': '', 'context': f'c{i // 5}'} for i in range(50)]

  train, held_out = splits.divide(rows, 0.2, seed=0, by='title')

  assert len(held_out) == 10
  assert {r['context'] for r in train}.isdisjoint(
    r['context'] for r in held_out
  )


@pytest.mark.parametrize('share, rows', [(0.001, ROWS), (0.5, ROWS[:1])])
def test_a_side_without_rows_is_refused(share, rows):
  with pytest.raises(UserError, match=f'held_out is {share}'):
    splits.divide(rows, share, seed=0)
  same = [row | {'title': 'x'} for row in ROWS]
  with pytest.raises(UserError, match="with 1 different 'title'"):
    splits.divide(same, 0.5, seed=0, by='title')


@pytest.mark.parametrize(
  'rows, others, kept',
  [
    (
      [{'text': 'a  b ', 'label': '1'}, {'text': 'A b'}, {'text': 'a b\n'}],
      [{'text': 'a b', 'label': '0'}],
      [1],
    ),
    (
      [{'text': 'a', 'text_pair': 'b'}, {'text': 'a', 'text_pair': 'c'}],
      [{'text': 'a', 'text_pair': 'b'}],
      [1],
    ),
    (
      [{'words': ['a b']}, {'words': ['a', 'b']}],
      [{'words': ['a', 'b'], 'tags': ['O', 'O']}],
      [0],
    ),
    (
      [{'source': 'a', 'target': 'b'}, {'source': 'b', 'target': 'b'}],
      [{'source': 'a', 'target': 'c'}],
      [1],
    ),
    (
      [{'context': 'a', 'question': 'b'}, {'context': 'c', 'question': 'b'}],
      [{'context': 'c', 'question': 'b', 'answers': []}],
      [0],
    ),
    (
      [{'turns': ['a', 'b']}, {'turns': ['a b']}],
      [{'turns': ['a', 'b ']}],
      [1],
    ),
  ],
)
def test_what_is_in_another_set_is_left_out(monkeypatch, rows, others, kept):
  said = []
  monkeypatch.setattr(logging, 'warning', lambda *given: said.append(given[1:]))

  assert splits.without_duplicates(rows, others) == tuple(rows[i] for i in kept)
  assert said == [(len(rows) - len(kept), len(rows))]
  assert splits.without_duplicates(rows, []) == tuple(rows)
  assert len(said) == 1


def test_duplicates_may_be_told_by_another_key():
  rows = [{'text': 'A'}, {'text': 'b'}]

  key = lambda row: row['text'].lower()

  assert splits.without_duplicates(rows, [{'text': 'a'}], key) == (rows[1],)
