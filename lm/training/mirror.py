"""A remote workdir, at a URL, and its mirror on this machine.

A run works in the mirror, as in any workdir. It is pulled before the run starts
and pushed with each checkpoint and at the end, each file whole:

    URL/run.json                    the run's id, part of its mirrors' names
    URL/checkpoints/STEP/sums.json  written last, so the checkpoint is complete
    URL/...                         everything else, as in any workdir

If there are several processes, each has a mirror, writes its share of the
arrays there, and uploads it beside those of the others.
"""

import contextlib
import json
import pathlib
import re
import secrets
import time

import jax
from absl import logging

from lm.data import remote
from lm.parallel import hosts
from lm.training import checkpoint_files, remote_run
from lm.training.checkpoint_files import DamagedError
from lm.training.remote_run import CHECKPOINTS

RUN = 'run.json'
LAST_PUT = '.last_put'  # Later checkpoints here have not been uploaded yet.
# Suffixes of files that are not pushed, as they are temporary.
PASSING = ('.tmp', '.part', '.lock')
PATIENCE = 1800.0  # Seconds to wait for the shares of all processes.


class Mirror:
  """The mirror of a training run; every process of the run has one.

  Attributes:
    url: The URL of the workdir.
    directory: The directory of the mirror.
    shelf: The checkpoints at the URL.
  """

  def __init__(self, url: str):
    self.url = url.rstrip('/')
    self.shelf = remote_run.There(self.url)
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
    """Updates the mirror from the workdir, or the other way round.

    Checkpoints that a run could not upload before it ended are uploaded now.
    """
    there = remote.files(self.url)
    saved = remote_run.steps(there)
    known = max([self._last_put(), *saved])
    ahead = self._intact(after=known)
    for step in ahead:
      logging.info('Step %d had not been copied to %s.', step, self.url)
      self.publish(step)
    if ahead:
      return
    others = remote_run.without_checkpoints(there)
    remote.refresh(self.url, self.directory, others)
    self._pushed = self._marks()
    remote_run.forget(self.directory, saved)
    remote_run.fetch_newest(self.url, saved, self.directory)
    try:
      remote_run.fetch_best(self.url, self.directory)
    except DamagedError as error:  # It is not needed to resume.
      logging.warning('%s', error)
    self._remember(known)

  def push(self) -> None:
    """Uploads the files that have changed here, except checkpoints."""
    marks = self._marks()
    for name in marks:
      if self._pushed.get(name) != marks[name]:
        # Read in one go: a log may grow meanwhile.
        data = (self.directory / name).read_bytes()
        remote.write(data, remote.join(self.url, name))
        self._pushed[name] = marks[name]

  def publish(self, step: int) -> None:
    """Uploads a checkpoint, after what the run has logged until then.

    Raises:
      LostError: That failed; everything is in the mirror.
    """
    checkpoint, url = self._here(step), self._there(step)
    try:
      self.push()
      remote.remove([remote.join(url, checkpoint_files.SUMS)])
      listed = json.loads((checkpoint / checkpoint_files.SUMS).read_text())
      remote.upload(checkpoint, url, listed, last=checkpoint_files.SUMS)
      self._clean(step)
    except remote.LostError as error:
      raise remote.LostError(
        f'{error} The checkpoint of step {step} is whole in {checkpoint}; on'
        ' this machine the run goes on from it.'
      ) from error
    self._remember(step)

  def publish_share(self, step: int, partial: pathlib.Path) -> None:
    """Uploads this process's share of a checkpoint; process 0 completes it.

    Args:
      step: The step of the checkpoint.
      partial: The directory of the share; that of process 0 has `meta.json`.
    """
    url, me = self._there(step), jax.process_index()
    names = [
      f'share-{self._attempt:08x}-{process}.json'
      for process in range(jax.process_count())
    ]
    sums = checkpoint_files.sums(partial)
    if me == 0:
      remote.remove([remote.join(url, checkpoint_files.SUMS)])
    else:  # Process 0 also has the files of no array in particular.
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
    self._clean(step)

  def _clean(self, step: int) -> None:
    """Deletes incomplete earlier checkpoints that killed processes uploaded."""
    there = remote.files(self.url)
    begun = {
      int(name.split('/')[1])
      for name in there
      if re.match(rf'{CHECKPOINTS}\d+/', name)
    }
    for old in begun - {*remote_run.steps(there)}:
      if old < step:
        self.shelf.delete(old)

  def _last_put(self) -> int:
    """Returns the last step that is known to have been uploaded, else -1."""
    path = self.directory / LAST_PUT
    return int(path.read_text()) if path.exists() else -1

  def _remember(self, step: int) -> None:
    (self.directory / LAST_PUT).write_text(str(step))

  def _here(self, step: int) -> pathlib.Path:
    return self.directory / CHECKPOINTS / str(step)

  def _there(self, step: int) -> str:
    return remote.join(self.url, f'{CHECKPOINTS}{step}')

  def _intact(self, after: int) -> list[int]:
    """Returns the steps later than `after` with an intact checkpoint here."""
    here = checkpoint_files.steps(self.directory / CHECKPOINTS)
    return [
      step
      for step in here
      if step > after and remote_run.is_intact(self._here(step))
    ]

  def _marks(self) -> dict[str, tuple[int, int]]:
    """Returns the size and modification time of each file that is pushed."""
    marks = {}
    for path in sorted(self.directory.rglob('*')):
      name = path.relative_to(self.directory).as_posix()
      passing = name.startswith(CHECKPOINTS) or path.suffix in PASSING
      if path.is_file() and not (passing or name.startswith('.')):
        stat = path.stat()
        marks[name] = (stat.st_size, stat.st_mtime_ns)
    return marks


def _run(url: str) -> int:
  """Returns the id of the run of a workdir, which is created if missing."""
  place, number = remote.join(url, RUN), 0
  if hosts.is_first():
    try:
      number = json.loads(remote.read(place))['run']
    except remote.MissingError:
      number = secrets.randbits(31)
      remote.write(json.dumps({'run': number}).encode(), place)
  return hosts.of_first(number)


def _wait_for(url: str) -> bytes:
  """Returns what another process uploads to `url`, once it is there."""
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
