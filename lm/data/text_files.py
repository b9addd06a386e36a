"""Files of UTF-8 text or JSON lines: found, read line by line, and hashed."""

import glob
import gzip
import hashlib
import itertools
import json
import os
import pathlib
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

from lm.data import remote
from lm.types import UserError

PART = 1 << 26  # The size of a part that `cut` aims at, in bytes.
LONE_SURROGATE = re.compile('[\ud800-\udfff]')


class Span(NamedTuple):
  """A span of whole documents in a file; `Span(file)` is all of it.

  Attributes:
    file: The file.
    start: The first byte.
    end: The byte after the last; None means the end of the file.
  """

  file: pathlib.Path
  start: int = 0
  end: int | None = None


def find(path: str, key: str = 'config.data.path') -> tuple[pathlib.Path, ...]:
  """Returns the file at `path`, or those that match it as a glob, sorted.

  Remote files, such as `gs://bucket/*.txt`, are copied to this machine.

  Args:
    path: A file, a glob or a URL.
    key: The config key of the path, for messages.

  Raises:
    UserError: There is no such file, or all are empty.
  """
  if remote.is_url(path):
    path = remote.fetch_matching(path)
  path = os.path.expanduser(path)
  if os.path.isdir(path):
    raise UserError(
      f'{key} is {path!r}, a directory. Name the files in it:'
      f' {os.path.join(path, "*.txt")!r}, or with its sub-directories'
      f' {os.path.join(path, "**", "*.txt")!r}.'
    )
  found = [path] if os.path.exists(path) else glob.glob(path, recursive=True)
  files = tuple(pathlib.Path(file) for file in sorted(found))
  files = tuple(file for file in files if file.is_file())
  if not files:
    raise UserError(
      f'{key} is {path!r}, but there is no such file (looked from'
      f' {os.getcwd()}). Give the path of a file, or a glob such as'
      " 'texts/*.txt'."
    )
  if not any(file.stat().st_size for file in files):
    raise UserError(
      f'{key} is {path!r}, but there is nothing in it: every file'
      ' is empty. Give a file with text.'
    )
  return files


def cut(
  files: Iterable[pathlib.Path], after_blank: bool
) -> tuple[tuple[Span, ...], ...]:
  """Returns the files in parts of about `PART` bytes, in order.

  Small files share a part. A large one is divided, unless it is compressed and
  so can only be read from its beginning.

  Args:
    files: The files to divide.
    after_blank: Whether documents begin after blank lines, not at any line.
  """
  parts, part, size = [], [], 0
  for file in files:
    for span, more in _spans(file, after_blank):
      part.append(span)
      size += more
      if size >= PART:
        parts.append(tuple(part))
        part, size = [], 0
  return (*parts, tuple(part)) if part else tuple(parts)


def lines(
  file: pathlib.Path, start: int = 0, end: int | None = None
) -> Iterator[str]:
  """Yields the lines of a `Span`, each with a bare newline as its end.

  Raises:
    UserError: A byte is not UTF-8, or a `.gz` file is not intact.
  """
  offset = start
  for number, line in enumerate(bytes_by_line(file, start, end), start=1):
    try:
      text = line.decode()
    except UnicodeDecodeError as error:
      raise UserError(
        f'{file} is not UTF-8 text: byte 0x{line[error.start]:02x} at offset'
        f' {offset + error.start}, in line {_lines_before(file, start) + number}'
        ', is not valid. Convert the file to UTF-8 (iconv does), or take it out'
        ' of config.data.path.'
      ) from error
    if offset == 0:
      text = text.removeprefix('\ufeff')  # The byte order mark of some editors.
    offset += len(line)
    yield text[:-2] + '\n' if text.endswith('\r\n') else text


def bytes_by_line(
  file: pathlib.Path, start: int = 0, end: int | None = None
) -> Iterator[bytes]:
  """Yields the raw lines of a `Span`, decompressed.

  Raises:
    UserError: A `.gz` file is not intact.
  """
  if not is_compressed(file):
    with open(file, 'rb') as stream:
      stream.seek(start)
      while start != end and (line := stream.readline()):
        yield line
        start += len(line)
    return
  try:
    with gzip.open(file, 'rb') as stream:
      yield from stream
  except (gzip.BadGzipFile, EOFError, zlib.error) as error:
    raise UserError(
      f'{file} cannot be unpacked: {error}. Its name ends in .gz, so it must'
      ' be an intact gzip file. Copy it again, or rename it if it is plain'
      ' text, and check config.data.path.'
    ) from error


def paragraphs(spans: Iterable[Span]) -> Iterator[str]:
  """Yields each run of lines between blank ones, within each span."""
  for span in spans:
    for blank, block in itertools.groupby(lines(*span), str.isspace):
      if not blank:
        yield ''.join(block).removesuffix('\n')


def fields(spans: Iterable[Span], field: str) -> Iterator[str]:
  """Yields the text in one field of the JSON object on each line.

  Raises:
    UserError: A line is invalid, or has no text in that field.
  """
  for span in spans:
    for number, line in enumerate(lines(*span), start=1):
      if line.isspace():
        continue
      try:
        text = _field(line, field)
      except UserError as error:
        number += _lines_before(span.file, span.start)
        raise UserError(f'{span.file}, line {number}, {error}') from error
      if text and not text.isspace():
        yield text


def digest(file: pathlib.Path) -> bytes:
  """Returns the SHA-256 of a file's bytes."""
  with open(file, 'rb') as stream:
    return hashlib.file_digest(stream, 'sha256').digest()


def is_compressed(file: pathlib.Path) -> bool:
  """Returns whether a file is read through gzip, judging by its name."""
  return file.suffix == '.gz'


def _spans(file: pathlib.Path, after_blank: bool) -> Iterator[tuple[Span, int]]:
  """Yields the spans of a file, with their sizes."""
  start, size = 0, file.stat().st_size
  if not is_compressed(file):
    with open(file, 'rb') as stream:
      while (end := _beginning(stream, start + PART, after_blank)) < size:
        yield Span(file, start, end), end - start
        start = end
  yield Span(file, start), size - start


def _beginning(stream: BinaryIO, place: int, after_blank: bool) -> int:
  """Returns where a document can begin, somewhere after `place`."""
  stream.seek(place)
  stream.readline()  # It may have begun before.
  while after_blank and (line := stream.readline()):
    if line.isspace():
      break
  return stream.tell()


def _lines_before(file: pathlib.Path, offset: int) -> int:
  return sum(1 for _ in bytes_by_line(file, 0, offset)) if offset else 0


def _field(line: str, field: str) -> str:
  try:
    record = json.loads(line)
  except ValueError as error:
    raise UserError(
      f"is not JSON: {error}. Source 'jsonl' wants a JSON object on each line;"
      " plain text is config.data.source='text'."
    ) from error
  if not isinstance(record, dict):
    raise UserError(
      f'is JSON but not an object, so it has no field {field!r}. Write'
      f' every line as {{"{field}": "..."}}.'
    )
  text = record.get(field)
  if not isinstance(text, str):
    texts = [name for name, value in record.items() if isinstance(value, str)]
    raise UserError(
      f'has no text in a field {field!r}; the fields with text are'
      f' {texts}. Set config.data.field to one of them, or mend the line.'
    )
  if LONE_SURROGATE.search(text):
    raise UserError(
      f'has half of a surrogate pair in {field!r}, which is not a'
      ' character. Mend the line, or drop it.'
    )
  return text
