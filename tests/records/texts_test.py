"""Texts and their labels are read from tables, JSON lines and GLUE's files."""

import gzip

import pytest

from lm.records import reading
from lm.types import UserError


def _read(path, source='tsv', *columns, **options):
  return reading.read('texts', source, str(path), columns=columns, **options)


def _bare(found):
  """Rows without what every record has."""
  names = ('id', 'where')
  return [
    {name: value for name, value in row.items() if name not in names}
    for row in found.rows
  ]


@pytest.mark.parametrize(
  'content, columns',
  [
    ('sentence\tlabel\ngood film\tpos\n"bad" film \tneg\n', ()),
    ('good film\tpos\n"bad" film\tneg\n', ()),
    ('\ufeffsentence\tlabel\r\ngood film\tpos\r\n"bad" film\tneg\r\n', ()),
    ('x\ty\tz\npos\t-\tgood film\nneg\t-\t"bad" film\n', ('text=z', 'label=x')),
    ('pos\t-\tgood film\nneg\t-\t"bad" film\n', ('text=2', 'label=0')),
    ('pos\t-\tgood film\nneg\t-\t"bad" film\n', ('text=-1', 'label=0')),
    (
      '?\t?\npos\tgood film\nneg\t"bad" film',
      ('text=1', 'label=0', 'header=yes'),
    ),
    ('good film\tpos\n"bad" film\tneg\n', ('header=no',)),
    (
      'text\tkind\ngood film\tpos\n"bad" film\tneg',
      ('text=text', 'label=kind'),
    ),
  ],
)
def test_a_tab_separated_table_is_read_with_or_without_a_header(
  tmp_path, content, columns
):
  (tmp_path / 'dev.tsv').write_bytes(content.encode())
  (tmp_path / 'dev.tsv.gz').write_bytes(gzip.compress(content.encode()))

  for name in ('dev.tsv', 'dev.tsv.gz'):
    found = _read(tmp_path / name, 'tsv', *columns)

    assert _bare(found) == [
      {'text': 'good film', 'label': 'pos'},
      {'text': '"bad" film', 'label': 'neg'},
    ]
    assert [row['id'] for row in found.rows] == ['dev:1', 'dev:2']
    first = content.split('good film')[0].count('\n') + 1
    assert found.rows[0]['where'] == f'{tmp_path / name}:{first}'
    assert found.left_out == {}


def test_cells_of_a_csv_file_may_hold_commas_quotes_and_lines(tmp_path):
  file = tmp_path / 'a.csv'
  file.write_text('text,label\n"one, ""two""\nthree",pos\n\nfour,neg\n')

  found = _read(file, 'csv')

  assert _bare(found) == [
    {'text': 'one, "two"\nthree', 'label': 'pos'},
    {'text': 'four', 'label': 'neg'},
  ]
  assert [row['where'] for row in found.rows] == [f'{file}:2', f'{file}:5']


def test_objects_of_json_lines_are_read_by_their_usual_or_given_names(tmp_path):
  file = tmp_path / 'a.jsonl'
  file.write_text(
    '{"premise": "p", "hypothesis": "h", "label": 1, "idx": 7, "note": [1]}\n'
    '\n{"premise": "你", "hypothesis": "h\\n", "label": null}'
  )

  assert _bare(_read(file, 'jsonl')) == [
    {'text': 'p', 'text_pair': 'h', 'label': '1'},
    {'text': '你', 'text_pair': 'h'},
  ]
  assert [row['id'] for row in _read(file, 'jsonl').rows] == ['7', 'a:2']
  columns = ('text=hypothesis', 'label?=missing')
  assert _bare(_read(file, 'jsonl', *columns)) == [{'text': 'h'}, {'text': 'h'}]


def test_a_score_is_a_number(tmp_path):
  (tmp_path / 'a.tsv').write_text('one\t2.5\ntwo\t0\n')
  (tmp_path / 'a.jsonl').write_text('{"text": "one", "score": 3}')

  found = _read(tmp_path / 'a.tsv', 'tsv', 'text=0', 'score=1')

  assert [row['label'] for row in found.rows] == [2.5, 0.0]
  assert _bare(_read(tmp_path / 'a.jsonl', 'jsonl')) == [
    {'text': 'one', 'label': 3.0}
  ]


