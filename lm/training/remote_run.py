"""A workdir that is elsewhere, at a URL, as a copy on this machine to read."""

import contextlib
import json
import os
import pathlib
import re
import shutil
from collections.abc import Iterable, Mapping

from absl import logging

from lm.data import atomic, remote
from lm.training import checkpoint_files
from lm.training.checkpoint_files import DamagedError
from lm.types import UserError

CHECKPOINTS = 'checkpoints/'


def local_files(workdir: str | os.PathLike) -> pathlib.Path:
  """Returns a workdir of this machine, copied without checkpoints if need be."""
  if not remote.is_url(workdir):
    return pathlib.Path(workdir)
  url = str(workdir).rstrip('/')
  return _copied(url, remote.files(url))


def local_run(
  workdir: str | os.PathLike, step: int | None = None
) -> pathlib.Path:
  """Returns a workdir of this machine, copied with one checkpoint if need be.

  Args:
    workdir: A path or URL, of a run or of what others have trained.
    step: Of the checkpoint; None: the newest intact one.

  Raises:
    UserError: There is none, or it is damaged.
  """
  if not remote.is_url(workdir):
    return pathlib.Path(workdir)
  url = str(workdir).rstrip('/')
  there = remote.files(url)
  if not there:
    raise UserError(f'There is nothing at {url}. Give the --workdir of a run.')
  directory, saved = _copied(url, there), steps(there)
  if step is not None and step not in saved:
    raise UserError(f'{url} has steps {saved}, but not step {step}.')
  with atomic.locked(directory / 'checkpoints'):
    forget(directory, saved)
    if step is None:
      fetch_newest(url, saved, directory)
    else:
      _fetch(url, step, directory)
  return directory


def steps(there: Iterable[str]) -> list[int]:
  """Returns the steps whose checkpoint is whole, given the names of all files."""
  whole = rf'{CHECKPOINTS}(\d+)/{re.escape(checkpoint_files.SUMS)}'
  found = (re.fullmatch(whole, name) for name in there)
  return sorted(int(match[1]) for match in found if match)


def without_checkpoints(there: Mapping[str, str]) -> dict[str, str]:
  """Returns all other files."""
  return {
    name: stamp
    for name, stamp in there.items()
    if not name.startswith(CHECKPOINTS)
  }


def forget(directory: pathlib.Path, saved: Iterable[int]) -> None:
  """Deletes the checkpoints here that are not there any more."""
  shelf = checkpoint_files.Shelf(directory / CHECKPOINTS)
  for step in {*shelf.steps()} - {*saved}:
    shelf.delete(step)


def fetch_newest(url: str, saved: list[int], directory: pathlib.Path) -> None:
  """Copies the newest intact checkpoint, if there is any."""
  for step in reversed(saved):
    try:
      _fetch(url, step, directory)
    except DamagedError as error:
      logging.warning('%s', error)
    else:
      return
  if saved:
    raise UserError(
      f'Every checkpoint at {url} is damaged (steps {saved}). Bring back a'
      ' copy, or start anew with another workdir.'
    )


def _fetch(url: str, step: int, directory: pathlib.Path) -> None:
  """Copies a checkpoint unless it is here, and once more if it is damaged.

  Raises:
    DamagedError: It still is.
  """
  source = remote.join(url, f'{CHECKPOINTS}{step}')
  target = directory / CHECKPOINTS / str(step)
  sums = remote.read(remote.join(source, checkpoint_files.SUMS))
  path = target / checkpoint_files.SUMS
  if path.exists() and path.read_bytes() == sums and is_intact(target):
    return
  partial = target.with_name(f'{step}.partial')
  for _ in range(2):
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    (partial / checkpoint_files.SUMS).write_bytes(sums)
    with contextlib.suppress(ValueError):  # Of sums that are damaged.
      remote.download(source, partial, json.loads(sums))
    if is_intact(partial):
      if target.exists():
        checkpoint_files.delete(target)
      partial.rename(target)
      return
  raise DamagedError(
    f'The checkpoint of step {step} at {url} is damaged: it was copied twice.'
  )


def is_intact(checkpoint: pathlib.Path) -> bool:
  """Whether a checkpoint here is, and if it is not, says so."""
  try:
    checkpoint_files.check(checkpoint)
  except DamagedError as error:
    logging.warning('%s', error)
    return False
  return True


def _copied(url: str, there: Mapping[str, str]) -> pathlib.Path:
  """Returns a copy without checkpoints."""
  directory = remote.home() / 'copies' / remote.key(url)
  return remote.refresh(url, directory, without_checkpoints(there))
