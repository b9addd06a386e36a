"""Predictions are read as they were written, and as servers take them."""

import json

import numpy as np
import pytest

from lm.tasks import predictions
from lm.types import UserError

TEXTS = ['', 'Zürich', '北京\u2028\x85', 'a\nb\tc\r', '"\\', '🙂', 'nul\x00']


def rows_of(*values):
  return [{'id': i, 'prediction': value} for i, value in enumerate(values)]


def test_any_text_is_read_as_it_was_written(tmp_path):
  rows = [
    {'id': f'é{i}', 'prediction': text, 'label': text, 'score': i / 3}
    for i, text in enumerate(TEXTS)
  ]
  (path,) = predictions.write(rows, tmp_path)
  assert path == tmp_path / 'predictions.jsonl'
  assert predictions.read(path) == rows
  assert path.read_bytes().count(b'\n') == len(rows)
  assert 'Zürich' in path.read_text('utf-8')  # As a person reads it.


def test_what_numpy_holds_is_written_as_numbers(tmp_path):
  row = {
    'id': np.int64(3),
    'prediction': np.str_('yes'),
    'score': np.float32(0.5),
    'probabilities': {'yes': np.float64(0.75)},
    'tags': np.array([1, 2]),
  }
  path = tmp_path / 'new' / 'one.jsonl'
  predictions.write_jsonl([row], path)
  assert json.loads(path.read_text()) == {
    'id': 3,
    'prediction': 'yes',
    'score': 0.5,
    'probabilities': {'yes': 0.75},
    'tags': [1, 2],
  }


GLUE = {
  'cola': ('CoLA.tsv', ['unacceptable', 'acceptable'], ['0', '1']),
  'sst2': ('SST-2.tsv', ['positive', 0, '1'], ['1', '0', '1']),
  'mrpc': ('MRPC.tsv', ['equivalent', 'not_equivalent'], ['1', '0']),
  'qqp': ('QQP.tsv', ['duplicate', 'not_duplicate'], ['1', '0']),
  'stsb': ('STS-B.tsv', [-1.0, 2.34567, 7, 5.0], ['0.000', '2.346', '5.000', '5.000']),
  'mnli': ('MNLI-m.tsv', [0, 1, 2], ['entailment', 'neutral', 'contradiction']),
  'mnli_matched': ('MNLI-m.tsv', ['neutral'], ['neutral']),
  'mnli_mismatched': ('MNLI-mm.tsv', [np.int64(2)], ['contradiction']),
  'qnli': ('QNLI.tsv', [0, 1], ['entailment', 'not_entailment']),
  'rte': ('RTE.tsv', ['not_entailment'], ['not_entailment']),
  'wnli': ('WNLI.tsv', ['entailment', 'not_entailment'], ['1', '0']),
  'ax': ('AX.tsv', ['contradiction'], ['contradiction']),
}  # fmt: skip


def test_all_tasks_of_glue_can_be_submitted():
  assert predictions.SUBMISSIONS.keys() == GLUE.keys()


@pytest.mark.parametrize('task', GLUE)
def test_glues_server_gets_its_own_names(tmp_path, task):
  name, values, labels = GLUE[task]
  (path,) = predictions.write(rows_of(*values), tmp_path, 'glue', task)
  assert path == tmp_path / name
  lines = [f'{index}\t{label}' for index, label in enumerate(labels)]
  assert path.read_bytes().decode().split('\n') == [
    'index\tprediction', *lines, ''
  ]  # fmt: skip
  back = predictions.read(path)
  if task == 'stsb':
    labels = [float(label) for label in labels]
  assert back == rows_of(*labels)


def test_glue_is_written_in_the_order_of_its_indices(tmp_path):
  rows = [
    {'id': '10', 'prediction': 1},
    {'id': '9', 'prediction': 0},
    {'id': '0', 'prediction': 1},
  ]
  (path,) = predictions.write(rows, tmp_path, 'glue', 'cola')
  assert path.read_text() == 'index\tprediction\n0\t1\n9\t0\n10\t1\n'


