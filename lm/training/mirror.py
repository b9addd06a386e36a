"""A workdir that is elsewhere, at a URL, and its mirror on this machine.

A run works in the mirror, as in any workdir. It is pulled before the run begins
and pushed with each checkpoint and in the end, each file whole:

    URL/run.json                    which run this is; its mirrors bear that name
    URL/checkpoints/STEP/sums.json  written last, so the checkpoint is whole
    URL/...                         all else as in any workdir

Where there are many processes, each has a mirror, writes its share of the
arrays there, and puts it to those of the others.
"""

import contextlib
import json
import os
import pathlib
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Mapping
from typing import Any

import jax
from absl import logging

from lm.data import atomic, remote
from lm.parallel import hosts
from lm.training import checkpoint_files
from lm.training.checkpoint_files import DamagedError
from lm.types import UserError

CHECKPOINTS = 'checkpoints/'
RUN = 'run.json'
# What is on its way to another name.
PASSING = ('.tmp', '.part', '.lock')
PATIENCE = 1800.0  # Seconds until all processes have put their shares.


class Mirror:
  """The mirror of a run that trains; every process of the run has one.

  Attributes:
    url: The workdir.
    directory: The mirror.
  """

  def __init__(self, url: str):
    self.url = url.rstrip('/')
    mark = f'{_run(self.url):08x}'
    if jax.process_count() > 1:
      mark += f'-{jax.process_index()}'
    name = remote.key(self.url)
    self.directory = (
      remote.home() / 'workdirs' / f'{name}-{mark}' / self.url.split('/')[-1]
    )
    self._attempt = hosts.of_first(secrets.randbits(31))
    self._pushed: dict[str, tuple[int, int]] = {}

  def pull(self) -> None:
    """Makes the mirror what the workdir is, or the other way round.

    What a run could not put there before it ended is put there now.
    """
    there = remote.files(self.url)
    newest = max(_steps(there), default=-1)
    ahead = [step for step in self._intact() if step > newest]
    for step in ahead:
      logging.info('Step %d had not been copied to %s.', step, self.url)
      self.publish(step)
    if not ahead:
      remote.refresh(self.url, self.directory, _without_checkpoints(there))
      self._pushed = self._marks()
      _fetch_newest(self.url, _steps(there), self.directory)

  def push(self) -> None:
    """Copies what has changed here, the checkpoints apart."""
    marks = self._marks()
    for name in marks:
      if self._pushed.get(name) != marks[name]:
        # Read at once: a log may grow meanwhile.
        data = (self.directory / name).read_bytes()
        remote.write(data, remote.join(self.url, name))
        self._pushed[name] = marks[name]

  def publish(self, step: int) -> None:
    """Puts a checkpoint there, after what the run said until then.

    Raises:
      LostError: That failed; all is in the mirror.
    """
    checkpoint, url = self._here(step), self._there(step)
    try:
      self.push()
      remote.remove([remote.join(url, checkpoint_files.SUMS)])
      listed = json.loads((checkpoint / checkpoint_files.SUMS).read_text())
      remote.upload(checkpoint, url, listed, last=checkpoint_files.SUMS)
    except remote.LostError as error:
      raise remote.LostError(
        f'{error} The checkpoint of step {step} is whole in {checkpoint}; on'
        ' this machine the run goes on from it.'
      ) from error

  def publish_share(self, step: int, partial: pathlib.Path) -> None:
    """Puts this process's share of a checkpoint there; process 0 ends it.

    Args:
      step: Of the checkpoint.
      partial: Where the share is; of process 0, with `meta.json`.
    """
    url, me = self._there(step), jax.process_index()
    names = [
      f'share-{self._attempt:08x}-{process}.json'
      for process in range(jax.process_count())
    ]
    sums = checkpoint_files.sums(partial)
    if me == 0:
      remote.remove([remote.join(url, checkpoint_files.SUMS)])
    else:  # What is of no array in particular, process 0 has too.
      sums = {name: sum for name, sum in sums.items() if name.count('/') > 1}
    (partial / names[me]).write_text(json.dumps(sums))
    remote.upload(partial, url, sums, last=names[me])
    if me > 0:
      return
    shares = [remote.join(url, name) for name in names]
    for share in shares:
      sums |= json.loads(_wait_for(share))
    self.push()
    whole = json.dumps(sums, indent=2).encode()
    remote.write(whole, remote.join(url, checkpoint_files.SUMS))
    remote.remove(shares)

  def steps(self) -> list[int]:
    """Returns the steps that have a checkpoint there, the oldest first."""
    return _steps(remote.files(self.url))

  def read_meta(self, step: int) -> dict[str, Any]:
    """Returns the metadata of a checkpoint there, whose sums are not checked."""
    url = remote.join(self._there(step), 'meta.json')
    try:
      return json.loads(remote.read(url))
    except (json.JSONDecodeError, remote.MissingError) as error:
      raise DamagedError(f'{url} is damaged: {error}.') from error

  def delete(self, step: int) -> None:
    """Deletes a checkpoint there; from the beginning it is none any more."""
    url = self._there(step)
    names = {name: name != checkpoint_files.SUMS for name in remote.files(url)}
    remote.remove(
      remote.join(url, name) for name in sorted(names, key=names.get)
    )

  def _here(self, step: int) -> pathlib.Path:
    return self.directory / CHECKPOINTS / str(step)

  def _there(self, step: int) -> str:
    return remote.join(self.url, f'{CHECKPOINTS}{step}')

  def _intact(self) -> list[int]:
    """Returns the steps that have an intact checkpoint here."""
    there = checkpoint_files.steps(self.directory / CHECKPOINTS)
    return [step for step in there if _is_intact(self._here(step))]

  def _marks(self) -> dict[str, tuple[int, int]]:
    """Returns what tells that a file has changed, of each that is pushed."""
    marks = {}
    for path in sorted(self.directory.rglob('*')):
      name = path.relative_to(self.directory).as_posix()
      passing = name.startswith(CHECKPOINTS) or path.suffix in PASSING
      if path.is_file() and not (passing or name.startswith('.')):
        stat = path.stat()
        marks[name] = (stat.st_size, stat.st_mtime_ns)
    return marks