MNLI = (
  'index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\t'
  'sentence2_binary_parse\tsentence1_parse\tsentence2_parse\tsentence1\t'
  'sentence2'
)
# What a file of each task begins with, and its row; as GLUE's archives have it.
GLUE = [
  (
    'CoLA/train',
    "gj04\t1\t\tOur friends won't buy this analysis.\n"
    'gj04\t0\t*\tThey drank the pub.',
    {'text': "Our friends won't buy this analysis.", 'label': '1'},
    'train:1',
  ),
  (
    'CoLA/test',
    'index\tsentence\n0\tBill whistled past the house.',
    {'text': 'Bill whistled past the house.'},
    '0',
  ),
  (
    'SST-2/dev',
    "sentence\tlabel\nit 's a charming journey . \t1",
    {'text': "it 's a charming journey .", 'label': '1'},
    'dev:1',
  ),
  (
    'MRPC/dev',
    '\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n'
    '1\t1355540\t1355592\tHe said "x .\tThe x , " he said .',
    {'text': 'He said "x .', 'text_pair': 'The x , " he said .', 'label': '1'},
    'dev:1',
  ),
  (
    'MRPC/test',
    'index\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t1\t2\tone\ttwo',
    {'text': 'one', 'text_pair': 'two'},
    '0',
  ),
  (
    'QQP/train',
    'id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n'
    '133273\t213221\t213222\tHow is "x"?\tWhat is x?\t0',
    {'text': 'How is "x"?', 'text_pair': 'What is x?', 'label': '0'},
    '133273',
  ),
  (
    'QQP/test',
    'id\tquestion1\tquestion2\n0\tWould?\tWhat?',
    {'text': 'Would?', 'text_pair': 'What?'},
    '0',
  ),
  (
    'STS-B/train',
    'index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\t'
    'sentence2\tscore\n'
    '0\tmain-captions\tMSRvid\t2012test\t1\tnone\tnone\tA plane.\tAn air'
    ' plane.\t5.000',
    {'text': 'A plane.', 'text_pair': 'An air plane.', 'label': 5.0},
    '0',
  ),
  (
    'MNLI/train',
    f'{MNLI}\tlabel1\tgold_label\n'
    '0\t31193\t31193n\tgovernment\t( a\t( b\t(R\t(S\tOne.\tTwo.\tneutral\tneutral',
    {'text': 'One.', 'text_pair': 'Two.', 'label': 'neutral'},
    '0',
  ),
  (
    'MNLI/dev_matched',
    f'{MNLI}\tlabel1\tlabel2\tlabel3\tlabel4\tlabel5\tgold_label\n'
    '0\t1\t1n\tslate\t(\t(\t(\t(\tOne.\tTwo.\tneutral\tentailment\tneutral\t'
    'contradiction\tcontradiction\tcontradiction',
    {'text': 'One.', 'text_pair': 'Two.', 'label': 'contradiction'},
    '0',
  ),
  (
    'MNLI/test_mismatched',
    f'{MNLI}\n9\t1\t1n\tslate\t(\t(\t(\t(\tOne.\tTwo.',
    {'text': 'One.', 'text_pair': 'Two.'},
    '9',
  ),
  (
    'QNLI/dev',
    'index\tquestion\tsentence\tlabel\n0\tWho?\tThey did.\tnot_entailment',
    {'text': 'Who?', 'text_pair': 'They did.', 'label': 'not_entailment'},
    '0',
  ),
  (
    'RTE/train',
    'index\tsentence1\tsentence2\tlabel\n0\tOne.\tTwo.\tentailment',
    {'text': 'One.', 'text_pair': 'Two.', 'label': 'entailment'},
    '0',
  ),
  (
    'WNLI/test',
    'index\tsentence1\tsentence2\n0\tOne.\tTwo.',
    {'text': 'One.', 'text_pair': 'Two.'},
    '0',
  ),
]


@pytest.mark.parametrize(
  'name, content, row, id', GLUE, ids=lambda x: str(x)[:9]
)
def test_glue_files_are_read_as_each_task_lays_them_out(
  tmp_path, name, content, row, id
):
  file = tmp_path / f'{name}.tsv'
  file.parent.mkdir()
  file.write_text(f'{content}\n', encoding='utf-8')
  name = file.stem.replace('dev', 'validation')

  for path, split in (
    (file, ''),
    (file.parent, file.stem),
    (file.parent, name),
  ):
    found = _read(path, 'glue', split=split)

    assert _bare(found)[0] == row
    assert found.rows[0]['id'] == id


@pytest.mark.parametrize(
  'path, split, columns, message',
  [
    ('SST-2', 'test', (), r"split is 'test', .* its splits are dev, train"),
    ('SST-2', '', (), "split is ''"),
    ('SST-2/dev.tsv', '', ('text=0',), 'glue knows its columns'),
    ('SST-2/train.tsv', '', (), r'train.tsv:1 is .*no file of GLUE begins'),
  ],
)
def test_what_is_not_of_glue_is_refused(
  tmp_path, path, split, columns, message
):
  (tmp_path / 'SST-2').mkdir()
  (tmp_path / 'SST-2/dev.tsv').write_text('sentence\tlabel\na\t1\n')
  (tmp_path / 'SST-2/train.tsv').write_text('a\t1\n')

  with pytest.raises(UserError, match=message):
    _read(tmp_path / path, 'glue', *columns, split=split)


