"""A checkpoint as files: named only when complete, trusted only when intact.

    DIR/STEP/state/     the arrays
    DIR/STEP/meta.json  the metadata
    DIR/STEP/sums.json  the SHA-256 of every other file

It is `STEP.partial` until all of it and its sums are on disk; one rename makes
it `STEP`. So a process killed at any moment leaves nothing that looks complete
but is not.
"""

import abc
import dataclasses
import hashlib
import json
import math
import os
import pathlib
import shutil
from collections.abc import Iterable
from typing import Any

from absl import logging

from lm.analysis.directions import higher_is_better
from lm.types import UserError

FORMAT_VERSION = 1
SUMS = 'sums.json'


class DamagedError(UserError):
  """A checkpoint does not hold what was written."""


class Shelf(abc.ABC):
  """The checkpoints of a run, local or remote."""

  @abc.abstractmethod
  def steps(self) -> list[int]:
    """Returns the steps that have a checkpoint, oldest first."""

  @abc.abstractmethod
  def read_meta(self, step: int) -> dict[str, Any]:
    """Returns the metadata of a checkpoint, without checking its sums."""

  @abc.abstractmethod
  def delete(self, step: int) -> None:
    """Deletes a checkpoint."""


@dataclasses.dataclass(frozen=True)
class Here(Shelf):
  """The checkpoints in a local directory."""

  directory: pathlib.Path

  def steps(self):
    return steps(self.directory)

  def read_meta(self, step):
    return read_meta(self.directory / str(step))

  def delete(self, step):
    delete(self.directory / str(step))


def steps(directory: pathlib.Path) -> list[int]:
  """Returns the steps that have a checkpoint, oldest first."""
  names = (path.name for path in directory.glob('*'))
  return sorted(int(name) for name in names if name.isdecimal())


def complete(partial: pathlib.Path, meta: dict[str, Any]) -> None:
  """Writes the metadata and sums of `STEP.partial`, then renames it."""
  write_meta(partial, meta)
  (partial / SUMS).write_text(json.dumps(sums(partial), indent=2))
  for path in [*partial.rglob('*'), partial]:
    _to_disk(path)
  final = partial.with_suffix('')
  if final.exists():  # A damaged one, whose step the run has reached again.
    delete(final)
  partial.rename(final)
  _to_disk(final.parent)


def write_meta(partial: pathlib.Path, meta: dict[str, Any]) -> None:
  """Writes the metadata of a checkpoint."""
  meta = {'format_version': FORMAT_VERSION, **meta}
  (partial / 'meta.json').write_text(json.dumps(meta, indent=2))


def sums(directory: pathlib.Path) -> dict[str, str]:
  """Returns the SHA-256 of each file below a directory."""
  return {
    path.relative_to(directory).as_posix(): _sum(path)
    for path in sorted(directory.rglob('*'))
    if path.is_file()
  }


def delete(checkpoint: pathlib.Path) -> None:
  """Deletes a checkpoint, after renaming it."""
  nameless = checkpoint.with_name(f'{checkpoint.name}.old.partial')
  checkpoint.rename(nameless)
  shutil.rmtree(nameless)


def clean(directory: pathlib.Path) -> None:
  """Deletes what killed processes left behind."""
  for leftover in directory.glob('*.partial'):
    shutil.rmtree(leftover)


def read_meta(checkpoint: pathlib.Path) -> dict[str, Any]:
  """Returns the metadata of a checkpoint, without checking its sums."""
  try:
    return json.loads((checkpoint / 'meta.json').read_text())
  except (OSError, ValueError) as error:
    raise DamagedError(
      f'{checkpoint}/meta.json is damaged: {error}.'
    ) from error


def best_step(
  shelf: Shelf, metric: str, among: Iterable[int] | None = None
) -> int | None:
  """Returns the step of the best checkpoint, or None if none was measured.

  Args:
    shelf: The checkpoints.
    metric: The metric to compare.
    among: The steps to compare; None means all.
  """
  sign, scores = -1 if higher_is_better(metric) else 1, {}
  for step in shelf.steps() if among is None else among:
    try:
      metrics = shelf.read_meta(step)['metrics']
    except DamagedError as error:
      logging.warning('Step %d cannot be the best: %s', step, error)
      continue
    if math.isfinite(metrics.get(metric, math.nan)):
      scores[step] = sign * metrics[metric]
  return min(scores, key=lambda step: (scores[step], step), default=None)


def check(checkpoint: pathlib.Path) -> None:
  """Raises unless every file is as it was written, in a known format.

  Raises:
    DamagedError: A file is missing or differs.
    UserError: A later version of this program wrote it.
  """
  try:
    listed = json.loads((checkpoint / SUMS).read_text())
    if not isinstance(listed, dict) or 'meta.json' not in listed:
      raise DamagedError(f'{checkpoint}/{SUMS} does not list meta.json.')
    for name, expected in listed.items():
      if _sum(checkpoint / name) != expected:
        raise DamagedError(f'{checkpoint}/{name} does not have its SHA-256.')
  except FileNotFoundError as error:
    raise DamagedError(f'{error.filename} is missing.') from error
  except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
    raise DamagedError(f'{checkpoint} cannot be read: {error}.') from error
  version = read_meta(checkpoint)['format_version']
  if version > FORMAT_VERSION:
    raise UserError(
      f'{checkpoint} has format version {version}, but this program knows'
      f' versions up to {FORMAT_VERSION}. Update the program.'
    )


def newest_intact(directory: pathlib.Path) -> int | None:
  """Returns the last step whose checkpoint is intact, or None if there is none.

  Raises:
    UserError: There are checkpoints, but all are damaged.
  """
  there = steps(directory)
  for step in reversed(there):
    try:
      check(directory / str(step))
    except DamagedError as error:
      logging.warning(
        'Skipped the damaged checkpoint of step %d: %s', step, error
      )
    else:
      return step
  if there:
    raise UserError(
      f'Every checkpoint in {directory} is damaged (steps {there}). Bring back'
      ' a copy, or start anew with another workdir.'
    )
  return None


def _sum(path: pathlib.Path) -> str:
  with path.open('rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def _to_disk(path: pathlib.Path) -> None:
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)
