"""Words and their tags are read, in IOB2 whatever the file has."""

import json

import pytest

from lm.records import reading
from lm.types import UserError


def _read(path, source='conll', *columns, **options):
  return reading.read('entities', source, str(path), columns=columns, **options)


CONLL_2003 = """-DOCSTART- -X- -X- O

EU NNP I-NP I-ORG
rejects VBZ I-VP O
# NN I-NP O

-DOCSTART- -X- O O

# # I-NP O
Peter NNP I-NP I-PER
Blackburn NNP I-NP I-PER
"""
COMMENTED = """# sent_id = 1
# text = the O
the\tDT\tO
U.S.\tNNP\tB-LOC

# sent_id = 2
# id 7\tdomain=en\tx
# id 7\tdomain=en\tx
#NFL\tNNP\tO
no\xa0break\tNN\tO
\u3000\tNN\tO
"""


def test_columns_comments_and_beginnings_of_documents_are_told_apart(tmp_path):
  (tmp_path / 'eng.train').write_text(CONLL_2003)
  (tmp_path / 'c').write_text(COMMENTED)

  rows = _read(tmp_path / 'eng.train').rows
  assert [(row['words'], row['tags']) for row in rows] == [
    (['EU', 'rejects', '#'], ['B-ORG', 'O', 'O']),
    (['#', 'Peter', 'Blackburn'], ['O', 'B-PER', 'I-PER']),
  ]
  assert [row['id'] for row in rows] == ['eng:1', 'eng:2']
  assert [row['where'] for row in rows] == [
    f'{tmp_path}/eng.train:{line}' for line in (3, 9)
  ]
  rows = _read(tmp_path / 'c').rows
  assert [row['words'] for row in rows] == [
    ['the', 'U.S.'],
    ['#NFL', 'no\xa0break', '\u3000'],
  ]
  assert rows[0]['tags'] == ['O', 'B-LOC']


def test_the_columns_of_word_and_tag_can_be_said(tmp_path):
  (tmp_path / 'a').write_text('1 B-LOC Rome x\n2 O is x\n')

  (row,) = _read(tmp_path / 'a', 'conll', 'words=2', 'tags=1').rows
  assert (row['words'], row['tags']) == (['Rome', 'is'], ['B-LOC', 'O'])
  (row,) = _read(tmp_path / 'a', 'conll', 'words=-2').rows
  assert (row['words'], 'tags' in row) == (['Rome', 'is'], False)


def test_a_single_column_is_of_words_without_tags(tmp_path):
  (tmp_path / 'a').write_text('Rome\nis\n\t\n\n\n\nold\n')

  rows = _read(tmp_path / 'a').rows

  assert [row['words'] for row in rows] == [['Rome', 'is'], ['old']]
  assert not any('tags' in row for row in rows)


def test_all_files_together_tell_the_scheme(tmp_path):
  (tmp_path / 'a').write_text('x I-LOC\ny I-LOC\n')
  (tmp_path / 'b').write_text('x I-LOC\ny B-LOC\n')

  rows = _read(tmp_path / '[ab]').rows

  assert [row['tags'] for row in rows] == [
    ['B-LOC', 'I-LOC'],
    ['B-LOC', 'B-LOC'],
  ]


def test_words_and_tags_in_json_lines_are_read(tmp_path):
  file = tmp_path / 'a.jsonl'
  rows = [
    {'words': ['New', 'York'], 'tags': ['B-LOC', 'E-LOC'], 'id': 5},
    {'words': ['Rome'], 'tags': ['S-LOC']},
    {'words': ['old']},
  ]
  file.write_text('\n'.join(map(json.dumps, rows)))
  (tmp_path / 'b.jsonl').write_text('{"tokens": ["a"], "ner_tags": ["O"]}')

  found = _read(file, 'jsonl').rows

  assert [row.get('tags') for row in found] == [
    ['B-LOC', 'I-LOC'],
    ['B-LOC'],
    None,
  ]
  assert [row['id'] for row in found] == ['5', 'a:2', 'a:3']
  assert _read(tmp_path / 'b.jsonl', 'jsonl').rows[0]['words'] == ['a']


GOOD = 'a O\nb B-LOC\nc I-LOC\n\nd B-PER\n\n'


@pytest.mark.parametrize(
  'content, reason, line, message',
  [
    (
      'x O\ny I-LOC',
      'a broken sequence of tags',
      8,
      "tag 'I-LOC' continues no",
    ),
    ('x O\ny LOC', 'an invalid tag', 8, "tag 'LOC' is neither 'O' nor"),
    ('x O\ny', 'wrong number of columns', 8, 'it has 1 columns, but .* 2'),
    ('x O\ny z O', 'wrong number of columns', 8, 'it has 3 columns'),
    ('x\tO\n\tO', 'an empty field', 8, 'the word is empty'),
    ('x\tO\ny\t', 'an invalid tag', 8, "tag '' is neither"),
    ('x O\ny\xe9 O', 'not UTF-8', 8, 'byte 0xe9'),
    ('x O\ny M-LOC', 'a broken sequence of tags', 8, "'M-LOC' is none of IOB2"),
  ],
)
def test_a_sentence_that_cannot_be_used_is_named_by_the_line_of_its_fault(
  tmp_path, content, reason, line, message
):
  file = tmp_path / 'a'
  file.write_bytes(f'{GOOD}{content}\n\ne O\n'.encode('latin-1'))

  with pytest.raises(UserError, match=rf'a:{line}: .*{message}'):
    _read(file)
  found = _read(file, on_error='skip')

  assert found.left_out == {reason: 1}
  assert [row['id'] for row in found.rows] == ['a:1', 'a:2', 'a:4']


@pytest.mark.parametrize(
  'row, reason, message',
  [
    ('{"words": ["a"], "tags": ["O", "O"]}', 'not a tag a word', '1 words, but 2'),
    ('{"words": "a", "tags": ["O"]}', 'words that are no texts', "are 'a', not"),
    ('{"words": ["a"], "tags": [3]}', 'tags that are no texts', 'are .3., not'),
    ('{"words": []}', 'an empty field', 'its words is empty'),
    ('{"words": ["a", ""]}', 'an empty field', 'at word 2, the word is empty'),
    ('{"words": ["a", "b"], "tags": ["O", "I-X"]}', 'a broken sequence of tags',
     "at word 2, tag 'I-X' continues no"),
  ],
)  # fmt: skip
def test_an_object_that_is_no_sentence_is_an_error_or_left_out(
  tmp_path, row, reason, message
):
  file = tmp_path / 'a.jsonl'
  file.write_text(f'{{"words": ["a"], "tags": ["B-X"]}}\n{row}')

  with pytest.raises(UserError, match=rf'jsonl:2: .*{message}'):
    _read(file, 'jsonl')
  assert _read(file, 'jsonl', on_error='skip').left_out == {reason: 1}


@pytest.mark.parametrize(
  'columns, message',
  [
    (('words=form', 'tags=1'), 'have no names'),
    (('words=0', 'id=1'), 'have no names'),
    (('words=0', 'tags=2'), "'tags=2', but .*a:1 has 2 columns"),
    (('tags=1',), 'has to have a words'),
  ],
)
def test_columns_of_conll_files_are_numbers(tmp_path, columns, message):
  (tmp_path / 'a').write_text(GOOD)

  with pytest.raises(UserError, match=message):
    _read(tmp_path / 'a', 'conll', *columns)
