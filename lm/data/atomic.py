"""Files and directories that appear complete or not at all."""

import contextlib
import errno
import fcntl
import os
import pathlib
import secrets
import shutil
import socket
from collections.abc import Iterator
from typing import IO

from absl import logging

NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)

# The paths that this process is writing. Each lies beside its target and is
# named after its writer: `target~host~process~random.tmp`.
_ours: set[pathlib.Path] = set()


@contextlib.contextmanager
def new_file(target: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields a path to write to, which becomes `target` if nothing is raised."""
  with _temporary(target) as path:
    path.touch()
    yield path
    _sync(path)
    os.replace(path, target)
  _sync(target.parent)


@contextlib.contextmanager
def new_directory(target: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields a directory to fill, which becomes `target` if nothing is raised.

  If another process has made `target` in the meantime, that one is kept.
  """
  with _temporary(target) as path:
    path.mkdir()
    yield path
    for file in path.iterdir():
      _sync(file)
    _sync(path)
    try:
      os.rename(path, target)
    except OSError as error:
      if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
        raise
  _sync(target.parent)


@contextlib.contextmanager
def locked(target: pathlib.Path) -> Iterator[None]:
  """Lets only one process of this machine at a time make `target`.

  The system releases the lock when a process ends, however it ends.
  """
  target.parent.mkdir(parents=True, exist_ok=True)
  with target.with_name(f'.{target.name}.lock').open('w') as file:
    lock(file)
    yield


def lock(file: IO[str], wait: bool = True) -> None:
  """Locks an open file until it is closed, or its process ends.

  Where the file system has no locks, such as a Lustre that is mounted without
  them, this warns and does nothing.

  Args:
    file: The file.
    wait: Whether to wait until no other process has it locked.

  Raises:
    BlockingIOError: Another has, and this does not wait.
  """
  try:
    fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
  except OSError as error:
    if error.errno not in NO_LOCKS:
      raise
    logging.log_first_n(
      logging.WARNING,
      'The file system of %s has no locks: nothing here prevents a second run in'
      ' the same place.',
      1,
      file.name,
    )


def remove(target: pathlib.Path) -> None:
  """Removes a directory atomically, so that no process sees half of it."""
  with _temporary(target) as path, contextlib.suppress(FileNotFoundError):
    os.rename(target, path)


@contextlib.contextmanager
def _temporary(target: pathlib.Path) -> Iterator[pathlib.Path]:
  target.parent.mkdir(parents=True, exist_ok=True)
  for path in target.parent.glob(f'{target.name}~*.tmp'):
    if _is_left_over(path):
      _delete(path)
  writer = f'{socket.gethostname()}~{os.getpid()}~{secrets.token_hex(4)}'
  path = target.with_name(f'{target.name}~{writer}.tmp')
  _ours.add(path)
  try:
    yield path
  finally:
    _delete(path)
    _ours.discard(path)


def _delete(path: pathlib.Path) -> None:
  if path.is_dir():
    shutil.rmtree(path, ignore_errors=True)
  else:
    path.unlink(missing_ok=True)


def _is_left_over(path: pathlib.Path) -> bool:
  """Whether the writing process is gone; always False for other hosts."""
  host, process = path.name.split('~')[-3:-1]
  if host != socket.gethostname() or path in _ours:
    return False
  if int(process) == os.getpid():  # A restarted container reuses its ids.
    return True
  try:
    os.kill(int(process), 0)
  except ProcessLookupError:
    return True
  except PermissionError:
    return False
  return False


def _sync(path: pathlib.Path) -> None:
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)
