"""The runs of a comparison, as commands that a user could type.

A finished run is never started again, and an interrupted one resumes; the same
holds for its scores.
"""

import contextlib
import json
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from signal import SIGTERM
from typing import Any, TextIO

from absl import logging

from lm.comparison.study import Score, Task, Variant
from lm.data import atomic
from lm.training import checkpoint_files
from lm.types import UserError

CACHE = 'JAX_COMPILATION_CACHE_DIR'
FAILED = 'failed.json'
STOPPED = 'stopped'
POLL = 0.5  # Seconds.
LAST_LINES = 15  # Log lines to keep of a command that failed.
BUSY = 'Another process trains in'  # One that outlived an earlier call.


@contextlib.contextmanager
def compiled_once() -> Iterator[None]:
  """A context in which commands reuse what earlier ones have compiled.

  Uses a temporary cache unless one is configured for JAX.
  """
  if os.environ.get(CACHE):
    yield
    return
  with tempfile.TemporaryDirectory() as directory:
    os.environ[CACHE] = directory
    try:
      yield
    finally:
      del os.environ[CACHE]


def train(
  variant: Variant, fields: Mapping[str, Any], workdir: pathlib.Path
) -> dict[str, Any] | None:
  """Trains a run; returns its last evaluation, or None if it failed.

  Args:
    variant: The variant to train.
    fields: Config fields in addition to the variant's own.
    workdir: The workdir of the run.
  """
  argv = [f'--config={variant.config}', f'--workdir={workdir}']
  argv += flags({**variant.overrides, **fields, 'log.boards': ()})
  return once(workdir / 'result.json', 'train', argv, workdir)


def score(asked: Score, data: pathlib.Path, workdir: pathlib.Path) -> None:
  """Scores a run and saves the result, including each answer.

  Args:
    asked: The score: of the last checkpoint, and of earlier ones for a curve.
    data: The folder of the data.
    workdir: The workdir of the run.
  """
  path = workdir / 'scores' / f'{asked.name}.json'
  path.parent.mkdir(exist_ok=True)
  argv = [
    f'--workdir={workdir}',
    f'--task={asked.task}',
    f'--limit={asked.limit}',
    f'--data={data / asked.data}',
  ]
  argv += [f'--form={asked.form}'] if asked.form else []
  answers = f'--answers={path.with_suffix(".jsonl")}'
  once(path, 'score', [*argv, answers], path.with_suffix(''))
  *earlier, _ = checkpoint_files.steps(workdir / 'checkpoints')
  for step in earlier if asked.curve else ():
    place = path.with_suffix('') / f'step-{step}'
    once(place / 'score.json', 'score', [*argv, f'--step={step}'], place)


def fine_tune(
  task: Task, workdir: pathlib.Path, seed: int
) -> dict[str, Any] | None:
  """Fine-tunes a run; returns its scores, or None if that failed.

  Args:
    task: The task to fine-tune for.
    workdir: The workdir of the run.
    seed: The seed of the fine-tuning.
  """
  target = workdir / 'tasks' / task.name
  fields = {**task.overrides, 'init_from': str(workdir), 'seed': seed}
  argv = [f'--config={task.config}', f'--workdir={target}', *flags(fields)]
  argv += ['--config.log.boards=()']
  return once(target / 'result.json', 'train', argv, target)


def output(name: str, argv: Sequence[str]) -> dict[str, Any]:
  """Returns the JSON that a command prints.

  Raises:
    UserError: The command failed; has its last line.
  """
  done = subprocess.run(
    [sys.executable, '-m', f'experiments.{name}', *argv],
    capture_output=True,
    text=True,
    check=False,
  )
  if done.returncode:
    lines = done.stderr.strip().splitlines()
    raise UserError('\n'.join(lines[-1:]) or f'{said(name, argv)} has failed.')
  return json.loads(done.stdout.splitlines()[-1])


def once(
  path: pathlib.Path,
  name: str,
  argv: Sequence[str],
  place: pathlib.Path,
  stop: Callable[[], bool] | None = None,
) -> dict[str, Any] | None:
  """Returns the JSON that a command prints, saved to `path`; None if it failed.

  Args:
    path: Where the JSON is saved; if it exists, the command is not run.
    name: The name of the command.
    argv: Its arguments.
    place: The folder for its log, and for a report if it fails.
    stop: Polled for whether to stop the command. If it stops, it has neither
      failed nor finished, and None is returned.
  """
  if path.exists():
    return json.loads(path.read_text())
  logging.info('%s', said(name, argv))
  place.mkdir(parents=True, exist_ok=True)
  with (place / 'log.txt').open('a') as log:
    status, printed = _run([*program(name), *argv], log, stop)
  if status == STOPPED:
    (place / FAILED).unlink(missing_ok=True)
    return None
  if status:
    lines = (place / 'log.txt').read_text(errors='replace').splitlines()
    if any(BUSY in line for line in lines[-LAST_LINES:]):
      raise UserError(f'{lines[-1]} Then start the same command again.')
    failure = {
      'command': said(name, argv),
      'status': status,
      'last_lines': lines[-LAST_LINES:],
    }
    (place / FAILED).write_text(json.dumps(failure, indent=2) + '\n')
    logging.error('It failed with status %d; see %s.', status, place)
    return None
  (place / FAILED).unlink(missing_ok=True)
  result = json.loads(printed.splitlines()[-1])
  with atomic.new_file(path) as part:
    part.write_text(json.dumps(result, indent=2) + '\n')
  return result


def program(name: str) -> list[str]:
  """Returns the words that run a command, without its arguments."""
  return [sys.executable, '-m', f'experiments.{name}']


def _run(
  command: Sequence[str], log: TextIO, stop: Callable[[], bool] | None
) -> tuple[int | str, str]:
  """Returns a command's status and output; it is terminated if we are."""
  pipe, stopped = subprocess.PIPE, False
  with subprocess.Popen(command, stdout=pipe, stderr=log, text=True) as child:
    try:
      while (printed := _printed(child, POLL if stop else None)) is None:
        if not stopped and stop():
          stopped = True
          child.terminate()  # Once: a second signal would not let it save.
    except BaseException:  # Whatever stops us: a run saves, to resume later.
      child.terminate()
      child.wait()
      raise
  stopped = stopped and child.returncode in (-SIGTERM, 128 + SIGTERM)
  return STOPPED if stopped else child.returncode, printed


def _printed(child: subprocess.Popen, seconds: float | None) -> str | None:
  """Returns the output of a command; None if it does not end in that time."""
  with contextlib.suppress(subprocess.TimeoutExpired):
    return child.communicate(timeout=seconds)[0]
  return None


def said(name: str, argv: Sequence[str]) -> str:
  """Returns a command as a user would type it."""
  return shlex.join(['python', '-m', f'experiments.{name}', *argv])


def flags(fields: Mapping[str, Any]) -> list[str]:
  """Returns the fields of a config as flags."""
  return [f'--config.{key}={written(value)}' for key, value in fields.items()]


def written(value: Any) -> str:
  """Returns a value as written in a flag.

  >>> [written(value) for value in ((1, 2), None, True, 'a')]
  ['(1, 2)', 'none', 'true', 'a']
  """
  if value is None or isinstance(value, bool):
    return str(value).lower()
  return str(value)
