"""Turns of dialogues are read from the forms that data sets have them in."""

import json
import zipfile

import pytest

from lm.records import reading
from lm.types import UserError


def _read(path, source, **options):
  return reading.read('dialogues', source, str(path), **options)


def _turns(found):
  return [row['turns'] for row in found.rows]


DAILY = (
  b'Hi , Jim . __eou__ Hi ! __eou__\nWhat ? __eou__ \xe4\xbd\xa0 __eou__\n'
)


def test_dailydialog_is_read_from_its_archive_or_from_a_file(tmp_path):
  (tmp_path / 'a.txt').write_bytes(DAILY)
  with zipfile.ZipFile(tmp_path / 'train.zip', 'w') as archive:
    archive.writestr('train/', '')
    archive.writestr('train/dialogues_act_train.txt', '3 4 \n2 3 \n')
    archive.writestr('train/dialogues_emotion_train.txt', '0 0 \n0 0 \n')
    archive.writestr('train/dialogues_train.txt', DAILY)
    archive.writestr('__MACOSX/train/._dialogues_train.txt', b'\x00')

  member = 'train.zip!train/dialogues_train.txt'
  for path in ('a.txt', 'train.zip', member):
    found = _read(tmp_path / path, 'dailydialog')
    assert _turns(found) == [['Hi , Jim .', 'Hi !'], ['What ?', '你']]
  assert found.rows[1]['where'] == f'{tmp_path}/{member}:2'
  assert found.rows[1]['id'] == 'dialogues_train:2'


def test_an_archive_with_several_files_must_be_told_which(tmp_path):
  with zipfile.ZipFile(tmp_path / 'a.zip', 'w') as archive:
    for name in ('x.jsonl', 'y.jsonl'):
      archive.writestr(name, f'{{"turns": ["{name}", "yes"]}}')
  (tmp_path / 'b.zip').write_bytes(b'no archive')

  for asked in ('', '!z.jsonl'):
    with pytest.raises(UserError, match=r'it has x\.jsonl, y\.jsonl\. Name'):
      _read(f'{tmp_path}/a.zip{asked}', 'jsonl')
  found = _read(f'{tmp_path}/a.zip!*.jsonl', 'jsonl')
  assert _turns(found) == [['x.jsonl', 'yes'], ['y.jsonl', 'yes']]
  with pytest.raises(UserError, match=r'b\.zip cannot be unpacked'):
    _read(tmp_path / 'b.zip', 'jsonl')


def test_kdconv_is_read_without_its_knowledge(tmp_path):
  attrs = [{'attrname': 'Information', 'attrvalue': 'x', 'name': 'y'}]
  messages = [{'message': '知道吗？'}, {'message': '知道。', 'attrs': attrs}]
  data = [{'name': 'y', 'messages': messages}, {'messages': messages[:1]}]
  (tmp_path / 'dev.json').write_text(json.dumps(data))

  found = _read(tmp_path / 'dev.json', 'kdconv')

  assert _turns(found) == [['知道吗？', '知道。'], ['知道吗？']]
  assert found.rows[1]['where'] == f'{tmp_path}/dev.json:entry 2'


def test_what_yaml_takes_for_a_number_or_a_truth_is_text(tmp_path):
  (tmp_path / 'a.yml').write_text(
    'categories:\n- AI\nconversations:\n- - Is it 1984?\n  - Yes\n'
    "- - How many?\n  - 22\n  - '007'\n"
  )

  found = _read(tmp_path / 'a.yml', 'chatterbot')

  assert _turns(found) == [['Is it 1984?', 'Yes'], ['How many?', '22', '007']]
  assert [row['where'] for row in found.rows] == [
    f'{tmp_path}/a.yml:{line}' for line in (4, 6)
  ]


@pytest.mark.parametrize('name', ['a.json', 'a.jsonl'])
def test_an_instruction_and_its_input_are_one_turn(tmp_path, name):
  rows = [
    {'instruction': 'Add. ', 'input': '1, 2', 'output': ' 3'},
    {'instruction': 'Greet.', 'input': '', 'output': 'Hi!'},
    {'instruction': 'Greet.'},
  ]
  lines = '\n'.join(map(json.dumps, rows))
  text = lines if name == 'a.jsonl' else json.dumps(rows)
  (tmp_path / name).write_text(text)

  assert _turns(_read(tmp_path / name, 'instructions')) == [
    ['Add.\n\n1, 2', '3'],
    ['Greet.', 'Hi!'],
    ['Greet.'],
  ]


