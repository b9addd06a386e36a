"""Sentences of words, with named entities as IOB2 tags.

Examples:
  >>> read(Request('train.conll'))
  {'id': 'train:1', 'where': 'train.conll:1', 'words': ['New', 'York', '!'],
   'tags': ['B-location', 'I-location', 'O']}

Tags in another scheme are converted; the scheme is recognized from all files
that are read together: see `tag_schemes`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from lm.records import files, tables, tag_schemes, tfds_records
from lm.records.files import Entry, Fault, File, Record, Request
from lm.records.tag_schemes import Broken
from lm.types import UserError

# Column separators; a no-break or an ideographic space may be a word.
_SPACES = re.compile('[ \t]+')
_BEGINS_FILE = '-DOCSTART-'  # In CoNLL-2003: marks a new document, not a word.
_WORDS = ('words', 'tokens')
_TAGS = ('tags', 'ner_tags', 'ner', 'labels')


class Sentence(NamedTuple):
  """The words and tags of a sentence, as they were read.

  Attributes:
    where: The location of the first word.
    id: The id of the sentence.
    words: Its words.
    tags: One tag for each word; None if unlabelled.
    places: The location of each word; empty if all are where the first is.
  """

  where: str
  id: str
  words: Sequence[str]
  tags: Sequence[str] | None
  places: Sequence[str] = ()


def usual(names: Sequence[str]) -> dict[str, str]:
  """Returns the columns that hold the fields, by their usual names."""
  found = {}
  for field, known in (('words', _WORDS), ('tags', _TAGS), ('id', ('id',))):
    if column := next((name for name in known if name in names), None):
      found[field] = column
  return found if 'words' in found else {}


FIELDS = tables.Fields(('id', 'words', 'tags'), ('words',), usual)


def conll(request: Request) -> Iterator[Record | Fault]:
  """Yields the sentences of files with a word per line and blank lines between.

  Columns are separated by tabs or, in a line without any, by spaces. Without
  `columns`, the first holds the word and the last its tag; if there is only
  one, the words are unlabelled. A line that begins with `# ` before the first
  word of a sentence is a comment if its columns differ in number or the last
  is not a tag.
  """
  asked = tables.parse(request.columns, FIELDS).columns
  wrong = [c for c in asked.values() if not re.fullmatch(r'-?\d+', c)]
  if wrong or 'id' in asked:
    raise UserError(
      f'config.data.columns is {request.columns}, but the columns of CoNLL files'
      " have no names. Give numbers from 0, as in ('words=0', 'tags=-1')."
    )
  columns = {field: int(column) for field, column in asked.items()}
  return records(
    sentence
    for file in files.find(request.path)
    for sentence in _sentences(file, columns)
  )


def json_lines(request: Request) -> Iterator[Record | Fault]:
  """Yields the sentences in the objects of JSON lines."""
  return records(map(_of_lists, tables.json_lines(request, FIELDS)))


def tfds(request: Request) -> Iterator[Record | Fault]:
  """Yields the sentences of a TFDS dataset such as `conll2003`."""
  return records(
    item
    for item in map(_of_lists, tfds_records.entries(request, FIELDS))
    if isinstance(item, Fault) or list(item.words) != [_BEGINS_FILE]
  )


def records(
  sentences: Iterable[Sentence | Fault],
) -> Iterator[Record | Fault]:
  """Yields sentences with their tags converted to IOB2."""
  found = [_sound(sentence) for sentence in sentences]
  scheme = tag_schemes.recognize(
    s.tags for s in found if isinstance(s, Sentence) and s.tags
  )
  for item in found:
    if isinstance(item, Fault):
      yield item
      continue
    record: dict[str, Any] = {
      'id': item.id,
      'where': item.where,
      'words': list(item.words),
    }
    if item.tags is not None:
      tags = tag_schemes.to_iob2(item.tags, scheme)
      if isinstance(tags, Broken):
        yield _fault(item, tags, 'a broken sequence of tags')
        continue
      record['tags'] = tags
    yield record


def _of_lists(entry: Entry | Fault) -> Sentence | Fault:
  """Returns the sentence of an entry whose words and tags are lists."""
  if isinstance(entry, Fault):
    return entry
  words, tags = entry.fields.get('words'), entry.fields.get('tags')
  for field, values in (('words', words), ('tags', tags)):
    texts = isinstance(values, list) and all(isinstance(v, str) for v in values)
    if not texts and not (field == 'tags' and values is None):
      problem = f'its {field} are {values!r:.80}, not a list of texts'
      return Fault(entry.where, f'{field} that are no texts', problem)
  return Sentence(entry.where, entry.own_id, words, tags)


def _sound(item: Sentence | Fault) -> Sentence | Fault:
  """Returns a sentence, or its fault if its words or tags are invalid."""
  if isinstance(item, Fault):
    return item
  if not item.words:
    return files.empty(item.where, 'words')
  for place, word in enumerate(item.words):
    if not word:
      return _fault(item, Broken(place, 'the word is empty'), 'an empty field')
  if item.tags is None:
    return item
  if len(item.tags) != len(item.words):
    problem = f'it has {len(item.words)} words, but {len(item.tags)} tags'
    return Fault(item.where, 'not a tag a word', problem)
  broken = tag_schemes.invalid(item.tags)
  return _fault(item, broken, 'an invalid tag') if broken else item


def _fault(item: Sentence, broken: Broken, reason: str) -> Fault:
  if item.places:
    return Fault(item.places[broken.place], reason, broken.problem)
  problem = f'at word {broken.place + 1}, {broken.problem}'
  return Fault(item.where, reason, problem)


def _sentences(
  file: File, columns: Mapping[str, int]
) -> Iterator[Sentence | Fault]:
  """Yields the sentences of a file, or the first fault of each."""
  lines = [(number, text, _cells(text)) for number, text in files.lines(file)]
  words = (c for _, text, c in lines if c and not text.startswith('#'))
  width = len(next((c for c in words if c[0] != _BEGINS_FILE), ('', '')))
  number, block = 0, []
  for line, text, cells in (*lines, (0, '', [])):
    if not cells:
      if block:
        number += 1
        yield _sentence(block, f'{file.stem}:{number}', columns)
      block = []
    elif cells[0] != _BEGINS_FILE and (block or not _is_comment(text, width)):
      where = f'{file.name}:{line}'
      block.append((where, _row(where, text, cells, width)))


def _cells(text: str) -> list[str]:
  if not text.strip(' \t'):
    return []
  return text.split('\t') if '\t' in text else _SPACES.split(text.strip(' '))


def _is_comment(text: str, width: int) -> bool:
  """Whether a line before the first word of a sentence is a comment."""
  cells = _cells(text)
  no_tag = tag_schemes.invalid(cells[-1:]) is not None
  return text.startswith('# ') and (len(cells) != width or no_tag)


def _row(
  where: str, text: str, cells: list[str], width: int
) -> list[str] | Fault:
  if fault := files.not_text(where, text):
    return fault
  if len(cells) != width:
    problem = f'it has {len(cells)} columns, but the first word has {width}'
    return Fault(where, 'wrong number of columns', problem)
  return cells


def _sentence(
  block: Sequence[tuple[str, list[str] | Fault]],
  id: str,
  columns: Mapping[str, int],
) -> Sentence | Fault:
  places = [where for where, _ in block]
  rows = [row for _, row in block]
  for row in rows:
    if isinstance(row, Fault):
      return row
  width = len(rows[0])
  if not columns:
    columns = {'words': 0, 'tags': -1} if width > 1 else {'words': 0}
  for field, place in columns.items():
    if not -width <= place < width:
      raise UserError(
        f"config.data.columns has '{field}={place}', but {places[0]} has"
        f' {width} columns. They are counted from 0, and -1 is the last.'
      )
  words = [row[columns['words']] for row in rows]
  tags = None
  if 'tags' in columns:
    tags = [row[columns['tags']] for row in rows]
  return Sentence(places[0], id, words, tags, places)
