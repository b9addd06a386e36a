"""Flat arrays in files: written bit by bit, checked, mapped into memory."""

import hashlib
import pathlib
from typing import Any

import numpy as np
from jaxtyping import Integer

from lm.types import UserError


class ArrayFile:
  """A file that an array is appended to."""

  def __init__(self, path: pathlib.Path):
    self.path = path
    self.dtype = None
    self.size = 0
    self._stream = path.open('wb')
    self._sha256 = hashlib.sha256()

  def __enter__(self) -> 'ArrayFile':
    return self

  def __exit__(self, *error: Any) -> None:
    self._stream.close()

  def append(self, array: Integer[np.ndarray, 'N']) -> None:
    """Writes an array behind those before it, which are of its type."""
    data = np.ascontiguousarray(array).data
    self._stream.write(data)
    self._sha256.update(data)
    self.dtype = array.dtype.str
    self.size += data.nbytes

  def meta(self) -> dict[str, Any]:
    """Returns what `map_file` and `verify` have to know of it."""
    sha256 = self._sha256.hexdigest()
    return {'dtype': self.dtype, 'size': self.size, 'sha256': sha256}


def map_file(path: pathlib.Path, meta: dict[str, Any]) -> np.ndarray:
  """Returns the array in a file, of which only what is looked at is read.

  Raises:
    UserError: The file is cut short.
  """
  size = path.stat().st_size if path.exists() else 0
  if size != meta['size']:
    raise UserError(
      f'{path} is cut short: it has {size} of {meta["size"]} bytes. Remove the'
      ' directory that it is in, and it is built anew.'
    )
  return np.asarray(np.memmap(path, meta['dtype'], 'r'))


def verify(path: pathlib.Path, meta: dict[str, Any]) -> None:
  """Reads a whole file, as is due after a copy.

  Raises:
    UserError: It is not what was written.
  """
  with path.open('rb') as stream:
    sha256 = hashlib.file_digest(stream, 'sha256').hexdigest()
  if sha256 != meta['sha256']:
    raise UserError(
      f'{path} is damaged: its SHA-256 is {sha256}, and was {meta["sha256"]}.'
      ' Remove the directory that it is in, and it is built anew.'
    )
