"""Questions are read with answers that stand where they are said to."""

import json

import pytest

from lm.records import reading
from lm.types import UserError

CONTEXT = '  The Normans 你好 gave Normandy its name in France. '


def _read(path, source='squad', *columns, **options):
  return reading.read(
    'questions', source, str(path), columns=columns, **options
  )


def _squad(file, *questions, context=CONTEXT, **article):
  paragraph = {'context': context, 'qas': list(questions)}
  data = {'version': 'x', 'data': [article | {'paragraphs': [paragraph]}]}
  file.write_text(json.dumps(data, indent=1))
  return file


def test_squad_files_of_both_versions_are_read(tmp_path):
  said = {'text': 'Normandy', 'answer_start': 22}
  file = _squad(
    tmp_path / 'dev.json',
    {'id': 'a', 'question': ' Who? ', 'answers': [said, said]},
    {'id': 'b', 'question': 'Why?', 'answers': [], 'is_impossible': True,
     'plausible_answers': [said]},
    {'id': 'c', 'question': 'When?', 'is_impossible': False, 'answers': [said]},
    {'question': 'Unlabelled?'},
    title='Normans',
  )  # fmt: skip

  rows = _read(file).rows

  answer = {'text': 'Normandy', 'start': 22}
  assert CONTEXT[22:30] == 'Normandy'
  assert rows[0] == {
    'id': 'a',
    'where': f'{file}:entry 1',
    'title': 'Normans',
    'context': CONTEXT,
    'question': 'Who?',
    'answers': [answer, answer],
  }
  assert [row.get('answers') for row in rows[1:]] == [[], [answer], None]
  assert [row['id'] for row in rows[1:]] == ['b', 'c', 'dev:4']


def test_an_article_without_a_title_is_called_by_its_number(tmp_path):
  article = {
    'paragraphs': [{'context': 'c', 'qas': [{'question': 'q', 'answers': []}]}]
  }
  file = tmp_path / 'x.json'
  file.write_text(json.dumps({'data': [article, article]}))

  assert [row['title'] for row in _read(file).rows] == ['x/1', 'x/2']


@pytest.mark.parametrize(
  'answers',
  [
    [{'text': 'France', 'start': 43}, {'text': 'The', 'start': 2}],
    [
      {'text': 'France', 'answer_start': 43},
      {'text': 'The', 'answer_start': 2},
    ],
    {'text': ['France', 'The'], 'answer_start': [43, 2]},
    {'text': ['France', 'The'], 'start': [43, 2]},
  ],
)
def test_answers_in_json_lines_have_several_forms(tmp_path, answers):
  row = {'context': CONTEXT, 'question': 'Where?', 'answers': answers}
  (tmp_path / 'a.jsonl').write_text(json.dumps(row))

  (read,) = _read(tmp_path / 'a.jsonl', 'jsonl').rows

  assert read['answers'] == [
    {'text': 'France', 'start': 43},
    {'text': 'The', 'start': 2},
  ]
  assert (read['title'], read['id']) == ('', 'a:1')


MISPLACED = 'an answer that is not at its offset'


@pytest.mark.parametrize(
  'change, reason, message',
  [
    ({'answers': [{'text': 'France', 'answer_start': 42}]}, MISPLACED,
     "'France' does not stand at 42, where .* ' Franc', but at 43"),
    ({'answers': [{'text': 'Norm', 'answer_start': 21}]}, MISPLACED, 'at 22'),
    ({'answers': [{'text': 'Spain', 'answer_start': 3}]}, MISPLACED, 'nowhere'),
    ({'answers': [{'text': 'The', 'answer_start': -48}]}, MISPLACED, 'but at 2'),
    ({'answers': [{'text': 'The', 'answer_start': 999}]}, MISPLACED, 'but at 2'),
    ({'answers': [{'text': '', 'answer_start': 3}]}, 'an empty field',
     'its answer is empty'),
    ({'answers': [{'text': 'The'}]}, 'answers that are none', 'are .*not a list'),
    ({'answers': [{'text': 'The', 'answer_start': '2'}]},
     'answers that are none', 'not a list of'),
    ({'answers': {'text': ['The'], 'start': []}}, 'answers that are none', 'not'),
    ({'answers': 'The'}, 'answers that are none', "are 'The', not a list"),
    ({'question': ' '}, 'an empty field', 'its question is empty'),
    ({'question': None}, 'not a text', 'its question is None'),
    ({'id': 'a'}, 'a duplicate id', "'a', which is that of .*entry 1 too"),
  ],
)  # fmt: skip
def test_a_question_that_cannot_be_used_is_an_error_or_left_out(
  tmp_path, change, reason, message
):
  good = {'id': 'a', 'question': 'Who?', 'answers': []}
  file = _squad(tmp_path / 'a.json', good, good | {'id': 'b'} | change)

  with pytest.raises(UserError, match=rf'a.json:entry 2: .*{message}'):
    _read(file)
  found = _read(file, on_error='skip')

  assert found.left_out == {reason: 1}
  assert [row['id'] for row in found.rows] == ['a']


@pytest.mark.parametrize(
  'content, message',
  [
    (b'{"data": [\n}', 'a.json:2: this is not JSON'),
    (b'{"data": [\n"\xff"]}', 'a.json:2: byte 0xff is not UTF-8'),
    (b'[]', "a.json:1: it has no list 'data'"),
    (
      b'{"data": [{"paragraphs": 3}]}',
      "article 1: it has no list 'paragraphs'",
    ),
    (b'{"data": [{"paragraphs": [{}]}]}', "article 1: it has no list 'qas'"),
    (b'{"data": [{"paragraphs": [{"qas": [3]}]}]}', 'entry 1: it is 3, not'),
    (b'{"data": [{"paragraphs": [{"qas": [{}]}]}]}', 'its context is None'),
  ],
)
def test_a_file_that_is_not_as_squad_is_named_with_its_place(
  tmp_path, content, message
):
  (tmp_path / 'a.json').write_bytes(content)
  good = {'id': 'a', 'question': 'Who?', 'answers': []}
  _squad(tmp_path / 'b.json', good)

  with pytest.raises(UserError, match=message):
    _read(tmp_path / 'a.json')
  found = _read(tmp_path / '*.json', on_error='skip')

  assert sum(found.left_out.values()) == 1
  assert [row['id'] for row in found.rows] == ['a']
