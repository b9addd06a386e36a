"""Sources and targets are read from parallel files, tables and JSON lines."""

import gzip

import pytest

from lm.records import reading
from lm.types import UserError


def _read(path, source='parallel', *columns, **options):
  return reading.read('pairs', source, str(path), columns=columns, **options)


def _texts(found):
  return [(row['source'], row.get('target')) for row in found.rows]


@pytest.fixture
def folder(tmp_path):
  for name, en, de in [
    ('a', 'one\ntwo', 'eins\nzwei'),
    ('b', 'three\n', 'drei'),
  ]:
    (tmp_path / f'{name}.en').write_text(en)
    (tmp_path / f'{name}.de').write_text(de)
    (tmp_path / f'{name}.en.gz').write_bytes(gzip.compress(en.encode()))
    (tmp_path / f'{name}.de.gz').write_bytes(gzip.compress(de.encode()))
  return tmp_path


@pytest.mark.parametrize('end', ['', '.gz'])
def test_lines_of_parallel_files_belong_together(folder, end):
  found = _read(f'{folder}/a.{{en,de}}{end}')

  assert _texts(found) == [('one', 'eins'), ('two', 'zwei')]
  assert [row['id'] for row in found.rows] == ['a:1', 'a:2']
  assert found.rows[1]['where'] == f'{folder}/a.en{end}:2'
  turned = _read(f'{folder}/a.de{end} -> {folder}/a.en{end}')
  assert _texts(turned) == [('eins', 'one'), ('zwei', 'two')]


def test_globs_on_both_sides_are_taken_in_the_order_of_names(folder):
  expected = [('one', 'eins'), ('two', 'zwei'), ('three', 'drei')]

  assert _texts(_read(f'{folder}/*.{{en,de}}')) == expected
  assert _texts(_read(f'{folder}/[ab].en -> {folder}/[ab].de')) == expected
  assert _texts(_read(f'{folder}/a.en')) == [('one', None), ('two', None)]


def test_line_counts_that_differ_are_refused_with_both_counts_and_files(folder):
  (folder / 'a.de').write_text('eins\nzwei\n\ndrei\n')

  with pytest.raises(
    UserError, match=r'a\.en: it has 2 lines, but .*a\.de has 4'
  ):
    _read(f'{folder}/*.{{en,de}}')
  found = _read(f'{folder}/*.{{en,de}}', on_error='skip')

  assert found.left_out == {'mismatched line counts': 4}
  assert _texts(found) == [('three', 'drei')]


@pytest.mark.parametrize(
  'content, reason, message',
  [
    (b'eins\n \n', 'an empty field', r'a\.de:2: its target is empty'),
    (b'eins\nzw\xe4\n', 'not UTF-8', r'a\.de:2: byte 0xe4 is not UTF-8'),
  ],
)
def test_a_line_that_cannot_be_used_is_named_on_its_side(
  folder, content, reason, message
):
  (folder / 'a.de').write_bytes(content)

  with pytest.raises(UserError, match=message):
    _read(f'{folder}/a.{{en,de}}')
  found = _read(f'{folder}/a.{{en,de}}', on_error='skip')

  assert (found.left_out, _texts(found)) == ({reason: 1}, [('one', 'eins')])


@pytest.mark.parametrize(
  'path, message',
  [
    ('*.en -> {}/a.de', '2 match .*en, 1 match .*a.de'),
    ('{{a,b}}.{{en,de}}', 'more than two sides'),
    ('a.en -> b -> c', 'more than two sides'),
    ('c.{{en,de}}', 'c.en.*no such file'),
  ],
)
def test_paths_that_do_not_name_two_sides_are_refused(folder, path, message):
  with pytest.raises(UserError, match=message):
    _read(f'{folder}/' + path.format(folder))


def test_a_table_has_source_target_and_perhaps_more(tmp_path):
  (tmp_path / 'cmn.txt').write_text('Hi.\t嗨。\tCC-BY 2.0\nRun!\t"跑\tCC-BY\n')
  (tmp_path / 'a.tsv').write_text('target\tsource\n嗨。\tHi.\n')

  assert _texts(_read(tmp_path / 'cmn.txt', 'tsv')) == [
    ('Hi.', '嗨。'),
    ('Run!', '"跑'),
  ]
  assert _texts(_read(tmp_path / 'a.tsv', 'tsv')) == [('Hi.', '嗨。')]
  turned = _read(tmp_path / 'cmn.txt', 'tsv', 'source=1', 'target=0')
  assert _texts(turned)[0] == ('嗨。', 'Hi.')


def test_objects_of_json_lines_are_read_by_usual_or_given_names(tmp_path):
  file = tmp_path / 'a.jsonl'
  file.write_text('{"article": "long", "highlights": "short", "id": "x"}')
  (tmp_path / 'b.jsonl').write_text('{"en": "one", "de": null}')

  assert _read(file, 'jsonl').rows == (
    {'id': 'x', 'where': f'{file}:1', 'source': 'long', 'target': 'short'},
  )
  both = ('source=en', 'target=de')
  assert _texts(_read(tmp_path / 'b.jsonl', 'jsonl', *both)) == [('one', None)]


@pytest.mark.parametrize(
  'line, reason, message',
  [
    ('{"source": "a", "target": ""}', 'an empty field', 'its target is empty'),
    ('{"source": 3, "target": "b"}', 'not a text', 'its source is 3, not a'),
    ('{"source": "a", "target": ["b"]}', 'not a text', 'its target is'),
    ('{"target": "b"}', 'a missing field', "no field 'source'"),
  ],
)
def test_an_object_that_is_no_pair_is_an_error_or_left_out(
  tmp_path, line, reason, message
):
  file = tmp_path / 'a.jsonl'
  file.write_text(f'{{"source": "good", "target": "gut"}}\n{line}')

  with pytest.raises(UserError, match=rf'jsonl:2: .*{message}'):
    _read(file, 'jsonl')
  assert _read(file, 'jsonl', on_error='skip').left_out == {reason: 1}
