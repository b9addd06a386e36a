"""Text tokenized once, into flat memory-mapped arrays.

A store is a directory of arrays and a `meta.json`, which is written last.
"""

import contextlib
import dataclasses
import errno
import functools
import json
import pathlib
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Int, Integer, UInt8
from rich import console, progress

from lm.data import array_files, atomic, packing, processes, tokenization
from lm.data.tokenization import Tokenized
from lm.data.tokenizers import Tokenizer
from lm.types import UserError

# Increment this when the same text and tokenizer begin to give other arrays.
VERSION = 1
ARRAYS = ('tokens', 'offsets', 'byte_counts', 'marks')


@dataclasses.dataclass(frozen=True, eq=False)
class TokenStore:
  """The tokens of one split of a corpus, with the bytes and marks of each.

  Attributes:
    directory: The directory of the store.
    tokens: The tokens of all documents, concatenated.
    offsets: Where each document starts, then where the last one ends.
    byte_counts: How many bytes of text a token stands for; indexed by id if
      `bytes_by_id`, else like `tokens`.
    marks: For each token, the bits of `lm.data.tokenization`: whether it begins
      a word, and whether a sentence ends in it.
    bytes_by_id: Whether the id alone determines the bytes.
    vocab_size: All ids are below this.
  """

  directory: pathlib.Path
  tokens: Integer[np.ndarray, 'N']
  offsets: Int[np.ndarray, 'O']
  byte_counts: Integer[np.ndarray, 'C']
  marks: UInt8[np.ndarray, 'N']
  bytes_by_id: bool
  vocab_size: int

  def bytes_of(
    self,
    places: Int[np.ndarray, '*B'],
    tokens: Integer[np.ndarray, '*B'],
  ) -> Integer[np.ndarray, '*B']:
    """Returns how many bytes of text `tokens`, found at `places`, stand for."""
    return self.byte_counts[tokens if self.bytes_by_id else places]

  def packing(self, length: int, **rules: int) -> packing.Plan:
    """Returns the plan for rows of `length` tokens; see `packing.pack`."""
    return packing.of_store(self.directory, self.offsets, length, **rules)


def open(directory: pathlib.Path) -> TokenStore:
  """Memory-maps a store.

  Raises:
    UserError: It does not exist, or a file is truncated.
  """
  meta = _meta(directory)
  return TokenStore(
    directory=directory,
    bytes_by_id=meta['bytes_by_id'],
    vocab_size=meta['vocab_size'],
    **{
      name: array_files.map_file(directory / f'{name}.bin', meta['files'][name])
      for name in ARRAYS
    },
  )


def counts(store: TokenStore) -> dict[str, int]:
  """Returns the numbers of documents, tokens and bytes of text in a store."""
  meta = _meta(store.directory)
  return {
    name: meta[f'num_{name}'] for name in ('documents', 'tokens', 'bytes')
  }


def verify(store: TokenStore) -> None:
  """Checks the SHA-256 of all files of a store, such as a copy.

  Raises:
    UserError: A file is not what was written.
  """
  for name, meta in _meta(store.directory)['files'].items():
    array_files.verify(store.directory / f'{name}.bin', meta)


def build(
  documents: Iterable[str],
  tokenizer: Tokenizer,
  directory: pathlib.Path,
  end_of_text: bool,
  workers: int,
  words: str = 'tokenizer',
) -> TokenStore:
  """Tokenizes documents into a store, identical for any number of workers.

  Memory holds `3 * workers` chunks of `tokenization.CHUNK` characters and their
  tokens; a larger document that cannot be cut takes as much as it needs.

  Args:
    documents: The text.
    tokenizer: The tokenizer.
    directory: Where the finished store will be.
    end_of_text: Whether the tokenizer's end token follows every document.
    workers: Number of tokenizing processes.
    words: What determines where words begin; see `lm.data.tokenization`.

  Raises:
    UserError: There are no tokens, the disk is full, or memory ran out.
  """
  tokenization.check_end(tokenizer, end_of_text)
  work = functools.partial(
    tokenization.tokenize,
    tokenizer=tokenizer,
    end_of_text=end_of_text,
    words=words,
  )
  chunks = tokenization.chunks(documents, tokenizer)
  with contextlib.closing(
    processes.map_in_order(work, chunks, workers)
  ) as parts:
    return write(_with_bar(parts), tokenizer, directory)