def test_squads_programs_get_a_text_by_id(tmp_path):
  rows = [{'id': f'q{i}', 'prediction': text} for i, text in enumerate(TEXTS)]
  (path,) = predictions.write(rows, tmp_path, 'squad')
  answers = {f'q{i}': text for i, text in enumerate(TEXTS)}
  assert json.loads(path.read_text('utf-8')) == answers
  assert path.name == 'predictions.json'
  assert predictions.read(path) == rows


def test_probabilities_of_no_answer_stand_beside(tmp_path):
  rows = [
    {'id': 'a', 'prediction': '', 'no_answer_probability': 0.9},
    {'id': 'b', 'prediction': 'x', 'no_answer_probability': np.float32(0.25)},
  ]
  path, beside = predictions.write(rows, tmp_path, 'squad')
  assert beside == tmp_path / 'na_prob.json'
  assert json.loads(beside.read_text()) == {'a': 0.9, 'b': 0.25}
  assert predictions.read(path) == rows
  # Those of other predictions do not stay.
  others = [{'id': 'a', 'prediction': ''}]
  predictions.write(others, tmp_path, 'squad')
  assert predictions.read(path) == others


def test_nothing_is_left_of_what_was_not_written_whole(tmp_path):
  rows = [{'id': 0, 'prediction': object()}]
  with pytest.raises(TypeError):
    predictions.write(rows, tmp_path)
  assert [*tmp_path.iterdir()] == []
  predictions.write(rows_of('before'), tmp_path)
  with pytest.raises(TypeError):
    predictions.write(rows, tmp_path)
  (path,) = tmp_path.iterdir()
  assert predictions.read(path) == rows_of('before')


@pytest.mark.parametrize(
  'rows, format, task, message',
  [
    (rows_of('a'), 'csv', '', "'csv'.*jsonl, glue, squad"),
    (rows_of('a'), 'glue', 'sst', r"'sst'.*config\.task\.glue.*sst2"),
    (rows_of('maybe'), 'glue', 'rte', "of 0 is 'maybe'.*not_entailment"),
    (rows_of(2), 'glue', 'cola', 'of 0 is 2, .*unacceptable, acceptable'),
    (rows_of(-1), 'glue', 'cola', 'of 0 is -1'),
    (rows_of(float('nan')), 'glue', 'stsb', 'of 0 has nan'),
    (rows_of('high'), 'glue', 'stsb', "of 0 has 'high'"),
    ([{'id': 'x', 'prediction': 1}], 'glue', 'cola', "'x' is no number"),
    ([{'id': 1}], 'jsonl', '', "Prediction 0 has no 'prediction'"),
    ([{'prediction': 1}], 'squad', '', "Prediction 0 has no 'id'"),
    (rows_of('a') * 2, 'jsonl', '', 'Two predictions have the id 0'),
    (rows_of(float('inf')), 'jsonl', '', 'of 0 has inf'),
    (
      [*rows_of('a', 'b'), {'id': 9, 'prediction': '', 'no_answer_probability': 1}],
      'squad', '', '2 of 3 predictions have no no_answer_probability',
    ),
  ],
)  # fmt: skip
def test_what_cannot_be_written_is_said(tmp_path, rows, format, task, message):
  with pytest.raises(UserError, match=message):
    predictions.write(rows, tmp_path, format, task)
  assert not [*tmp_path.glob('*.tsv'), *tmp_path.glob('*.jsonl')]


@pytest.mark.parametrize(
  'name, text, message',
  [
    ('a.csv', '', r'a\.csv ends in none of .jsonl, .tsv, .json'),
    ('a.jsonl', '{"id": 1}\n\n{"id": \n', r'a\.jsonl:3 is no JSON'),
    ('a.jsonl', '[1]\n', r'a\.jsonl:1 is \[1\], not an object'),
    ('a.json', '[1]', r'a\.json is \[1\], not an object'),
    ('a.tsv', 'id\tlabel\n0\t1\n', r"a\.tsv:1 is 'id\\tlabel'"),
    ('a.tsv', 'index\tprediction\n0 1\n', r"a\.tsv:2 is '0 1'"),
    ('b.jsonl', None, r'no .*b\.jsonl'),
  ],
)
def test_what_cannot_be_read_is_said(tmp_path, name, text, message):
  path = tmp_path / name
  if text is not None:
    path.write_text(text)
  with pytest.raises(UserError, match=message):
    predictions.read(path)