@pytest.mark.parametrize(
  'content, columns, message',
  [
    (
      'text\tlabel\na\tb',
      ('text=body',),
      r"has 'body', but .*a:1 has no such.*"
      "'text', 'label'",
    ),
    ('a\tb', ('text=0', 'label=2'), 'a:1 has 2 columns, but'),
    ('a\tb', ('text=0', 'label=-3'), 'a:1 has 2 columns, but'),
    ('a\tb\tc\td', (), 'a:1 has 4 columns, but'),
    ('a\tb', ('text=0', 'labels=1'), "'labels=1', which is not to be read"),
    ('a\tb', ('text=0', 'text=1'), "'text=1', which is not to be read"),
    ('a\tb', ('0',), "'0', which is not to be read"),
    ('a\tb', ('label=1',), 'has to have a text'),
    ('a\tb', ('text?=0',), 'has to have a text'),
    ('a\tb', ('text=0', 'header=maybe'), "'header=yes' or 'header=no'"),
    ('a\tb', ('text=a', 'header=no'), 'has numbers only'),
  ],
)
def test_columns_that_are_not_there_are_refused(
  tmp_path, content, columns, message
):
  (tmp_path / 'a').write_text(content)

  for on_error in ('error', 'skip'):
    with pytest.raises(UserError, match=message):
      _read(tmp_path / 'a', 'tsv', *columns, on_error=on_error)


@pytest.mark.parametrize(
  'source, content, columns, reason, message',
  [
    ('tsv', b'a\t1\n\t1', (), 'an empty field', 'a:2: its text is empty'),
    ('tsv', b'a\t1\nb\t ', (), 'an empty field', 'a:2: its label is empty'),
    ('tsv', b'a\t1\nb\t1\tc', (), 'wrong number of columns',
     'a:2: it has 3 columns, but the first line has 2'),
    ('tsv', b'a\t1\n\nb\t1', (), 'wrong number of columns', 'a:2: it has 1'),
    ('tsv', b'a\t1\nb\xe9\t1', (), 'not UTF-8', 'a:2: byte 0xe9 is not UTF-8'),
    ('tsv', b'a\t1\nb\tx', ('text=0', 'score=1'), 'not a number',
     "a:2: its score is 'x'"),
    ('tsv', b'a\t1\nb\tnan', ('text=0', 'score=1'), 'not a number',
     "a:2: its score is 'nan'"),
    ('csv', b'a,1\nb\xe9,1', (), 'not UTF-8', 'a:2: byte 0xe9'),
    ('csv', b'a,1\n"b"c,1', (), 'not CSV', 'a:2: this is not CSV'),
    ('csv', b'a,1\n"b,1', (), 'not CSV', 'a:2: this is not CSV'),
    ('jsonl', b'{"text": "a"}\n{"text"', (), 'not JSON', 'a:2: this is not JSON'),
    ('jsonl', b'{"text": "a"}\n["b"]', (), 'not JSON', 'a:2: .* list and not'),
    ('jsonl', b'{"text": "a"}\n{"t": "b"}', ('text=text',), 'a missing field',
     "a:2: it has no field 'text', only 't'"),
    ('jsonl', b'{"text": "a"}\n{"t": "b"}', (), 'a missing field', 'a:2: it has'),
    ('jsonl', b'{"text": "a"}\n{"text": 3}', (), 'not a text', 'a:2: .* is 3'),
    ('jsonl', b'{"text": "a"}\n{"text": null}', (), 'not a text', 'a:2: '),
    ('jsonl', b'{"text": "a"}\n{"text": "b", "label": 0.5}', (), 'not a label',
     "a:2: its label is 0.5.*'score=COLUMN'"),
    ('jsonl', b'{"text": "a"}\n{"text": "\\ud83d"}', (), 'not UTF-8',
     r'a:2: \\ud83d is half of a surrogate pair'),
    ('jsonl', b'{"text": "a"}\n{"text": "\xff"}', (), 'not UTF-8', 'a:2: byte'),
  ],
)  # fmt: skip
def test_an_entry_that_cannot_be_used_is_an_error_or_left_out_and_counted(
  tmp_path, source, content, columns, reason, message
):
  (tmp_path / 'a').write_bytes(content)

  with pytest.raises(UserError, match=message):
    _read(tmp_path / 'a', source, *columns)
  found = _read(tmp_path / 'a', source, *columns, on_error='skip')

  assert found.left_out == {reason: 1}
  assert found.rows[0]['text'] == 'a'
  assert len(found.rows) == (2 if b'\n\n' in content else 1)
