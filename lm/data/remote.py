"""Remote files, by URL: gs://, s3:// and whatever else fsspec supports.

Files are transferred whole, in either direction. What fails is retried a few
times and then raises `LostError`.
"""

import collections
import concurrent.futures
import contextlib
import errno
import hashlib
import json
import os
import pathlib
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import fsspec
from absl import logging
from fsspec.registry import known_implementations

from lm.data import atomic
from lm.types import TransientError, UserError

T = TypeVar('T')

DELAYS = (1.0, 2.0, 4.0, 8.0, 16.0)  # Seconds before each retry.
AT_ONCE = 8  # Files in parallel.
STAMPS = '.copied.json'


class LostError(TransientError):
  """A remote file could not be reached, despite retries."""


class DeniedError(LostError):
  """Access was denied, or there is no space left: a retry would not help."""

  status = UserError.status


class MissingError(UserError):
  """There is nothing at a URL."""


def is_url(place: Any) -> bool:
  """Returns whether a place is remote, that is, `scheme://...`."""
  return (
    re.match(r'[a-z][a-z0-9+.-]*(::[a-z0-9+.-]+)*://', str(place)) is not None
  )


def home() -> pathlib.Path:
  """Returns the directory where this machine keeps files it built or copied.

  That is LM_CACHE, unless it is remote itself, or else ~/.cache/lm.
  """
  told = os.environ.get('LM_CACHE', '')
  root = '~/.cache/lm' if not told or is_url(told) else told
  return pathlib.Path(root).expanduser()


def files(url: str) -> dict[str, str]:
  """Returns the files below a URL, by name: a stamp that changes with the file.

  If the URL is a file itself, its name is ''. There may be no files.
  """
  return _attempt(url, lambda system, path: _stamps(system.find, path, path))


def read(url: str) -> bytes:
  """Returns the contents of a file.

  Raises:
    MissingError: There is no such file.
  """
  return _attempt(url, lambda system, path: system.cat_file(path))


def write(data: bytes, url: str) -> None:
  """Writes a file, replacing any that exists."""
  _attempt(url, lambda system, path: system.pipe_file(path, data))


def get(url: str, target: pathlib.Path) -> None:
  """Downloads a file, which appears at `target` only when it is complete."""

  def copy(system: fsspec.AbstractFileSystem, path: str) -> None:
    with atomic.new_file(target) as part:
      system.get_file(path, str(part))
      expected, came = system.size(path), part.stat().st_size
      if expected not in (None, came):
        raise OSError(f'{came} of {expected} bytes came')

  _attempt(url, copy)


def put(source: pathlib.Path, url: str) -> None:
  """Uploads a file."""
  _attempt(url, lambda system, path: system.put_file(str(source), path))


def remove(urls: Iterable[str]) -> None:
  """Removes files, one after another."""
  for url in urls:
    # It may have been removed by an attempt whose response was lost.
    with contextlib.suppress(MissingError):
      _attempt(url, lambda system, path: system.rm_file(path))


def download(url: str, directory: pathlib.Path, names: Iterable[str]) -> None:
  """Downloads the files with these names, several at once."""
  _each(lambda name: get(join(url, name), directory / name), names)


def upload(
  directory: pathlib.Path, url: str, names: Iterable[str], last: str
) -> None:
  """Uploads files, several at once; `last` only after all others."""
  copy = lambda name: put(directory / name, join(url, name))
  _each(copy, [name for name in names if name != last])
  copy(last)


def fetch(url: str) -> pathlib.Path:
  """Returns a local copy of a remote file or directory.

  Files that have not changed since they were copied are not copied again.

  Raises:
    MissingError: There is nothing at `url`.
  """
  url = url.rstrip('/')
  there = files(url)
  if not there:
    raise MissingError(f'There is nothing at {url}. Give another URL.')
  if '' in there:
    base, _, name = url.rpartition('/')
    return refresh(base, home() / 'copies' / key(url), {name: there['']}) / name
  return refresh(url, home() / 'copies' / key(url), there)


