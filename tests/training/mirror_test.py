"""A run whose workdir is elsewhere is the run that it would be here."""

import json
import pathlib
import shutil

import jax
import numpy as np
import pytest

import lm
from experiments import compare_curve, convert, evaluate, train
from lm.data import remote
from lm.training import (
  checkpoint_files,
  checkpoints,
  loop,
  run_log,
  workdir as workdirs,
)
from lm.types import UserError
from tests import tiny_run
from tests.training.loop_test import configure

URL = 'flaky://bucket/runs/mine'


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
  return tmp_path_factory.mktemp('cache')


@pytest.fixture(scope='module')
def whole(tmp_path_factory, cache):
  """A run of this machine that nothing has interrupted."""
  workdir = tmp_path_factory.mktemp('whole') / 'mine'
  loop.train(configure(cache, checkpoint__keep=2), workdir)
  return workdir


@pytest.fixture
def go(flaky, cache):
  """Trains at a URL, up to a step."""

  def go_on(num_steps=6, url=URL, **changes):
    settings = {'checkpoint__keep': 2, 'optimizer__decay_steps': 6} | changes
    settings.pop('optimizer__decay_steps')
    config = configure(cache, **settings) | {'num_steps': num_steps}
    with workdirs.opened(url) as (directory, mirror):
      workdirs.check(directory, config)
      return loop.train(config, directory, mirror)

  return go_on


def lines(workdir):
  rows = run_log.read(workdir / 'metrics.jsonl')
  return [
    {k: v for k, v in row.items() if k not in run_log.TIME_FIELDS}
    for row in rows
  ]


def state(workdir):
  return [
    checkpoints.restore_params(workdir / 'checkpoints', part=part)
    for part in ('params', 'opt_state')
  ]


def copy_of(flaky, path: pathlib.Path, url=URL) -> pathlib.Path:
  """All that lies there, as it lies there."""
  for name in remote.files(url):
    (path / name).parent.mkdir(parents=True, exist_ok=True)
    (path / name).write_bytes(remote.read(f'{url}/{name}'))
  return path


def assert_same(one, other):
  assert lines(one) == lines(other)
  jax.tree.map(np.testing.assert_array_equal, state(one), state(other))


def forget(tmp_path):
  shutil.rmtree(tmp_path / 'this_machine')


def test_a_run_elsewhere_leaves_there_what_it_would_leave_here(
  go, flaky, whole, tmp_path
):
  assert go()['loss'] == lines(whole)[-1]['loss']
  there = copy_of(flaky, tmp_path / 'there')
  assert_same(there, whole)
  names = lambda path: {
    p.relative_to(path).as_posix()
    for p in path.rglob('*')
    if p.is_file() and '/d/' not in str(p) and 'tfevents' not in p.name
  }
  assert names(there) - {'run.json'} == names(whole) - {'.lock'}
  assert (there / 'plots/loss.png').read_bytes()[:4] == b'\x89PNG'
  assert list((there / 'tensorboard').glob('*tfevents*'))


def test_a_run_goes_on_at_another_machine_bit_for_bit(
  go, flaky, whole, tmp_path
):
  go(num_steps=3)
  forget(tmp_path)
  go()
  assert_same(copy_of(flaky, tmp_path / 'there'), whole)