def write(
  parts: Iterable[Tokenized], tokenizer: Tokenizer, directory: pathlib.Path
) -> TokenStore:
  """Writes tokenized text into a store, however it is divided into parts.

  Raises:
    UserError: There are no tokens, or the disk is full.
  """
  with full_disk_said(directory), atomic.new_directory(directory) as path:
    meta = {
      'version': VERSION,
      'tokenizer': tokenizer.fingerprint(),
      'vocab_size': tokenizer.vocab_size,
      'bytes_by_id': tokenizer.bytes_of_id is not None,
      **_write(parts, path, tokenizer.bytes_of_id),
    }
    (path / 'meta.json').write_text(json.dumps(meta, indent=2) + '\n')
  return open(directory)


@contextlib.contextmanager
def full_disk_said(target: pathlib.Path) -> Iterator[None]:
  """Raises UserError if the disk of `target` is full."""
  try:
    yield
  except OSError as error:
    if error.errno != errno.ENOSPC:
      raise
    raise UserError(
      f'The disk of {target.parent} is full, so the token store could not be'
      ' built; what was half written is removed. Free some space, or set'
      ' config.data.cache to a directory on another disk.'
    ) from error


def _meta(directory: pathlib.Path) -> dict[str, Any]:
  try:
    meta = json.loads((directory / 'meta.json').read_text())
    if meta['version'] == VERSION:
      return meta
    reason = f'it is of version {meta["version"]}, not {VERSION}'
  except FileNotFoundError:
    reason = 'it has no meta.json'
  except json.JSONDecodeError as error:
    reason = f'its meta.json is cut short ({error})'
  raise UserError(
    f'{directory} is no token store: {reason}. Remove the directory, and it is'
    ' built anew.'
  )


def _write(
  parts: Iterable[Tokenized],
  directory: pathlib.Path,
  bytes_of_id: Int[np.ndarray, 'V'] | None,
) -> dict[str, Any]:
  """Writes the arrays of a store, and returns their metadata."""
  end, num_documents, num_bytes = 0, 0, 0
  with contextlib.ExitStack() as stack:
    files = {
      name: stack.enter_context(
        array_files.ArrayFile(directory / f'{name}.bin')
      )
      for name in ARRAYS
    }
    files['offsets'].append(np.zeros(1, np.int64))
    for part in parts:
      files['tokens'].append(part.tokens)
      files['marks'].append(part.marks)
      if bytes_of_id is None:
        files['byte_counts'].append(part.byte_counts)
      ends = end + np.cumsum(part.sizes)
      files['offsets'].append(ends[part.ends_document])
      end += len(part.tokens)
      num_documents += int(part.ends_document.sum())
      num_bytes += int(part.byte_counts.sum(dtype=np.int64))
    if bytes_of_id is not None:
      files['byte_counts'].append(bytes_of_id)
  if not end:
    raise UserError(
      'The text of config.data.path has no tokens. Give a text with words.'
    )
  return {
    'num_documents': num_documents,
    'num_tokens': end,
    'num_bytes': num_bytes,
    'files': {name: file.meta() for name, file in files.items()},
  }


def _with_bar(parts: Iterable[Tokenized]) -> Iterator[Tokenized]:
  """Yields the parts, and shows their progress on a terminal."""
  screen = console.Console(stderr=True)
  columns = (
    progress.TextColumn('Tokenizing'),
    progress.DownloadColumn(),
    progress.TransferSpeedColumn(),
    progress.TimeElapsedColumn(),
  )
  with progress.Progress(
    *columns, console=screen, disable=not sys.stderr.isatty()
  ) as bar:
    task = bar.add_task('', total=None)
    for part in parts:
      yield part
      bar.advance(task, int(part.byte_counts.sum(dtype=np.int64)))