def fetch_matching(pattern: str) -> str:
  """Copies the files that match a URL; returns their local path or glob."""
  base = re.split(r'[*?[]', pattern)[0].rpartition('/')[0]

  def match(system: fsspec.AbstractFileSystem, path: str) -> dict[str, str]:
    top = path[: len(path) - len(pattern) + len(base)]
    return _stamps(system.glob, path, top)

  there = _attempt(pattern, match)
  if not there:
    raise MissingError(
      f'There is no file {pattern}. Give the URL of a file, or a glob such as'
      " 'gs://bucket/texts/*.txt'."
    )
  copied = refresh(base, home() / 'copies' / key(pattern), there)
  return str(copied) + pattern.removeprefix(base)


def refresh(
  url: str, directory: pathlib.Path, there: Mapping[str, str]
) -> pathlib.Path:
  """Updates a local copy of remote files, and returns its directory.

  Processes of one machine take turns, so each file is copied once.

  Args:
    url: What the names are relative to.
    directory: Where the copy is, or will be.
    there: Names and stamps of the remote files, as returned by `files`.
  """
  with atomic.locked(directory):
    path = directory / STAMPS
    here = json.loads(path.read_text()) if path.exists() else {}
    for name in here.keys() - there.keys():
      (directory / name).unlink(missing_ok=True)
    changed = [
      name
      for name, stamp in there.items()
      if here.get(name) != stamp or not (directory / name).exists()
    ]
    if changed:
      logging.info('Copying %d files from %s.', len(changed), url)
    download(url, directory, changed)
    with atomic.new_file(path) as part:
      part.write_text(json.dumps(there))
  return directory


def key(url: str) -> str:
  """Returns the local name of whatever belongs to a URL."""
  name = re.sub(r'[^\w.-]+', '_', url.rstrip('/').rpartition('/')[2])
  return f'{name}-{hashlib.sha256(url.encode()).hexdigest()[:16]}'


def join(url: str, name: str) -> str:
  """Returns the URL of a name below another URL."""
  return f'{url.rstrip("/")}/{name}'


def _stamps(
  search: Callable[..., dict[str, dict[str, Any]]], path: str, top: str
) -> dict[str, str]:
  """Returns the stamps of the files a search finds, by name below `top`."""
  found = {}
  for name, info in search(path, detail=True).items():
    if info['type'] == 'file':
      said = json.dumps(info, sort_keys=True, default=str).encode()
      name = name.removeprefix(top).strip('/')
      found[name] = hashlib.sha256(said).hexdigest()
  return found


def _each(work: Callable[[str], None], names: Iterable[str]) -> None:
  with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
    # The first failure cancels transfers that have not begun.
    collections.deque(pool.map(work, names), maxlen=0)


def _attempt(
  url: str, work: Callable[[fsspec.AbstractFileSystem, str], T]
) -> T:
  """Returns the result of `work` on a file system, retried where that helps."""
  system, path = _open(url)
  for delay in (*DELAYS, None):
    try:
      system.invalidate_cache()  # Others may have written there.
      return work(system, path)
    except FileNotFoundError as error:
      raise MissingError(f'There is no {url}: {error}.') from error
    except Exception as error:  # Each protocol has its own errors.
      final = _is_final(error)
      if delay is None or final:
        raise (DeniedError if final else LostError)(
          f'{url} could not be read or written: {error!r}. Start the same'
          ' command again when that is mended.'
        ) from error
      logging.warning('%s: %r. It is tried again in %g s.', url, error, delay)
      time.sleep(delay)
  raise AssertionError  # The last attempt returns or raises.


def _is_final(error: Exception) -> bool:
  """Whether a retry would fail in the same way."""
  full = isinstance(error, OSError) and error.errno == errno.ENOSPC
  return full or isinstance(error, PermissionError)


def _open(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
  protocol = url.partition('://')[0]
  options = {'auto_mkdir': True} if protocol in ('file', 'local') else {}
  try:
    return fsspec.core.url_to_fs(url, **options)
  except ImportError as error:
    known = known_implementations.get(protocol, {})
    package = known.get('class', '').partition('.')[0]
    raise UserError(
      f'{url} needs a package that is not installed: {error}. Run'
      f' pip install {package}.'
    ) from error
  except ValueError as error:
    raise UserError(
      f'{url} has a protocol that fsspec does not know: {error}. Give a path,'
      ' or a URL such as gs://bucket/name.'
    ) from error
