"""Flat arrays in files: written incrementally, checksummed, memory-mapped."""

import hashlib
import pathlib
from typing import Any

import numpy as np
from jaxtyping import Integer

from lm.types import UserError


class ArrayFile:
  """A file that arrays are appended to."""

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
    """Appends an array, of the same dtype as those before it."""
    data = np.ascontiguousarray(array).data
    self._stream.write(data)
    self._sha256.update(data)
    self.dtype = array.dtype.str
    self.size += data.nbytes

  def meta(self) -> dict[str, Any]:
    """Returns the metadata that `map_file` and `verify` need."""
    sha256 = self._sha256.hexdigest()
    return {'dtype': self.dtype, 'size': self.size, 'sha256': sha256}


def map_file(path: pathlib.Path, meta: dict[str, Any]) -> np.ndarray:
  """Returns the array in a file as a memory map, which is read on access.

  Raises:
    UserError: The file is truncated.
  """
  size = path.stat().st_size if path.exists() else 0
  if size != meta['size']:
    raise UserError(
      f'{path} is cut short: it has {size} of {meta["size"]} bytes. Remove the'
      ' directory that it is in, and it is built anew.'
    )
  return np.asarray(np.memmap(path, meta['dtype'], 'r'))


def verify(path: pathlib.Path, meta: dict[str, Any]) -> None:
  """Checks the SHA-256 of a whole file, such as a copy.

  Raises:
    UserError: The file is not what was written.
  """
  with path.open('rb') as stream:
    sha256 = hashlib.file_digest(stream, 'sha256').hexdigest()
  if sha256 != meta['sha256']:
    raise UserError(
      f'{path} is damaged: its SHA-256 is {sha256}, and was {meta["sha256"]}.'
      ' Remove the directory that it is in, and it is built anew.'
    )
