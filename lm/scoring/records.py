"""JSON objects, one per line, each with its location."""

import glob
import json
import os
import pathlib
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from lm.data import remote, text_files
from lm.types import UserError


class Record(NamedTuple):
  """A JSON object.

  Attributes:
    place: The file and the line, for messages.
    values: The values by field.
  """

  place: str
  values: Mapping[str, Any]


def find(path: str, endings: tuple[str, ...]) -> list[pathlib.Path]:
  """Returns a file, those of a directory with these suffixes, or of a glob.

  Raises:
    UserError: There is none.
  """
  if remote.is_url(path):
    path = remote.fetch_matching(path)
  place = pathlib.Path(path).expanduser()
  if place.is_dir():
    found = [file for file in place.iterdir() if file.suffix in endings]
  else:
    found = [pathlib.Path(file) for file in glob.glob(str(place))]
    found = [place] if place.is_file() else found
  if not found:
    raise UserError(
      f'The data is to be at {path!r}, but there is no such file (looked from'
      f' {os.getcwd()}), or none in it that ends in {" or ".join(endings)}. Set'
      ' --data to the path of a file.'
    )
  return sorted(found)


def read(file: pathlib.Path) -> Iterator[Record]:
  """Yields the records of a file of JSON lines."""
  yield from parse(text_files.lines(file), str(file))


def read_zip(file: pathlib.Path) -> Iterator[Record]:
  """Yields the records of the JSON lines in an archive, member by member."""
  try:
    archive = zipfile.ZipFile(file)
  except (zipfile.BadZipFile, OSError) as error:
    raise UserError(
      f'{file} cannot be unpacked: {error}. Its name ends in .zip, so it must be'
      ' an intact archive. Copy it again.'
    ) from error
  with archive:
    for name in sorted(archive.namelist()):
      # macOS adds members of its own, which are not text.
      if name.endswith('.jsonl') and not name.startswith('__MACOSX'):
        place = f'{file}:{name}'
        yield from parse(_lines(archive.read(name), place), place)


def parse(lines: Iterable[str], file: str) -> Iterator[Record]:
  """Yields the objects on lines; skips blank ones."""
  for number, line in enumerate(lines, start=1):
    if line.isspace() or not line:
      continue
    place = f'{file}, line {number}'
    try:
      values = json.loads(line)
    except ValueError as error:
      raise UserError(
        f'{place}, is not JSON: {error}. Write a JSON object on each line.'
      ) from error
    if not isinstance(values, dict):
      raise UserError(
        f'{place}, is JSON, but a {type(values).__name__} and not an object, so'
        ' it has no fields. Write {"name": value, ...}.'
      )
    yield Record(place, values)


def text(record: Record, field: str, empty: bool = False) -> str:
  """Returns the text in a field.

  Args:
    record: A record of a file.
    field: The name of the field.
    empty: Whether the text may be empty.
  """
  value = record.values.get(field)
  if not isinstance(value, str):
    raise UserError(
      f'{record.place}, has {value!r} in the field {field!r}, which is no text;'
      f' its fields are {[*record.values]}. Mend the line.'
    )
  if not (empty or value.strip()):
    raise UserError(
      f'{record.place}, has an empty text in the field {field!r}. Mend the line,'
      ' or leave it out.'
    )
  if text_files.LONE_SURROGATE.search(value):
    raise UserError(
      f'{record.place}, has half of a surrogate pair in the field {field!r},'
      ' which is not a character. Mend the line, or leave it out.'
    )
  return value


def _lines(data: bytes, place: str) -> list[str]:
  try:
    return data.decode().split('\n')
  except UnicodeDecodeError as error:
    raise UserError(
      f'{place} is not UTF-8 text: {error}. Convert it to UTF-8.'
    ) from error
