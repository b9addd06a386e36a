"""What a platform is given: files that are written, commands that are called."""

import os
import pathlib
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from typing import NamedTuple

from lm.data import atomic
from lm.types import UserError


class Command(NamedTuple):
  """What is called, and what its environment has beside ours."""

  argv: tuple[str, ...]
  env: Mapping[str, str] = {}


class Rendered(NamedTuple):
  """All that starting a job is.

  Attributes:
    files: What is written before anything is called.
    commands: What is called: one after another, on this machine all at once.
    folders: What has to be there as well.
  """

  files: Mapping[pathlib.Path, str]
  commands: tuple[Command, ...]
  folders: tuple[pathlib.Path, ...] = ()


def told(command: Command) -> str:
  """Returns a command as one would type it.

  >>> told(Command(('python', '-c', 'print(1)'), {'A': 'b c'}))
  "A='b c' python -c 'print(1)'"
  """
  env = [f'{key}={shlex.quote(value)}' for key, value in command.env.items()]
  return ' '.join([*env, shlex.join(command.argv)])


def shown(rendered: Rendered) -> str:
  """Returns all of it, for a reader."""
  parts = [f'# {path}\n{text}' for path, text in rendered.files.items()]
  return '\n'.join([*parts, *map(told, rendered.commands)])


def check_program(program: str, platform: str) -> None:
  """Raises UserError if what starts jobs on a platform is not here."""
  if shutil.which(program) is None:
    raise UserError(
      f'{program}, which --to={platform} needs, is not installed here. Run this'
      ' on a machine that has it, or add --dry_run.'
    )


def write(rendered: Rendered) -> None:
  """Writes the files."""
  for folder in rendered.folders:
    folder.mkdir(parents=True, exist_ok=True)
  for path, text in rendered.files.items():
    with atomic.new_file(path) as part:
      part.write_text(text)


def submit(rendered: Rendered) -> str:
  """Writes and calls all of it, and returns what the last command printed.

  Raises:
    UserError: A command has failed, and says why.
  """
  write(rendered)
  printed = ''
  for command in rendered.commands:
    printed = call(command)
  return printed


def call(command: Command) -> str:
  """Returns what a command prints, which must not fail."""
  done = subprocess.run(
    command.argv,
    env=os.environ | command.env,
    stdin=subprocess.DEVNULL,  # Nobody would see what it asks.
    capture_output=True,
    text=True,
    check=False,
  )
  if done.returncode:
    raise UserError(
      f'{told(command)}\nhas failed with status {done.returncode}:'
      f' {done.stderr.strip() or done.stdout.strip()}'
    )
  return done.stdout
