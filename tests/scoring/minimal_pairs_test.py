"""Minimal pairs are read as they are published, and counted as in the paper."""

import json
import zipfile

import numpy as np
import pytest

from lm.scoring import minimal_pairs, texts
from lm.types import UserError
from tests.scoring.naive import trained


def line(number, uid, term='binding', **changes):
  return {
    'sentence_good': f'The cat sat {number}.',
    'sentence_bad': f'The cat sit {number}.',
    'field': 'syntax',
    'linguistics_term': term,
    'UID': uid,
    'pairID': str(number),
  } | changes


FILES = {
  'a_1': [line(n, 'a_1', 'ellipsis') for n in range(2)],
  'b_1': [line(n, 'b_1', 'argument_structure') for n in range(3)],
  'b_2': [line(n, 'b_2', 's-selection') for n in range(2)],
}


def jsonl(rows):
  return ''.join(json.dumps(row) + '\n' for row in rows)


@pytest.fixture
def directory(tmp_path):
  folder = tmp_path / 'data'
  folder.mkdir()
  for name, rows in FILES.items():
    (folder / f'{name}.jsonl').write_text(jsonl(rows))
  return folder


@pytest.fixture
def archive(tmp_path):
  path = tmp_path / 'zipped' / 'BLiMP.zip'
  path.parent.mkdir()
  with zipfile.ZipFile(path, 'w') as members:
    for name, rows in FILES.items():
      members.writestr(f'data/{name}.jsonl', jsonl(rows))
    members.writestr('data/.DS_Store', b'\xb0')
    members.writestr('__MACOSX/data/._a_1.jsonl', b'\xb0')
  (path.parent / 'models_summary.jsonl').write_text(
    jsonl(
      [
        {'UID': 'a_1', 'ngram': 0.25, 'lstm': 0.5, 'txl': 0.75, 'gpt2': 1.0},
        {'UID': 'overall', 'ngram': 0, 'lstm': 0, 'txl': 0, 'gpt2': 0},
      ]
    )
  )
  return path


def test_an_archive_its_folder_and_its_files_hold_the_same(archive, directory):
  pairs = minimal_pairs.read(str(archive))
  assert [pair[:4] for pair in pairs] == [
    pair[:4] for pair in minimal_pairs.read(str(directory))
  ]
  assert pairs == minimal_pairs.read(str(archive.parent))
  first = minimal_pairs.Pair(
    'The cat sat 0.',
    'The cat sit 0.',
    'a_1',
    'ellipsis',
    f'{archive}:data/a_1.jsonl, line 1',
  )
  assert pairs[0] == first
  assert [pair.paradigm for pair in pairs] == (
    ['a_1'] * 2 + ['b_1'] * 3 + ['b_2'] * 2
  )
  # The paper counts it there.
  assert {pair.phenomenon for pair in pairs[2:]} == {'argument_structure'}
  assert len(minimal_pairs.read(str(directory / 'b_1.jsonl'))) == 3
  assert len(minimal_pairs.read(str(archive), limit=1)) == 3


def test_each_paradigm_counts_alike(directory):
  pairs = minimal_pairs.read(str(directory))
  right = np.array([1, 1, 1, 0, 0, 0, 1], bool)
  found = minimal_pairs.summary(pairs, right)
  third = pytest.approx(1 / 3)
  assert found['paradigms'] == {'a_1': 1.0, 'b_1': third, 'b_2': 0.5}
  assert found['phenomena'] == {
    'argument_structure': pytest.approx((1 / 3 + 0.5) / 2),
    'ellipsis': 1.0,
  }
  assert found['accuracy'] == pytest.approx((1 + 1 / 3 + 0.5) / 3)
  assert found['pairs'] == 7


def test_a_tie_is_wrong(tmp_path):
  rows = [
    line(0, 'a', sentence_good='the cat sat.', sentence_bad='the dog ran on.'),
    line(1, 'a', sentence_good='the dog ran on.', sentence_bad='the cat sat.'),
    line(2, 'a', sentence_good='the man.', sentence_bad='the man.'),
  ]
  path = tmp_path / 'a.jsonl'
  path.write_text(jsonl(rows))
  one = trained('gpt')
  pairs = minimal_pairs.read(str(path))
  found = minimal_pairs.judge(*one, pairs, 'left_to_right')
  first, second = texts.sentence_scores(
    *one, ['the cat sat.', 'the dog ran on.'], 'left_to_right'
  ).log_probs
  assert first != second  # So one of the first two pairs is right.
  assert found['accuracy'] == pytest.approx(1 / 3)
  assert found['ties'] == 1
  assert found['right'] == {
    'a-0': first > second,
    'a-1': second > first,
    'a-2': False,
  }
  assert found['tokens'] == sum(
    len(one.tokenizer.encode(sentence))
    for pair in pairs
    for sentence in pair[:2]
  )


@pytest.mark.parametrize(
  'text, message',
  [
    (
      '{"sentence_good": "a"}\n',
      "b.jsonl, line 1, has None in.*'sentence_bad'",
    ),
    ('\n{\n', 'b.jsonl, line 2, is not JSON'),
    ('["a"]\n', 'line 1, is JSON, but a list'),
    ('{"sentence_good": " ", "sentence_bad": "a"}\n', 'line 1, has an empty'),
    ('{"sentence_good": "\\ud800", "sentence_bad": "a"}', 'surrogate'),
    ('\n', 'has no minimal pairs'),
  ],
)
def test_a_line_that_is_no_pair_is_named(tmp_path, text, message):
  (tmp_path / 'b.jsonl').write_text(text)
  with pytest.raises(UserError, match=message):
    minimal_pairs.read(str(tmp_path))


def test_what_is_no_archive_is_refused(tmp_path):
  with pytest.raises(UserError, match='no such file'):
    minimal_pairs.read(str(tmp_path / 'none.zip'))
  (tmp_path / 'b.zip').write_text('?')
  with pytest.raises(UserError, match='cannot be unpacked'):
    minimal_pairs.read(str(tmp_path / 'b.zip'))
  with zipfile.ZipFile(tmp_path / 'b.zip', 'w') as members:
    members.writestr('c.jsonl', b'\xb0')
  with pytest.raises(UserError, match=r'b.zip:c.jsonl is not UTF-8'):
    minimal_pairs.read(str(tmp_path / 'b.zip'))


def test_the_authors_figures_are_read_where_they_are(archive, directory):
  assert minimal_pairs.authors(str(archive)) == {
    '5-gram': {'a_1': 25.0},
    'LSTM': {'a_1': 50.0},
    'Transformer-XL': {'a_1': 75.0},
    'GPT-2': {'a_1': 100.0},
  }
  assert minimal_pairs.authors(str(directory)) == {}


def test_what_is_published_is_read(shared):
  pairs = minimal_pairs.read(str(shared / 'data/blimp'))
  assert len(pairs) == 67000
  counts = {}
  for pair in pairs:
    counts[pair.paradigm] = counts.get(pair.paradigm, 0) + 1
  assert len(counts) == 67 and {*counts.values()} == {1000}
  assert len({pair.phenomenon for pair in pairs}) == 12
  figures = minimal_pairs.authors(str(shared / 'data/blimp'))
  assert {
    model: round(float(np.mean([*by_paradigm.values()])), 1)
    for model, by_paradigm in figures.items()
  } == minimal_pairs.AUTHORS
  assert all(theirs.keys() == counts.keys() for theirs in figures.values())
