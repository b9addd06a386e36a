"""Files of text are found, read line by line, and refused where they must."""

import gzip
import tracemalloc

import pytest

from lm.data import text_files
from lm.types import UserError


def _paragraphs(*files):
  return list(text_files.paragraphs(map(text_files.Span, files)))


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

  count = sum(1 for _ in text_files.paragraphs([text_files.Span(file)]))
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

  assert list(text_files.fields([text_files.Span(file)], 'text')) == [
    'one\n\nstill one',
    '你好',
  ]


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
    list(text_files.fields([text_files.Span(file)], 'text'))


@pytest.mark.parametrize('after_blank', [True, False])
@pytest.mark.parametrize('size', [1, 7, 50, 333, 100_000])
def test_parts_have_all_documents_each_once_and_in_order(
  tmp_path, monkeypatch, after_blank, size
):
  names = ['a.txt', 'b.txt.gz', 'c.txt', 'd.txt', 'e.txt']
  texts = ['one\r\ntwo\r\n\r\n\r\n 你好\n \t\nx' * 30, 'packed\n\n' * 20, '']
  texts += ['\ufeff\n\n\nlast', 'long ' * 500 + '\n\nend\n']
  for name, text in zip(names, texts):
    code = text.encode()
    code = gzip.compress(code) if name.endswith('.gz') else code
    (tmp_path / name).write_bytes(code)
  files = [tmp_path / name for name in names]
  whole = _paragraphs(*files)
  monkeypatch.setattr(text_files, 'PART', size)

  parts = text_files.cut(files, after_blank)

  if after_blank:
    read = [t for spans in parts for t in text_files.paragraphs(spans)]
    assert read == whole
  lines = [t for spans in parts for s in spans for t in text_files.lines(*s)]
  assert lines == [t for file in files for t in text_files.lines(file)]
  assert [len(parts) == 1, len(parts) > 1] == [size == 100_000, size < 1000]
  sizes = [(s.end or s.file.stat().st_size) - s.start for p in parts for s in p]
  assert sum(sizes) == sum(file.stat().st_size for file in files)


def test_a_mistake_in_a_later_part_is_said_with_its_place(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(text_files, 'PART', 30)
  (tmp_path / 'a.jsonl').write_bytes(b'{"text": "good"}\n' * 9 + b'bad\n')
  (tmp_path / 'b.txt').write_bytes(b'good\n\n' * 20 + b'b\xe9d\n')

  *_, last = text_files.cut([tmp_path / 'a.jsonl'], after_blank=False)
  with pytest.raises(UserError, match=r'a\.jsonl, line 10, is not JSON'):
    list(text_files.fields(last, 'text'))
  *_, last = text_files.cut([tmp_path / 'b.txt'], after_blank=True)
  with pytest.raises(UserError, match='byte 0xe9 at offset 121, in line 41,'):
    list(text_files.paragraphs(last))
