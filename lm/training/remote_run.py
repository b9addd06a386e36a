"""Local copies of a remote workdir, for reading."""

import contextlib
import dataclasses
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


@dataclasses.dataclass(frozen=True)
class There(checkpoint_files.Shelf):
  """The checkpoints of a workdir at a URL."""

  url: str

  def steps(self):
    return steps(remote.files(self.url))

  def read_meta(self, step):
    """See `Shelf`."""
    url = remote.join(self._of(step), 'meta.json')
    try:
      return json.loads(remote.read(url))
    except (json.JSONDecodeError, remote.MissingError) as error:
      raise DamagedError(f'{url} is damaged: {error}.') from error

  def delete(self, step):
    """See `Shelf`; removes the sums first, so it is no checkpoint any more."""
    url = self._of(step)
    names = {name: name != checkpoint_files.SUMS for name in remote.files(url)}
    remote.remove(
      remote.join(url, name) for name in sorted(names, key=names.get)
    )

  def _of(self, step: int) -> str:
    return remote.join(self.url, f'{CHECKPOINTS}{step}')


def local_files(workdir: str | os.PathLike) -> pathlib.Path:
  """Returns a local workdir; a remote one is copied without checkpoints."""
  if not remote.is_url(workdir):
    return pathlib.Path(workdir)
  url = str(workdir).rstrip('/')
  return _copied(url, remote.files(url))


def local_run(
  workdir: str | os.PathLike, step: int | None = None, newest: bool = False
) -> pathlib.Path:
  """Returns a local workdir; a remote one is copied with one checkpoint.

  Args:
    workdir: The path or URL of a run, or of a model trained by others.
    step: The step of the checkpoint; None means the best, if the config names
      a metric for it, else the newest intact one.
    newest: Whether to use the newest intact one, whatever the config says.

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
    if step is not None:
      _fetch(url, step, directory)
    elif newest or fetch_best(url, directory) is None:
      fetch_newest(url, saved, directory)
  return directory


def steps(there: Iterable[str]) -> list[int]:
  """Returns the steps whose checkpoint is complete, given all file names."""
  whole = rf'{CHECKPOINTS}(\d+)/{re.escape(checkpoint_files.SUMS)}'
  found = (re.fullmatch(whole, name) for name in there)
  return sorted(int(match[1]) for match in found if match)


def without_checkpoints(there: Mapping[str, str]) -> dict[str, str]:
  """Returns the files that do not belong to checkpoints."""
  return {
    name: stamp
    for name, stamp in there.items()
    if not name.startswith(CHECKPOINTS)
  }


def forget(directory: pathlib.Path, saved: Iterable[int]) -> None:
  """Deletes the checkpoints here that no longer exist at the URL."""
  shelf = checkpoint_files.Here(directory / CHECKPOINTS)
  for step in {*shelf.steps()} - {*saved}:
    shelf.delete(step)


def fetch_newest(url: str, saved: list[int], directory: pathlib.Path) -> None:
  """Copies the newest intact checkpoint, if there are any checkpoints."""
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


def fetch_best(url: str, directory: pathlib.Path) -> int | None:
  """Copies the best checkpoint, and returns its step; None if there is none."""
  path = directory / 'config.json'
  config = json.loads(path.read_text()) if path.exists() else {}
  metric = config.get('checkpoint', {}).get('best', '')
  best = checkpoint_files.best_step(There(url), metric) if metric else None
  if best is not None:
    _fetch(url, best, directory)
  return best


def _fetch(url: str, step: int, directory: pathlib.Path) -> None:
  """Copies a checkpoint unless it is here, and once more if it is damaged.

  Raises:
    DamagedError: It is still damaged.
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
    with contextlib.suppress(ValueError):  # The sums may be damaged.
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
  """Whether a checkpoint here is intact; logs a warning if it is not."""
  try:
    checkpoint_files.check(checkpoint)
  except DamagedError as error:
    logging.warning('%s', error)
    return False
  return True


def _copied(url: str, there: Mapping[str, str]) -> pathlib.Path:
  """Returns a local copy without checkpoints."""
  directory = remote.home() / 'copies' / remote.key(url)
  return remote.refresh(url, directory, without_checkpoints(there))
