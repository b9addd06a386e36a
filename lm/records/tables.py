"""Tables and JSON lines: maps the columns of a file to the fields of a record.

A config names columns as `field=column`. A column is given by its name in the
header, or by its number from 0 in a file without one; '-1' is the last.
'header=yes' or 'header=no' overrides this. `field?=column` makes a field
optional, as for labels that the test set lacks. Without any of these, columns
are found by their usual names.
"""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from lm.records import files
from lm.records.files import Entry, Fault, File, Request
from lm.types import UserError

_COLUMN = re.compile(r'(\w+)(\??)=(.+)', re.DOTALL)


class Fields(NamedTuple):
  """The fields of one kind of record.

  Attributes:
    names: All fields.
    required: Those that every record has.
    usual: Finds the column of each field among the names in a header, the keys
      of an object or the features of a dataset; empty if it cannot.
    bare: For tables without a header: the fields in the order of the columns,
      by their number.
  """

  names: tuple[str, ...]
  required: tuple[str, ...]
  usual: Callable[[Sequence[str]], Mapping[str, str]]
  bare: Mapping[int, tuple[str, ...]] = {}


class Asked(NamedTuple):
  """The columns that a config asks for.

  Attributes:
    columns: The column of each field.
    optional: The fields that a file may lack.
    header: Whether a table has a header; None if not set.
  """

  columns: Mapping[str, str]
  optional: frozenset[str]
  header: bool | None


def parse(columns: Sequence[str], fields: Fields) -> Asked:
  """Parses a config's `columns` for the fields of a record.

  Examples:
    >>> parse(('text=sentence', 'label?=label'), texts.FIELDS).columns
    {'text': 'sentence', 'label': 'label'}
  """
  found, optional, header = {}, set(), None
  for column in columns:
    match = _COLUMN.fullmatch(column)
    field = match[1] if match else ''
    if field not in (*fields.names, 'header') or field in found:
      raise UserError(
        f'config.data.columns has {column!r}, which is not to be read: write'
        " 'field=column', once each, with a field of"
        f' {", ".join(fields.names)}, and the name of a column or its number.'
      )
    if field == 'header':
      if match[3] not in ('yes', 'no'):
        raise UserError(
          f"config.data.columns has {column!r}; write 'header=yes' or"
          " 'header=no'."
        )
      header = match[3] == 'yes'
      continue
    found[field] = match[3]
    if match[2]:
      optional.add(field)
  if found and (left := set(fields.required) - (found.keys() - optional)):
    raise UserError(
      f'config.data.columns is {tuple(columns)}, but a record has to have a'
      f" {min(left)}. Add '{min(left)}=COLUMN'."
    )
  return Asked(found, frozenset(optional), header)


def tsv(request: Request, fields: Fields) -> Iterator[Entry | Fault]:
  """Yields the rows of tab-separated files, without quoting."""
  for file in files.find(request.path):
    rows = ((n, [text, text.split('\t')]) for n, text in files.lines(file))
    rows = (
      (n, files.not_text(f'{file.name}:{n}', text) or cells)
      for n, (text, cells) in rows
    )
    yield from _table(file, rows, request, fields)


def comma_separated(
  request: Request, fields: Fields
) -> Iterator[Entry | Fault]:
  """Yields the rows of comma-separated files (RFC 4180)."""
  for file in files.find(request.path):
    yield from _table(file, _csv_rows(file), request, fields)


def json_lines(request: Request, fields: Fields) -> Iterator[Entry | Fault]:
  """Yields the objects of files of JSON lines, by the fields of a record."""
  asked = parse(request.columns, fields)
  for file in files.find(request.path):
    for entry in files.json_lines(file):
      yield entry if isinstance(entry, Fault) else _named(entry, asked, fields)


