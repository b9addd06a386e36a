"""Programs of a cluster that are not here, and a job for them."""

import os
import pathlib
import stat
import subprocess
import sys

import pytest

from experiments.config_file import Asked
from experiments.launch.job import Job

ROOT = pathlib.Path(__file__).parents[3]
SHELLCHECK = pathlib.Path(sys.executable).with_name('shellcheck')


@pytest.fixture(autouse=True)
def here(monkeypatch):
  """Configs are named from where the project is."""
  monkeypatch.chdir(ROOT)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
  """A folder with the configs, in which manifests and logs may be left."""
  (tmp_path / 'here').mkdir()
  (tmp_path / 'here/configs').symlink_to(ROOT / 'configs')
  monkeypatch.chdir(tmp_path / 'here')


@pytest.fixture
def make_job(tmp_path):
  """Returns a job with the fields given, and what any job has."""

  def make(*, config='configs/gpt.py:debug', overrides=(), **fields):
    fields = {'workdir': str(tmp_path / 'run')} | fields
    return Job(Asked(config, dict(overrides)), **fields)

  return make


@pytest.fixture
def shellcheck():
  """Returns what says what shellcheck finds in a script."""

  def check(script, *more):
    # SC2016: what stands in single quotes was typed so, and stays so.
    argv = [SHELLCHECK, '--exclude=SC2016', *more, '-']
    done = subprocess.run(argv, input=script, capture_output=True, text=True)
    assert bool(done.stdout) == bool(done.returncode), done.stderr
    return done.stdout

  return check


@pytest.fixture
def programs(tmp_path, monkeypatch):
  """Returns what puts a stub on the PATH, where nothing else of a cluster is.

  Each call of a stub leaves its arguments, a word on each line, in a file.
  """
  folder = tmp_path / 'bin'
  folder.mkdir()
  # What scripts need, and no more: there may be a gcloud on this machine.
  for name in (
    'bash',
    'cat',
    'env',
    'hostname',
    'mkdir',
    'nohup',
    'sh',
    'sleep',
  ):
    (folder / name).symlink_to(
      next(
        p
        for d in os.environ['PATH'].split(':')
        if (p := pathlib.Path(d, name)).exists()
      )
    )
  monkeypatch.setenv('PATH', str(folder))

  def write(name, body='', language='bash'):
    calls = tmp_path / f'{name}.calls'
    path = folder / name
    lead = {
      'bash': f'#!/usr/bin/env bash\nprintf "%s\\n" "$@" >>{calls}\n',
      'python': f'#!{sys.executable}\n',
    }[language]
    path.write_text(f'{lead}{body}\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return calls

  return write
