"""What all records have: ids, places, and what becomes of bad ones."""

import pytest
from absl import logging

from lm.records import reading
from lm.types import UserError


@pytest.fixture
def warnings(monkeypatch):
  said = []
  say = lambda message, *values: said.append(message % values)
  monkeypatch.setattr(logging, 'warning', say)
  return said


def _texts(path, **options):
  return reading.read('texts', 'tsv', str(path), **options)


def test_what_is_left_out_is_counted_by_reason_and_said_once(
  tmp_path, warnings
):
  (tmp_path / 'a').write_bytes(b'a\t1\n\t1\n\t1\nb\n\xff\t1\nc\t2\n')

  found = _texts(tmp_path / 'a', on_error='skip')

  assert found.left_out == {
    'an empty field': 2,
    'wrong number of columns': 1,
    'not UTF-8': 1,
  }
  assert [row['id'] for row in found.rows] == ['a:1', 'a:6']
  assert warnings == [
    f'Left out 4 of 6 entries of {tmp_path}/a: 2 for an empty field, 1 for'
    ' wrong number of columns, 1 for not UTF-8.'
  ]
  warnings.clear()
  (tmp_path / 'a').write_text('a\t1\n')
  assert _texts(tmp_path / 'a', on_error='skip').left_out == {}
  assert warnings == []


def test_a_duplicate_id_is_named_with_both_places(tmp_path, warnings):
  (tmp_path / 'a').write_text('id\ttext\n1\ta\n2\tb\n1\tc\n')

  with pytest.raises(
    UserError, match=r"a:4: its id is '1', which is .*a:2 too"
  ):
    _texts(tmp_path / 'a')
  found = _texts(tmp_path / 'a', on_error='skip')

  assert [row['text'] for row in found.rows] == ['a', 'b']
  assert found.left_out == {'a duplicate id': 1}


def test_files_of_one_name_number_their_records_apart(tmp_path):
  for folder in 'xy':
    (tmp_path / folder).mkdir()
    (tmp_path / folder / 'a.tsv').write_text('one\t1\n')

  rows = _texts(tmp_path / '*' / 'a.tsv').rows

  assert len({row['id'] for row in rows}) == len(rows) == 2


def test_a_path_may_leave_its_split_open(tmp_path):
  for split in ('train', 'dev'):
    (tmp_path / f'{split}.tsv').write_text(f'{split}\t1\n')

  for split in ('train', 'dev'):
    found = _texts(tmp_path / '{split}.tsv', split=split)
    assert found.rows[0]['text'] == split
    assert _texts(tmp_path / 'dev.tsv', split=split).rows[0]['text'] == 'dev'
  with pytest.raises(UserError, match='no split is named'):
    _texts(tmp_path / '{split}.tsv')


@pytest.mark.parametrize(
  'kind, source, name, on_error, message',
  [
    (
      'text',
      'tsv',
      'a',
      'error',
      "is 'text'. Set it to one of texts, entities",
    ),
    ('texts', 'conll', 'a', 'error', "'conll', from which texts are not read"),
    ('texts', 'tsv', 'b', 'error', 'train, validation or test.*no such file'),
    ('texts', 'tsv', 'empty', 'error', 'every file is empty'),
    ('texts', 'tsv', 'header', 'error', 'no entry can be used'),
    ('texts', 'jsonl', 'a', 'skip', 'no entry can be used'),
  ],
)
def test_what_cannot_be_read_at_all_is_refused(
  tmp_path, kind, source, name, on_error, message
):
  (tmp_path / 'a').write_text('one\t1\n')
  (tmp_path / 'header').write_text('text\tlabel\n')
  (tmp_path / 'empty').touch()

  with pytest.raises(UserError, match=message):
    reading.read(kind, source, str(tmp_path / name), on_error=on_error)


def test_labels_are_checked_with_the_place_of_an_unknown_one(warnings):
  rows = [
    {'where': 'a:1', 'label': 'good'},
    {'where': 'a:2', 'label': 'godo'},
    {'where': 'a:3'},
  ]
  tagged = [
    {'where': 'b:1', 'tags': ['O', 'B-PER']},
    {'where': 'b:4', 'tags': ['O', 'B-ORG']},
  ]

  message = r"a:2: its label is 'godo', .* 'good', 'bad'.* mean 'good'\?"
  with pytest.raises(UserError, match=message):
    reading.check_labels(rows, ['good', 'bad'])
  with pytest.raises(UserError, match="b:4: its label is 'B-ORG'"):
    reading.check_labels(tagged, ['O', 'B-PER'])
  assert warnings == []
  kept = reading.check_labels(rows, ['good', 'bad'], on_error='skip')
  assert kept.rows == (rows[0], rows[2])
  assert kept.left_out == {'an unknown label': 1}
  assert len(warnings) == 1
  kept = reading.check_labels(tagged, ['O', 'B-PER', 'B-ORG'])
  assert (kept.rows, kept.left_out) == (tuple(tagged), {})
