"""Shards of tokens, made for one store by many machines that share files.

A directory of shards has

    job.pickle           the work to do
    00003-of-00040.npys  a part of the text, tokenized; complete or absent
    index.json           the size, SHA-256 and counts of each shard
    failure.txt          what is wrong with the text, if anything

A shard depends on the job alone, so it does not matter which machine makes it,
whether two do, or whether one that was killed had begun.
"""

import dataclasses
import hashlib
import json
import pathlib
import pickle
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from absl import logging

from lm.data import atomic, token_store, tokenization
from lm.data.tokenization import Tokenized
from lm.data.tokenizers import Tokenizer
from lm.types import UserError


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
  """The work to do.

  Attributes:
    parts: The parts of the text, a shard each; see `corpora.Corpus`.
    side: The side whose documents are tokenized.
    tokenizer: The tokenizer.
    end_of_text: Whether the tokenizer's end token follows every document.
    words: What determines where words begin; see `lm.data.tokenization`.
  """

  parts: tuple[Callable[[str], Iterator[str]], ...]
  side: str
  tokenizer: Tokenizer
  end_of_text: bool
  words: str


def begin(directory: pathlib.Path, job: Job) -> None:
  """Writes a job where all machines find it; existing shards are kept."""
  directory.mkdir(parents=True, exist_ok=True)
  for name in ('index.json', 'failure.txt'):
    (directory / name).unlink(missing_ok=True)
  with atomic.new_file(directory / 'job.pickle') as path:
    path.write_bytes(pickle.dumps(job))


def job(directory: pathlib.Path) -> Job:
  """Reads the job."""
  return pickle.loads((directory / 'job.pickle').read_bytes())


def make(directory: pathlib.Path, job: Job, number: int) -> dict[str, Any]:
  """Returns the index entry of a shard, which is made if missing.

  Raises:
    UserError: The text is invalid, or the disk is full.
  """
  path = directory / f'{number:05}-of-{len(job.parts):05}.npys'
  if path.exists():
    try:
      return {'number': number, **_entry(path)}
    except (EOFError, ValueError) as error:  # Raised by numpy.
      logging.warning('%s is damaged (%s): it is made anew.', path, error)
  try:
    with token_store.full_disk_said(path):
      _write(path, job, number)
  except UserError as error:
    with atomic.new_file(directory / 'failure.txt') as temporary:
      temporary.write_text(str(error))
    raise
  return {'number': number, **_entry(path)}


def write_index(
  directory: pathlib.Path, entries: Iterable[dict[str, Any]]
) -> None:
  """Writes the entries that `make` returned for all shards, in order."""
  entries = sorted(entries, key=lambda entry: entry['number'])
  with atomic.new_file(directory / 'index.json') as path:
    path.write_text(json.dumps({'shards': entries}, indent=2) + '\n')


def is_complete(directory: pathlib.Path) -> bool:
  """Returns whether all shards are made."""
  return (directory / 'index.json').exists()


def failure(directory: pathlib.Path) -> str:
  """Returns the reason why a shard could not be made, or ''."""
  path = directory / 'failure.txt'
  return path.read_text() if path.exists() else ''


def num_made(directory: pathlib.Path) -> int:
  """Returns how many shards have been made so far."""
  return sum(1 for _ in directory.glob('*.npys'))


def read(directory: pathlib.Path) -> Iterator[Tokenized]:
  """Yields the contents of all shards, in the order of the text.

  Raises:
    UserError: A shard is not what was written.
  """
  index = json.loads((directory / 'index.json').read_text())
  for entry in index['shards']:
    path = directory / entry['name']
    found = _sum(path) if path.exists() else 'that of no file'
    if found != entry['sha256']:
      raise UserError(
        f'{path} is damaged: its SHA-256 is {found}, and was'
        f' {entry["sha256"]}. Remove it and give the same command again: it is'
        ' made anew, and the other shards are found.'
      )
    yield from _tokenized(path)


def _write(path: pathlib.Path, job: Job, number: int) -> None:
  documents = job.parts[number](job.side)
  with atomic.new_file(path) as temporary, temporary.open('wb') as stream:
    for chunk in tokenization.chunks(documents, job.tokenizer):
      for array in tokenization.tokenize(
        chunk, job.tokenizer, job.end_of_text, job.words
      ):
        np.save(stream, array, allow_pickle=False)


def _entry(path: pathlib.Path) -> dict[str, Any]:
  entry = {'name': path.name, 'size': path.stat().st_size, 'sha256': _sum(path)}
  entry |= {'num_documents': 0, 'num_tokens': 0, 'num_bytes': 0}
  for part in _tokenized(path):
    entry['num_documents'] += int(part.ends_document.sum())
    entry['num_tokens'] += len(part.tokens)
    entry['num_bytes'] += int(part.byte_counts.sum(dtype=np.int64))
  return entry


def _sum(path: pathlib.Path) -> str:
  with path.open('rb') as stream:
    return hashlib.file_digest(stream, 'sha256').hexdigest()


def _tokenized(path: pathlib.Path) -> Iterator[Tokenized]:
  with path.open('rb') as stream:
    while stream.peek(1):
      yield Tokenized(
        *(np.load(stream, allow_pickle=False) for _ in Tokenized._fields)
      )