def columns_of(
  names: Sequence[str], request: Request, fields: Fields, place: str
) -> Mapping[str, str]:
  """Returns the name of the column of each field of a record.

  Args:
    names: The names in a header, or those of features.
    request: Names the columns, or leaves them to be found by usual names.
    fields: The fields of the record.
    place: Where the names are, for messages.

  Raises:
    UserError: A column is missing, or none has a usual name.
  """
  asked = parse(request.columns, fields)
  found = {
    field: column
    for field, column in asked.columns.items()
    if column in names or field not in asked.optional
  }
  unknown = [column for column in found.values() if column not in names]
  if unknown:
    raise UserError(
      f'config.data.columns has {unknown[0]!r}, but {place} has no such column,'
      f' only {", ".join(map(repr, names))}. Name one of these.'
    )
  found = found or fields.usual(names)
  if not found:
    raise UserError(
      f'None of the columns of {place} has a usual name: they are'
      f' {", ".join(map(repr, names))}. Set config.data.columns, as in'
      f" ('{fields.required[0]}={names[0]}',)."
    )
  return found


def _csv_rows(file: File) -> Iterator[tuple[int, list[str] | Fault]]:
  texts = (f'{text}\n' for _, text in files.lines(file))
  rows = csv.reader(texts, strict=True)
  while True:
    line = rows.line_num + 1
    try:
      row = next(rows, None)
    except csv.Error as error:
      problem = f'this is not CSV: {error}'
      yield line, Fault(f'{file.name}:{line}', 'not CSV', problem)
      continue
    if row is None:
      return
    if row:  # A blank line has no cells.
      bad = files.not_text(f'{file.name}:{line}', '\n'.join(row))
      yield line, bad or row


def _table(
  file: File,
  rows: Iterable[tuple[int, list[str] | Fault]],
  request: Request,
  fields: Fields,
) -> Iterator[Entry | Fault]:
  """Yields an entry for each row after the header."""
  number, places, width = 0, None, 0
  for line, row in rows:
    where = f'{file.name}:{line}'
    if places is None and not isinstance(row, Fault):
      width = len(row)
      places, header = _places(row, request, fields, where)
      if header:
        continue
    number += 1
    if isinstance(row, Fault):
      yield row
    elif len(row) != width:
      problem = f'it has {len(row)} columns, but the first line has {width}'
      yield Fault(where, 'wrong number of columns', problem)
    else:
      values = {field: row[place] for field, place in places.items()}
      yield Entry(where, f'{file.stem}:{number}', values)


def _places(
  first: list[str], request: Request, fields: Fields, where: str
) -> tuple[dict[str, int], bool]:
  """Returns the index of each field's column, and if the row is a header."""
  asked = parse(request.columns, fields)
  numbered = {
    field: int(column)
    for field, column in asked.columns.items()
    if re.fullmatch(r'-?\d+', column)
  }
  if len(numbered) < len(asked.columns) or (
    not numbered and asked.header is not False and fields.usual(first)
  ):
    if asked.header is False:
      raise UserError(
        'config.data.columns names columns, but a table without a header has'
        f' numbers only. Use those, or leave {"header=no"!r} out.'
      )
    named = columns_of(first, request, fields, where)
    return {field: first.index(name) for field, name in named.items()}, True
  if not numbered:
    numbered = {
      f: n for n, f in enumerate(fields.bare.get(len(first), ())) if f
    }
  places = {
    field: number % len(first)
    for field, number in numbered.items()
    if -len(first) <= number < len(first)
  }
  missing = numbered.keys() - places.keys() - asked.optional
  if missing or not places:
    raise UserError(
      f'{where} has {len(first)} columns, but config.data.columns is'
      f' {request.columns}. Say which columns are which, by numbers from 0, as'
      f" in ('{fields.required[0]}=0',); a header has names instead."
    )
  return places, bool(asked.header)


def _named(entry: Entry, asked: Asked, fields: Fields) -> Entry | Fault:
  """Returns an entry with its keys renamed to a record's fields."""
  found = entry.fields
  names = asked.columns or fields.usual(tuple(found))
  missing = [
    column
    for field, column in names.items()
    if column not in found and field not in asked.optional
  ]
  if missing or not names:
    problem = (
      f'it has no field {(missing or fields.required)[0]!r}, only'
      f' {", ".join(map(repr, found))}; config.data.columns says which field'
      ' is which'
    )
    return Fault(entry.where, 'a missing field', problem)
  values = {f: found[name] for f, name in names.items() if name in found}
  return entry._replace(fields=values)
