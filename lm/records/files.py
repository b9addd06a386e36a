"""Finds files of labelled data, and reads their entries with their locations.

A problem with one entry is a `Fault`, which a reader yields in place of the
entry; the caller decides whether to stop there. A problem with the whole, such
as a missing file, is a `UserError`.
"""

import fnmatch
import json
import pathlib
import re
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from lm.data import text_files
from lm.types import UserError

Record = Mapping[str, Any]
# How messages refer to a path, which several config fields can set.
KEY = 'The path of records (config.data.train, validation or test)'
# Stands for a byte that is not UTF-8 (PEP 383), or results from a bad escape.
_NO_CHARACTER = re.compile('[\ud800-\udfff]')


class Fault(NamedTuple):
  """An entry that cannot be used.

  Attributes:
    where: Its file, and its line or number there.
    reason: The kind of fault, by which faults are counted.
    problem: What is wrong and why, as a clause, with the value.
    entries: The number of entries that it makes unusable.
  """

  where: str
  reason: str
  problem: str
  entries: int = 1


class Request(NamedTuple):
  """A request to a reader.

  Attributes:
    path: A file, a glob, or anything else that the reader understands.
    split: The split, for a dataset that has several.
    columns: The columns of the fields, as 'field=column'.
  """

  path: str
  split: str = ''
  columns: tuple[str, ...] = ()


class Entry(NamedTuple):
  """One entry of a file, not validated.

  Attributes:
    where: Its file, and its line or number there.
    id: Its file and its number there, from 1.
    fields: Its values, by the names of a record's fields.
  """

  where: str
  id: str
  fields: Mapping[str, Any]

  @property
  def own_id(self) -> str:
    """The id given by the data, or else its file and number."""
    given = self.fields.get('id')
    return self.id if given is None else str(given).strip()


class File(NamedTuple):
  """A file, or a member of a zip archive.

  Attributes:
    path: The file or the archive.
    stem: The prefix of its entries' ids, unique among the files found.
    member: The member of the archive; '' for a plain file.
  """

  path: pathlib.Path
  stem: str
  member: str = ''

  @property
  def name(self) -> str:
    """The name for messages."""
    return f'{self.path}!{self.member}' if self.member else str(self.path)


def find(path: str, members: str = '*') -> tuple[File, ...]:
  """Returns the files at a path, a glob or a URL, sorted.

  `ARCHIVE.zip!MEMBERS` names members of an archive by a glob; without
  `!MEMBERS`, the one member that matches `members` is read.
  """
  path, _, asked = path.partition('.zip!')
  if asked:
    path += '.zip'
  found = []
  for file in text_files.find(path, KEY):
    if file.suffix == '.zip':
      names = _members(file, asked, members)
      found += [(file, name, _stem(name)) for name in names]
    else:
      found.append((file, '', _stem(file.name)))
  stems = [stem for _, _, stem in found]
  return tuple(
    File(file, stem if stems.count(stem) == 1 else f'{file}!{member}', member)
    for file, member, stem in found
  )


def lines(file: File) -> Iterator[tuple[int, str]]:
  """Yields the number of each line and its text, without the line break.

  A byte that is not UTF-8 becomes half of a surrogate pair: see `not_text`.
  """
  for number, line in enumerate(_bytes(file), start=1):
    text = line.decode(errors='surrogateescape')
    if number == 1:
      text = text.removeprefix('\ufeff')  # Some editors mark UTF-8 with it.
    yield number, text.removesuffix('\n').removesuffix('\r')


def not_text(where: str, text: str) -> Fault | None:
  """Returns the fault of a text that is not valid Unicode, or None if it is."""
  match = _NO_CHARACTER.search(text)
  if match is None:
    return None
  code = ord(match[0])
  found = (
    f'byte 0x{code - 0xDC00:02x} is not UTF-8'
    if 0xDC80 <= code <= 0xDCFF
    else f'\\u{code:04x} is half of a surrogate pair, which is no character'
  )
  problem = f'{found}; iconv converts files to UTF-8'
  return Fault(where, 'not UTF-8', problem)


def json_lines(file: File) -> Iterator[Entry | Fault]:
  """Yields the JSON object on each line that is not blank."""
  number = 0
  for line, text in lines(file):
    if not text or text.isspace():
      continue
    number += 1
    where = f'{file.name}:{line}'
    yield not_text(where, text) or _object(where, f'{file.stem}:{number}', text)


def json_file(file: File) -> Any | Fault:
  """Returns the content of a file that is one JSON value."""
  data = b''.join(_bytes(file))
  try:
    return json.loads(data.decode('utf-8-sig'))
  except UnicodeDecodeError as error:
    line = data.count(b'\n', 0, error.start) + 1
    byte = f'byte 0x{data[error.start]:02x} is not UTF-8'
    return Fault(f'{file.name}:{line}', 'not UTF-8', byte)
  except json.JSONDecodeError as error:
    where = f'{file.name}:{error.lineno}'
    return Fault(where, 'not JSON', f'this is not JSON: {error}')


def empty(where: str, field: str) -> Fault:
  """Returns the fault of an entry with an empty field."""
  return Fault(where, 'an empty field', f'its {field} is empty')


def _object(where: str, id: str, text: str) -> Entry | Fault:
  try:
    fields = json.loads(text)
  except ValueError as error:
    return Fault(where, 'not JSON', f'this is not JSON: {error}')
  if not isinstance(fields, dict):
    problem = f'this is JSON, but {type(fields).__name__} and not an object'
    return Fault(where, 'not JSON', problem)
  return Entry(where, id, fields)


def _stem(name: str) -> str:
  return pathlib.PurePath(name.removesuffix('.gz')).stem


def _bytes(file: File) -> Iterator[bytes]:
  if not file.member:
    yield from text_files.bytes_by_line(file.path)
    return
  try:
    with zipfile.ZipFile(file.path) as archive:
      yield from archive.open(file.member)
  except (zipfile.BadZipFile, zipfile.zlib.error, EOFError) as error:
    raise _not_intact(file.path, error) from error


def _members(file: pathlib.Path, asked: str, usual: str) -> list[str]:
  try:
    with zipfile.ZipFile(file) as archive:
      names = sorted(
        item.filename
        for item in archive.infolist()
        if not item.is_dir() and '__MACOSX' not in item.filename
      )
  except zipfile.BadZipFile as error:
    raise _not_intact(file, error) from error
  matching = fnmatch.filter(names, asked or usual)
  if not matching or (not asked and len(matching) > 1):
    raise UserError(
      f'{KEY} names {file}, of whose members {len(matching)} match'
      f' {asked or usual!r}: it has {", ".join(names)}. Name those that are to'
      f" be read, as '{file}!MEMBER'."
    )
  return matching


def _not_intact(file: pathlib.Path, error: Exception) -> UserError:
  return UserError(
    f'{file} cannot be unpacked: {error}. Its name ends in .zip, so it must be'
    ' an intact zip archive. Copy it again, and check the path.'
  )
