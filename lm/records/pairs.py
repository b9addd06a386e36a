"""Pairs of a source and a target text: translations and summaries.

Examples:
  >>> read(Request('train.{en,de}.gz'))
  {'id': 'train:1', 'where': 'train.en.gz:1', 'source': 'Two young, White males',
   'target': 'Zwei junge weiße Männer'}
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from lm.records import files, tables, tfds_records
from lm.records.files import Entry, Fault, File, Record, Request
from lm.types import UserError

_PAIRS = (
  ('source', 'target'),
  ('article', 'highlights'),  # CNN / Daily Mail
  ('document', 'summary'),  # XSum
)
_BRACES = re.compile(r'\{([^{},]+),([^{},]+)\}')


def usual(names: Sequence[str]) -> dict[str, str]:
  """Returns the columns that hold the fields, by their usual names."""
  for source, target in _PAIRS:
    if source in names:
      found = {'source': source, 'target': target, 'id': 'id'}
      return {field: name for field, name in found.items() if name in names}
  return {}


FIELDS = tables.Fields(
  names=('id', 'source', 'target'),
  required=('source',),
  usual=usual,
  bare={1: ('source',), 2: ('source', 'target'), 3: ('source', 'target', '')},
)


def parallel(request: Request) -> Iterator[Record | Fault]:
  """Yields the pairs of files that are aligned line by line.

  The path is `train.{en,de}.gz`, with the difference in braces, or two paths as
  `train.en -> train.de`; either may be a glob matching as many files. The first
  is the source. A single path holds sources without targets.
  """
  sides = _sides(request.path)
  found = [files.find(side) for side in sides]
  if len({len(side) for side in found}) > 1:
    counts = ', '.join(
      f'{len(f)} match {side}' for side, f in zip(sides, found)
    )
    raise UserError(
      f'{files.KEY} is {request.path!r}, of which files belong together one by'
      f' one; but {counts}. Name as many on both sides.'
    )
  for both in zip(*found):
    for entry in _lines(both):
      yield record(entry)


def tsv(request: Request) -> Iterator[Record | Fault]:
  """Yields the rows of tab-separated files, without quoting.

  Without a header or `columns`, the first column is the source, the second the
  target; a third, such as Tatoeba's attribution, is ignored.
  """
  return map(record, tables.tsv(request, FIELDS))


def json_lines(request: Request) -> Iterator[Record | Fault]:
  """Yields the pairs in the objects of JSON lines."""
  return map(record, tables.json_lines(request, FIELDS))


def tfds(request: Request) -> Iterator[Record | Fault]:
  """Yields the pairs of a TFDS dataset such as `wmt14_translate/de-en`.

  Without `columns`, they are the dataset's own supervised keys.
  """
  return map(
    record, tfds_records.entries(request, FIELDS, ('source', 'target'))
  )


def record(entry: Entry | Fault) -> Record | Fault:
  """Returns the record of an entry, or its fault if it has no texts."""
  if isinstance(entry, Fault):
    return entry
  found: dict[str, Any] = {
    'id': entry.own_id,
    'where': entry.where,
  }
  for field in ('source', 'target'):
    value = entry.fields.get(field)
    if value is None and field == 'target':
      continue
    if not isinstance(value, str):
      problem = f'its {field} is {value!r:.80}, not a text'
      return Fault(entry.where, 'not a text', problem)
    if not value.strip():
      return files.empty(entry.where, field)
    found[field] = value.strip()
  return found


def _sides(path: str) -> list[str]:
  if ' -> ' in path:
    sides = path.split(' -> ')
  elif match := _BRACES.search(path):
    sides = [
      path[: match.start()] + s + path[match.end() :] for s in match.groups()
    ]
  else:
    sides = [path]
  if len(sides) > 2 or any(_BRACES.search(side) for side in sides):
    raise UserError(
      f'{files.KEY} is {path!r}, which names more than two sides. Write'
      " 'train.{en,de}' or 'train.en -> train.de'."
    )
  return [side.strip() for side in sides]


def _lines(both: Sequence[File]) -> Iterator[Entry | Fault]:
  """Yields the lines of one file, or those of two as pairs."""
  sides = [list(files.lines(file)) for file in both]
  counts = [len(side) for side in sides]
  if len(set(counts)) > 1:
    problem = (
      f'it has {counts[0]} lines, but {both[1].name} has {counts[1]}, so that'
      ' which belong together is not known'
    )
    fault = Fault(both[0].name, 'mismatched line counts', problem)
    yield fault._replace(entries=max(counts))
    return
  for number, texts in enumerate(zip(*sides), start=1):
    faults = [
      _fault(f'{file.name}:{number}', field, text)
      for file, field, (_, text) in zip(both, ('source', 'target'), texts)
    ]
    fields = dict(zip(('source', 'target'), (text for _, text in texts)))
    entry = Entry(
      f'{both[0].name}:{number}', f'{both[0].stem}:{number}', fields
    )
    yield next(filter(None, faults), entry)


def _fault(where: str, field: str, text: str) -> Fault | None:
  if not text.strip():
    return files.empty(where, field)
  return files.not_text(where, text)
