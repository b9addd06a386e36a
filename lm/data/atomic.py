"""Files and directories that appear whole or not at all."""

import contextlib
import errno
import fcntl
import os
import pathlib
import secrets
import shutil
import socket
from collections.abc import Iterator

# What this process writes at the moment; beside each target, under a name that
# tells who writes it: `target~host~process~random.tmp`.
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

  Where another process made `target` in the meantime, that one stays.
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
  """Lets one process of this machine at a time work on what becomes `target`.

  The system lets go when a process ends, however it does.
  """
  target.parent.mkdir(parents=True, exist_ok=True)
  with target.with_name(f'.{target.name}.lock').open('w') as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    yield


def remove(target: pathlib.Path) -> None:
  """Removes a directory so that nobody meets half of it."""
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
  """Whether the process that wrote it is gone; of other hosts, never."""
  host, process = path.name.split('~')[-3:-1]
  if host != socket.gethostname() or path in _ours:
    return False
  if int(process) == os.getpid():  # A restarted container counts from 1 again.
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
