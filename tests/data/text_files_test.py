"""Files of text are found, read line by line, and refused where they must."""

import gzip
import tracemalloc

import pytest

from lm.data import text_files
from lm.types import UserError


def _paragraphs(*files):
  return list(text_files.paragraphs(files))


@pytest.mark.parametrize(
  'content, expected',
  [
    (b'one\ntwo\n\nthree\n', ['one\ntwo', 'three']),
    (b'\n\n\none\n \t\n\ntwo', ['one', 'two']),
    (b'  kept in\n  \n', ['  kept in']),
    (b'from\r\nWindows\r\n\r\nend\r\n', ['from\nWindows', 'end']),
    ('\ufeffmarked \ufeff'.encode(), ['marked \ufeff']),
    ('你好\n\u3000\n世界\u2028一行'.encode(), ['你好', '世界\u2028一行']),
    (b' \n\n', []),
  ],
)
def test_a_paragraph_is_a_run_of_lines_between_blank_ones(
  tmp_path, content, expected
):
  (tmp_path / 'a.txt').write_bytes(content)
  (tmp_path / 'a.txt.gz').write_bytes(gzip.compress(content))

  assert _paragraphs(tmp_path / 'a.txt') == expected
  assert _paragraphs(tmp_path / 'a.txt.gz') == expected


def test_a_paragraph_does_not_cross_the_end_of_a_file(tmp_path):
  (tmp_path / 'a.txt').write_text('one')
  (tmp_path / 'b.txt').write_text('two')

  assert _paragraphs(tmp_path / 'a.txt', tmp_path / 'b.txt') == ['one', 'two']


def test_reading_a_file_holds_little_of_it_in_memory(tmp_path):
  file = tmp_path / 'big.txt'
  file.write_text(('word ' * 200 + '\n\n') * 8000)
  tracemalloc.start()

  count = sum(1 for _ in text_files.paragraphs([file]))
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()

  assert count == 8000
  assert peak < 0.1 * file.stat().st_size


def test_files_are_found_in_the_order_of_their_names(tmp_path):
  for name in ['b.txt', 'a.txt', 'c.md', 'sub/d.txt', 'what?.txt']:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(name)

  def found(pattern):
    files = text_files.find(f'{tmp_path}/{pattern}')
    return [str(file.relative_to(tmp_path)) for file in files]

  assert found('c.md') == ['c.md']
  assert found('[ab].txt') == ['a.txt', 'b.txt']
  assert found('**/*.txt') == ['a.txt', 'b.txt', 'sub/d.txt', 'what?.txt']
  assert found('what?.txt') == ['what?.txt']


@pytest.mark.parametrize(
  'pattern, message',
  [
    ('none.txt', 'no such file'),
    ('*.rst', 'no such file'),
    ('', 'a directory'),
    ('empty.txt', 'every file is empty'),
    ('empty*', 'every file is empty'),
  ],
)
def test_a_path_without_text_is_refused(tmp_path, pattern, message):
  for name in ['empty.txt', 'empty.md']:
    (tmp_path / name).touch()

  with pytest.raises(UserError, match=f'config.data.path is .*{message}'):
    text_files.find(f'{tmp_path}/{pattern}')


@pytest.mark.parametrize('name', ['a.txt', 'a.txt.gz'])
@pytest.mark.parametrize(
  'content, place',
  [
    (b'\xff\xfeh\x00i\x00', 'byte 0xff at offset 0, in line 1,'),
    (b'good\n\nb\xe9d\n', 'byte 0xe9 at offset 7, in line 3,'),
    (b'\xef\xbb\xbfgood\nb\xe4\xbd', 'byte 0xe4 at offset 9, in line 2,'),
  ],
)
def test_invalid_utf8_is_said_with_its_place(tmp_path, name, content, place):
  packed = gzip.compress(content) if name.endswith('.gz') else content
  (tmp_path / name).write_bytes(packed)

  with pytest.raises(UserError, match=f'{name} is not UTF-8 text: {place}'):
    _paragraphs(tmp_path / name)


@pytest.mark.parametrize(
  'content', [b'not gzip', gzip.compress(b'text ' * 99)[:-9], b'\x1f\x8b' * 20]
)
def test_a_gzip_file_that_is_not_intact_is_refused(tmp_path, content):
  (tmp_path / 'a.gz').write_bytes(content)

  with pytest.raises(UserError, match=r'a\.gz cannot be unpacked'):
    _paragraphs(tmp_path / 'a.gz')


def test_a_field_of_json_lines_is_read(tmp_path):
  file = tmp_path / 'a.jsonl'
  file.write_text(
    '{"text": "one\\n\\nstill one", "id": 1}\n\n{"text": ""}\n'
    '{"text": " "}\n{"text": "\\u4f60\\u597d"}',
  )

  assert list(text_files.fields([file], 'text')) == ['one\n\nstill one', '你好']


@pytest.mark.parametrize(
  'line, message',
  [
    ('{"text": ', 'line 2, is not JSON: .*column 10'),
    ('plain text', 'line 2, is not JSON'),
    ('["text"]', 'line 2, is JSON but not an object'),
    ('{"body": "b", "n": 1}', r"line 2, has no text in .*'text'.*\['body'\]"),
    ('{"text": ["a"]}', "line 2, has no text in a field 'text'"),
    ('{"text": null}', "line 2, has no text in a field 'text'"),
    (r'{"text": "\ud83d"}', 'line 2, has half of a surrogate pair'),
  ],
)
def test_a_line_without_the_field_is_named(tmp_path, line, message):
  file = tmp_path / 'a.jsonl'
  file.write_text('{"text": "good"}\n' + line)

  with pytest.raises(UserError, match=f'a.jsonl, {message}'):
    list(text_files.fields([file], 'text'))
