"""What a run writes besides checkpoints, and the checks before it resumes."""

import contextlib
import importlib.metadata
import json
import pathlib
import platform
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import jax
from absl import logging

from lm.data import atomic, remote, tokenizers
from lm.data.tokenizers import Tokenizer
from lm.parallel import hosts
from lm.tasks.labelled import Labelled
from lm.training import run_config
from lm.training.assembly import Parts
from lm.training.mirror import Mirror
from lm.types import UserError

# What may differ when a run resumes: it changes how long the run is (and a
# schedule that depends on that), what it reports and where it runs.
MAY_CHANGE = (
  'num_steps',
  'log',
  'eval',
  'checkpoint',
  'parallel',
  'hosts',
  'data.cache',
  'data.workers',
)
TAKEN = ('model.vocab_size', 'model.heads', 'model.num_labels', 'task.labels')
PACKAGES = (
  'jax',
  'jaxlib',
  'flax',
  'optax',
  'orbax-checkpoint',
  'tokenizers',
  'numpy',
)


def check(
  workdir: pathlib.Path, config: Mapping[str, Any], allow: Collection[str] = ()
) -> None:
  """Raises UserError if `workdir` holds a run with another config.

  Args:
    workdir: The workdir of the run.
    config: The resolved config that is requested now.
    allow: Keys, or sections, that may differ besides `MAY_CHANGE`.
  """
  path = workdir / 'config.json'
  if not path.exists():
    return
  differences = run_config.difference(run_config.read(path), config)
  if 'num_steps' in differences:
    logging.warning(
      'config.num_steps was %s and is %s now: a learning rate that decays over the'
      ' run is another one from here on.',
      *differences['num_steps'],
    )
  changes = {
    key: values
    for key, values in differences.items()
    if not any(f'{key}.'.startswith(f'{may}.') for may in (*MAY_CHANGE, *allow))
    # Not set, so taken from tokenizer and objective, as it was then.
    and not (key in TAKEN and values[1] is None)
    # A task sets it, whatever the config says.
    and not (key == 'model.num_labels' and config['task']['name'])
  }
  if changes:
    lines = [f'  {key}: {old} -> {new}' for key, (old, new) in changes.items()]
    raise UserError(
      f'{workdir} holds a run with another config:\n'
      + '\n'.join(lines)
      + '\nGive another --workdir, undo the change, or allow it with'
      f' --allow_change={next(iter(changes))}.'
    )


@contextlib.contextmanager
def opened(workdir: str) -> Iterator[tuple[pathlib.Path, Mirror | None]]:
  """Yields the directory to train in and, for a URL, the mirror that it is.

  Raises:
    UserError: The URL cannot be reached, or its mirror is in use.
  """
  if not remote.is_url(workdir):
    yield pathlib.Path(workdir).absolute(), None
    return
  mirror = Mirror(workdir)
  with locked(mirror.directory.parent):
    mirror.pull()
    logging.info('The mirror of %s is %s.', workdir, mirror.directory)
    try:
      yield mirror.directory, mirror
    finally:
      # A connection lost now is still lost, and was already retried.
      lost = isinstance(sys.exception(), remote.LostError)
      if hosts.is_first() and not lost:
        mirror.push()


@contextlib.contextmanager
def locked(workdir: pathlib.Path) -> Iterator[None]:
  """Locks the run in `workdir`, so that it is not trained twice at once.

  Raises:
    UserError: Another process holds the lock.
  """
  if jax.process_index() > 0:  # One process of a run is enough.
    yield
    return
  with held(workdir):
    yield


@contextlib.contextmanager
def held(workdir: pathlib.Path, wait: bool = False) -> Iterator[None]:
  """Like `locked`, for callers that do not use JAX and leave its devices alone.

  The system releases the lock when the process ends, however it ends.

  Args:
    workdir: The directory to lock.
    wait: Whether to wait for the lock instead of raising.
  """
  workdir.mkdir(parents=True, exist_ok=True)
  with (workdir / '.lock').open('w') as file:
    try:
      atomic.lock(file, wait)
    except BlockingIOError as error:
      raise UserError(
        f'Another process trains in {workdir} at this moment. Wait until it'
        ' has ended, or give another --workdir.'
      ) from error
    yield


def check_tokenizer(workdir: pathlib.Path, tokenizer: Tokenizer) -> None:
  """Raises UserError if the run in `workdir` has another tokenizer.

  The same config learns another tokenizer from a text that has changed, and
  then the same ids mean something else.
  """
  saved = workdir / 'tokenizer'
  if not saved.exists():
    return
  if tokenizers.load(saved).fingerprint() != tokenizer.fingerprint():
    raise UserError(
      f'The text has changed since {workdir} was begun: another tokenizer was'
      ' learned from it. Restore the text, give another --workdir, or keep the'
      f' tokenizer with --config.data.tokenizer={saved} (and'
      ' --allow_change=data).'
    )


def record(
  workdir: pathlib.Path, config: Mapping[str, Any], parts: Parts, start: int
) -> None:
  """Writes what a reader of the run needs: config, tokenizer, environment.

  Those of a finished run are kept as they are.

  Args:
    workdir: The workdir of the run.
    config: With every field of `SECTIONS`.
    parts: The parts of the run.
    start: The step that it resumes from.
  """
  if jax.process_index() > 0 or start >= parts.run.num_steps:
    return
  notes: Mapping[str, str] = {}
  taken = {
    'vocab_size': parts.model.config.vocab_size,
    'heads': parts.model.heads,
  }
  if isinstance(parts.dataset, Labelled):
    task = parts.dataset.task
    taken['num_labels'] = task.num_labels
    notes = task.notes
    config = {**config, 'task': {**config['task'], **task.taken}}
  config = {**config, 'model': {**config['model'], **taken}}
  workdir.mkdir(parents=True, exist_ok=True)
  run_config.write(config, workdir / 'config.json')
  parts.dataset.tokenizer.save(workdir / 'tokenizer')
  environment = describe_environment() | {
    'config_sha256': run_config.sha256(config),
    **notes,
  }
  path = workdir / 'environment.json'
  path.write_text(json.dumps(environment, indent=2) + '\n')


def describe_environment() -> dict[str, Any]:
  """Returns what results depend on besides the config."""
  return {
    'git_sha': _git_sha(),
    'python': platform.python_version(),
    'versions': {
      package: importlib.metadata.version(package) for package in PACKAGES
    },
    'platform': platform.platform(),
    'devices': [device.device_kind for device in jax.devices()],
    'processes': jax.process_count(),
  }


def _git_sha() -> str | None:
  """Returns the commit of this code, marked if dirty; None outside git."""
  command = ['git', 'describe', '--always', '--abbrev=40', '--dirty']
  here = pathlib.Path(__file__).parent
  try:
    done = subprocess.run(
      command, cwd=here, capture_output=True, text=True, check=True
    )
  except (OSError, subprocess.CalledProcessError):
    return None
  return done.stdout.strip()
