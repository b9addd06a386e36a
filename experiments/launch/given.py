"""A note in a workdir of the job that it was given to.

Two jobs in one workdir would overwrite each other. Where both run on one
machine its lock tells; elsewhere this note does.
"""

import contextlib
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lm.data import atomic, remote
from lm.training import workdir as workdirs
from lm.types import UserError

NAME = 'launch/job.json'
IsAlive = Callable[[Mapping[str, Any]], bool]


@contextlib.contextmanager
def alone(
  workdir: str, is_alive: Mapping[str, IsAlive]
) -> Iterator[Callable[[Mapping[str, Any]], None]]:
  """Yields what writes the note, if no other job has the workdir.

  Args:
    workdir: A directory or a URL.
    is_alive: By platform, what says whether a job is still there.

  Raises:
    UserError: Another job has it, or it is not known.
  """
  # If that job trains on this machine, this says more than its lock would.
  check(workdir, is_alive)
  with contextlib.ExitStack() as stack:
    if not remote.is_url(workdir):
      place = pathlib.Path(workdir).absolute()
      # At once: nobody trains there now, and nobody else launches now, who may
      # have written a note since.
      stack.enter_context(workdirs.held(place))
    check(workdir, is_alive)
    yield lambda told: write(workdir, told)


def check(workdir: str, is_alive: Mapping[str, IsAlive]) -> None:
  """Raises UserError if a job has the workdir; see `alone`."""
  told = read(workdir)
  if told is None:
    return
  where = f'--to={told["to"]} as job {told["id"]}'
  try:
    alive = is_alive[told['to']](told)
  except UserError as error:
    raise UserError(
      f'{workdir} was given to {where}, and whether that is still there cannot'
      f' be found out: {error} If it has ended, remove {workdir}/{NAME}.'
    ) from error
  if alive:
    raise UserError(
      f'{workdir} was given to {where}, which is still there. Wait until it has'
      ' ended, end it, or give another --workdir.'
    )


def read(workdir: str) -> dict[str, Any] | None:
  """Returns the note; None: there is none."""
  if remote.is_url(workdir):
    try:
      return json.loads(remote.read(remote.join(workdir, NAME)))
    except remote.MissingError:
      return None
  path = pathlib.Path(workdir) / NAME
  return json.loads(path.read_text()) if path.exists() else None


def write(workdir: str, told: Mapping[str, Any]) -> None:
  """Writes the note.

  Args:
    workdir: A directory or a URL.
    told: `to`, the platform; `id`, of the job; and what else finds it.
  """
  text = json.dumps(told, indent=2) + '\n'
  if remote.is_url(workdir):
    remote.write(text.encode(), remote.join(workdir, NAME))
    return
  with atomic.new_file(pathlib.Path(workdir) / NAME) as part:
    part.write_text(text)