def test_turns_in_json_lines_are_read(tmp_path):
  (tmp_path / 'a.jsonl').write_text('{"id": "x", "turns": [" a", "b"]}\n')

  (row,) = _read(tmp_path / 'a.jsonl', 'jsonl').rows

  where = f'{tmp_path}/a.jsonl:1'
  assert row == {'id': 'x', 'where': where, 'turns': ['a', 'b']}


GOOD = {
  'dailydialog': 'a __eou__ b __eou__\n',
  'kdconv': '[{"messages": [{"message": "a"}]}, ',
  'chatterbot': 'conversations:\n- - a\n  - b\n',
  'instructions': '[{"instruction": "a", "output": "b"}, ',
  'jsonl': '{"turns": ["a"]}\n',
}


@pytest.mark.parametrize(
  'source, content, reason, message',
  [
    ('dailydialog', 'a __eou__ __eou__ b __eou__', 'an empty field',
     ':2: its turn 2 is empty'),
    ('dailydialog', '', 'an empty field', ':2: its list of turns is empty'),
    ('dailydialog', '\udcff __eou__', 'not UTF-8', ':2: byte 0xff'),
    ('kdconv', '{"messages": [{"attrs": []}]}]', 'turns that are no texts',
     ':entry 2: its turns are .None., not'),
    ('kdconv', '{"messages": 3}]', 'an empty field', ':entry 2: '),
    ('kdconv', '3]', 'not an object', ':entry 2: it is 3, not an object'),
    ('chatterbot', '- just this', 'turns that are no texts',
     ":4: its turns are 'just this', not"),
    ('chatterbot', '- - a\n  - x: y', 'turns that are no texts', ":4: .*'a', None"),
    ('chatterbot', "- - a\n  - ''", 'an empty field', ':4: its turn 2 is empty'),
    ('instructions', '{"instruction": "", "input": "x", "output": "b"}]',
     'an empty field', ':entry 2: its turn 1 is empty'),
    ('instructions', '{"instruction": "a", "output": ""}]', 'an empty field',
     ':entry 2: its turn 2 is empty'),
    ('instructions', '{"output": "b"}]', 'turns that are no texts', ':entry 2: '),
    ('jsonl', '{"turns": []}', 'an empty field', ':2: its list of turns'),
    ('jsonl', '{"turns": "ab"}', 'turns that are no texts', ":2: .*'ab', not"),
    ('jsonl', '{"turn": ["a"]}', 'a missing field', ":2: it has no field 'turns'"),
  ],
)  # fmt: skip
def test_a_dialogue_that_cannot_be_used_is_an_error_or_left_out(
  tmp_path, source, content, reason, message
):
  text = f'{GOOD[source]}{content}\n'
  (tmp_path / 'a').write_bytes(text.encode(errors='surrogateescape'))

  with pytest.raises(UserError, match=f'a{message}'):
    _read(tmp_path / 'a', source)
  found = _read(tmp_path / 'a', source, on_error='skip')

  assert (found.left_out, len(found.rows)) == ({reason: 1}, 1)


@pytest.mark.parametrize(
  'source, content, message',
  [
    ('chatterbot', b'a: [\nb', 'a:2: this is not YAML'),
    ('chatterbot', b'a: b', "a:1: it has no list 'conversations'"),
    ('chatterbot', b'', "a:1: it has no list 'conversations'"),
    ('chatterbot', b'conversations:\n- - \xff', 'a:2: byte 0xff is not UTF-8'),
    ('kdconv', b'{}', 'a:1: it is JSON, but dict and not a list'),
    ('instructions', b'[', 'a:2: this is not JSON'),
  ],
)
def test_a_file_of_another_form_is_an_error(tmp_path, source, content, message):
  (tmp_path / 'a').write_bytes(content + b'\n')

  with pytest.raises(UserError, match=message):
    _read(tmp_path / 'a', source)