def local_files(workdir: str | os.PathLike) -> pathlib.Path:
  """Returns a workdir of this machine, copied without checkpoints if need be."""
  if not remote.is_url(workdir):
    return pathlib.Path(workdir)
  return _copied(str(workdir).rstrip('/'))[0]


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
  directory, steps = _copied(url)
  if step is not None and step not in steps:
    raise UserError(f'{url} has steps {steps}, but not step {step}.')
  with atomic.locked(directory / 'checkpoints'):
    gone = {*checkpoint_files.steps(directory / CHECKPOINTS)} - {*steps}
    for old in gone:
      checkpoint_files.delete(directory / CHECKPOINTS / str(old))
    if step is None:
      _fetch_newest(url, steps, directory)
    else:
      _fetch(url, step, directory)
  return directory


def _copied(url: str) -> tuple[pathlib.Path, list[int]]:
  """Returns a copy without checkpoints, and of which steps there are some."""
  there = remote.files(url)
  if not there:
    raise UserError(f'There is nothing at {url}. Give the --workdir of a run.')
  directory = remote.home() / 'copies' / remote.key(url)
  remote.refresh(url, directory, _without_checkpoints(there))
  return directory, _steps(there)


def _fetch_newest(url: str, steps: list[int], directory: pathlib.Path) -> None:
  """Copies the newest intact checkpoint, if there is any."""
  for step in reversed(steps):
    try:
      _fetch(url, step, directory)
    except DamagedError as error:
      logging.warning('%s', error)
    else:
      return
  if steps:
    raise UserError(
      f'Every checkpoint at {url} is damaged (steps {steps}). Bring back a'
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
  if path.exists() and path.read_bytes() == sums and _is_intact(target):
    return
  partial = target.with_name(f'{step}.partial')
  for _ in range(2):
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    (partial / checkpoint_files.SUMS).write_bytes(sums)
    with contextlib.suppress(ValueError):  # Of sums that are damaged.
      remote.download(source, partial, json.loads(sums))
    if _is_intact(partial):
      if target.exists():
        checkpoint_files.delete(target)
      partial.rename(target)
      return
  raise DamagedError(
    f'The checkpoint of step {step} at {url} is damaged: it was copied twice.'
  )


def _is_intact(checkpoint: pathlib.Path) -> bool:
  """Whether a checkpoint here is, and if it is not, says so."""
  try:
    checkpoint_files.check(checkpoint)
  except DamagedError as error:
    logging.warning('%s', error)
    return False
  return True


def _steps(there: Iterable[str]) -> list[int]:
  """Returns the steps whose checkpoint is whole, given the names of all files."""
  whole = rf'{CHECKPOINTS}(\d+)/{re.escape(checkpoint_files.SUMS)}'
  found = (re.fullmatch(whole, name) for name in there)
  return sorted(int(match[1]) for match in found if match)


def _without_checkpoints(there: Mapping[str, str]) -> dict[str, str]:
  return {
    name: stamp
    for name, stamp in there.items()
    if not name.startswith(CHECKPOINTS)
  }


def _run(url: str) -> int:
  """Returns which run a workdir holds, or shall hold."""
  place, number = remote.join(url, RUN), 0
  if hosts.is_first():
    try:
      number = json.loads(remote.read(place))['run']
    except remote.MissingError:
      number = secrets.randbits(31)
      remote.write(json.dumps({'run': number}).encode(), place)
  return hosts.of_first(number)


def _wait_for(url: str) -> bytes:
  """Returns what another process puts at `url`."""
  end = time.monotonic() + PATIENCE
  while time.monotonic() < end:
    with contextlib.suppress(remote.MissingError):
      return remote.read(url)
    time.sleep(0.5)
  raise remote.LostError(
    f'{url} was not there after {PATIENCE:.0f} s, so a process could not put its'
    ' share of the checkpoint there. Start the same command again: the run goes'
    ' on from the checkpoint before.'
  )
