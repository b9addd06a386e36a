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

from lm.data import remote
from lm.types import UserError

LONE_SURROGATE = re.compile('[\ud800-\udfff]')


def find(path: str) -> tuple[pathlib.Path, ...]:
  """Returns the file at `path`, or those that match it as a glob, sorted.

  What is elsewhere, as `gs://bucket/*.txt`, is copied to this machine.

  Raises:
    UserError: There is no such file, or nothing in any.
  """
  if remote.is_url(path):
    path = remote.fetch_matching(path)
  path = os.path.expanduser(path)
  if os.path.isdir(path):
    raise UserError(
      f'config.data.path is {path!r}, a directory. Name the files in it:'
      f' {os.path.join(path, "*.txt")!r}, or with its sub-directories'
      f' {os.path.join(path, "**", "*.txt")!r}.'
    )
  found = [path] if os.path.exists(path) else glob.glob(path, recursive=True)
  files = tuple(pathlib.Path(file) for file in sorted(found))
  files = tuple(file for file in files if file.is_file())
  if not files:
    raise UserError(
      f'config.data.path is {path!r}, but there is no such file (looked from'
      f' {os.getcwd()}). Give the path of a file, or a glob such as'
      " 'texts/*.txt'."
    )
  if not any(file.stat().st_size for file in files):
    raise UserError(
      f'config.data.path is {path!r}, but there is nothing in it: every file'
      ' is empty. Give a file with text.'
    )
  return files


def lines(file: pathlib.Path) -> Iterator[str]:
  """Yields the lines of a file, each with its end of line as a bare newline.

  Raises:
    UserError: A byte is not UTF-8, or a `.gz` file is not intact.
  """
  offset = 0
  for number, line in enumerate(_bytes_by_line(file), start=1):
    try:
      text = line.decode()
    except UnicodeDecodeError as error:
      raise UserError(
        f'{file} is not UTF-8 text: byte 0x{line[error.start]:02x} at offset'
        f' {offset + error.start}, in line {number}, is not valid. Convert the'
        ' file to UTF-8 (iconv does), or take it out of config.data.path.'
      ) from error
    if offset == 0:
      text = text.removeprefix('\ufeff')  # Some editors mark UTF-8 with it.
    offset += len(line)
    yield text[:-2] + '\n' if text.endswith('\r\n') else text


def paragraphs(files: Iterable[pathlib.Path]) -> Iterator[str]:
  """Yields each run of lines between blank ones; no file's end is crossed."""
  for file in files:
    for blank, block in itertools.groupby(lines(file), str.isspace):
      if not blank:
        yield ''.join(block).removesuffix('\n')


def fields(files: Iterable[pathlib.Path], field: str) -> Iterator[str]:
  """Yields the text in one field of the JSON object on each line.

  Raises:
    UserError: A line has no such text.
  """
  for file in files:
    for number, line in enumerate(lines(file), start=1):
      if not line.isspace():
        text = _field(line, field, f'{file}, line {number},')
        if text and not text.isspace():
          yield text


def digest(file: pathlib.Path) -> bytes:
  """Returns the SHA-256 of a file's bytes."""
  with open(file, 'rb') as stream:
    return hashlib.file_digest(stream, 'sha256').digest()


def is_compressed(file: pathlib.Path) -> bool:
  """Returns whether a file is read through gzip, which its name decides."""
  return file.suffix == '.gz'


def _bytes_by_line(file: pathlib.Path) -> Iterator[bytes]:
  if not is_compressed(file):
    with open(file, 'rb') as stream:
      yield from stream
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


def _field(line: str, field: str, where: str) -> str:
  try:
    record = json.loads(line)
  except ValueError as error:
    raise UserError(
      f"{where} is not JSON: {error}. Source 'jsonl' wants a JSON object on"
      " each line; plain text is config.data.source='text'."
    ) from error
  if not isinstance(record, dict):
    raise UserError(
      f'{where} is JSON but not an object, so it has no field {field!r}. Write'
      f' every line as {{"{field}": "..."}}.'
    )
  text = record.get(field)
  if not isinstance(text, str):
    texts = [name for name, value in record.items() if isinstance(value, str)]
    raise UserError(
      f'{where} has no text in a field {field!r}; the fields with text are'
      f' {texts}. Set config.data.field to one of them, or mend the line.'
    )
  if LONE_SURROGATE.search(text):
    raise UserError(
      f'{where} has half of a surrogate pair in {field!r}, which is not a'
      ' character. Mend the line, or drop it.'
    )
  return text
