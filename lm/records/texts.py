"""Texts and pairs of texts with a label, for classification.

Examples:
  >>> read(Request('dev.tsv', columns=('text=sentence', 'label=label')))
  {'id': 'dev:1', 'where': 'dev.tsv:2', 'text': 'a charming journey', 'label': '1'}

A column given as `score` instead of `label` holds numbers, for regression.
"""

import math
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from lm.records import files, tables, tfds_records
from lm.records.files import Entry, Fault, Record, Request
from lm.types import UserError

_PAIRS = (
  ('sentence1', 'sentence2'),
  ('question1', 'question2'),
  ('question', 'sentence'),
  ('premise', 'hypothesis'),
  ('#1 String', '#2 String'),
  ('text_a', 'text_b'),
  ('text', 'text_pair'),
)
_TEXTS = ('sentence', 'text', 'text_a')
_LABELS = ('gold_label', 'label', 'is_duplicate', 'Quality')
_IDS = ('id', 'index', 'idx', 'qid', 'guid')


def usual(names: Sequence[str]) -> dict[str, str]:
  """Returns the columns that hold the fields, by their usual names."""
  pairs = [pair for pair in _PAIRS if set(pair) <= set(names)]
  texts = [(name,) for name in _TEXTS if name in names]
  if not pairs and not texts:
    return {}
  found = dict(zip(('text', 'text_pair'), [*pairs, *texts][0]))
  for field, known in (('label', _LABELS), ('score', ('score',)), ('id', _IDS)):
    if column := next((name for name in known if name in names), None):
      found[field] = column
  return found


FIELDS = tables.Fields(
  names=('id', 'text', 'text_pair', 'label', 'score'),
  required=('text',),
  usual=usual,
  bare={
    1: ('text',),
    2: ('text', 'label'),
    3: ('text', 'text_pair', 'label'),
  },
)
# The headers of GLUE's files (Wang et al. 2018), by which they are recognized;
# the second is that of the test set. MNLI's train and dev sets differ.
_MNLI = (
  'index,promptID,pairID,genre,sentence1_binary_parse,sentence2_binary_parse'
  ',sentence1_parse,sentence2_parse,sentence1,sentence2'
)
_STSB = (
  'index,genre,filename,year,old_index,source1,source2,sentence1,sentence2'
)
GLUE = {
  'CoLA': ('', 'index,sentence'),
  'SST-2': ('sentence,label', 'index,sentence'),
  'MRPC': (
    'Quality,#1 ID,#2 ID,#1 String,#2 String',
    'index,#1 ID,#2 ID,#1 String,#2 String',
  ),
  'QQP': (
    'id,qid1,qid2,question1,question2,is_duplicate',
    'id,question1,question2',
  ),
  'STS-B': (f'{_STSB},score', _STSB),
  'MNLI': (
    f'{_MNLI},label1,gold_label',
    _MNLI,
    f'{_MNLI},label1,label2,label3,label4,label5,gold_label',
  ),
  'QNLI': ('index,question,sentence,label', 'index,question,sentence'),
  'RTE, WNLI': ('index,sentence1,sentence2,label', 'index,sentence1,sentence2'),
}
_HEADERS = frozenset(header for known in GLUE.values() for header in known)
_COLA = ('text=3', 'label=1')  # The others: the source and the author's mark.


def tsv(request: Request) -> Iterator[Record | Fault]:
  """Yields the rows of tab-separated files, without quoting."""
  return map(record, tables.tsv(request, FIELDS))


def comma_separated(request: Request) -> Iterator[Record | Fault]:
  """Yields the rows of comma-separated files."""
  return map(record, tables.comma_separated(request, FIELDS))


def json_lines(request: Request) -> Iterator[Record | Fault]:
  """Yields the objects of JSON lines."""
  return map(record, tables.json_lines(request, FIELDS))


def tfds(request: Request) -> Iterator[Record | Fault]:
  """Yields the texts of a TFDS dataset such as `glue/sst2`.

  Floating-point labels are for regression; in a test set, -1 then stands for an
  unknown label.
  """
  for entry in tfds_records.entries(request, FIELDS):
    if isinstance(entry, Entry) and isinstance(
      score := entry.fields.get('label'), float
    ):
      fields = {k: v for k, v in entry.fields.items() if k != 'label'}
      if score != -1 or 'test' not in request.split:
        fields['score'] = score
      entry = entry._replace(fields=fields)
    yield record(entry)


def glue(request: Request) -> Iterator[Record | Fault]:
  """Yields the rows of one of GLUE's files, recognized by its header.

  The path is the file, or its directory together with `split`: 'train',
  'validation' or 'dev', 'test', MNLI's 'validation_matched' and so on. Labels
  are as in the file: '0' and '1', or 'entailment'.
  """
  if request.columns:
    raise UserError(
      f'config.data.columns is {request.columns}, but format glue knows its'
      " columns. Leave it empty, or set config.data.format to 'tsv'."
    )
  path = pathlib.Path(request.path)
  if path.is_dir():
    path = _glue_file(path, request.split)
  for file in files.find(str(path)):
    _, first = next(files.lines(file), (0, ''))
    cells = first.split('\t')
    cola = len(cells) == 4 and cells[1] in ('0', '1')
    if not cola and ','.join(cells) not in _HEADERS:
      raise UserError(
        f'{file.name}:1 is {first[:80]!r}, with which no file of GLUE begins.'
        " Check the path, or set config.data.format to 'tsv', with"
        ' config.data.columns.'
      )
    yield from tsv(Request(str(file.path), columns=_COLA if cola else ()))


def record(entry: Entry | Fault) -> Record | Fault:
  """Returns the record of an entry, or its fault if a field is invalid."""
  if isinstance(entry, Fault):
    return entry
  found: dict[str, Any] = {'id': entry.own_id, 'where': entry.where}
  for field, value in entry.fields.items():
    if field == 'id' or (value is None and field != 'text'):
      continue
    value = _READ[field](value)
    if isinstance(value, str) and not value:
      return files.empty(entry.where, field)
    if isinstance(value, Fault):
      return value._replace(where=entry.where)
    found['label' if field == 'score' else field] = value
  return found


def _text(value: Any) -> str | Fault:
  if isinstance(value, str):
    return value.strip()
  return Fault('', 'not a text', f'its text is {value!r:.80}, which is none')


def _label(value: Any) -> str | Fault:
  """Returns the name of a class; an integer counts as a name."""
  if isinstance(value, str | int) and not isinstance(value, bool):
    return str(value).strip()
  problem = (
    f"its label is {value!r:.80}, not the name of a class; 'score=COLUMN' in"
    ' config.data.columns reads numbers'
  )
  return Fault('', 'not a label', problem)


def _score(value: Any) -> float | Fault:
  try:
    number = float(value)
  except (TypeError, ValueError):
    number = math.nan
  if math.isfinite(number):
    return number
  return Fault('', 'not a number', f'its score is {value!r:.80}, not a number')


_READ: Mapping[str, Callable[[Any], Any]] = {
  'text': _text,
  'text_pair': _text,
  'label': _label,
  'score': _score,
}


def _glue_file(directory: pathlib.Path, split: str) -> pathlib.Path:
  name = split.replace('validation', 'dev')
  file = directory / f'{name}.tsv'
  if not split or not file.is_file():
    there = sorted(f.stem for f in directory.glob('*.tsv'))
    raise UserError(
      f'config.data.split is {split!r}, and {directory} has no {name or "*"}.tsv'
      f' of that name; its splits are {", ".join(there) or "none"}. Set'
      ' config.data.split to one of them.'
    )
  return file
