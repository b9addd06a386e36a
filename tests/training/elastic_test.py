"""A run goes on in another layout than that in which it was saved."""

import shutil

import numpy as np
import pytest

from experiments import config_file
from lm.training import checkpoint_files, loop, run_log
from lm.training.sections import SECTIONS
from tests.training.loop_test import CONFIG, TINY

LAYOUTS = {
  'data 8': {},
  'fsdp 4 x tensor 2': {'data': 1, 'fsdp': 4, 'tensor': 2},
  'data 2 x sequence 4': {'data': 2, 'sequence': 4},
  'pmap': {'kind': 'pmap'},
}


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
  return tmp_path_factory.mktemp('cache')


def train(workdir, cache, layout):
  parallel = {f'parallel.{key}': size for key, size in LAYOUTS[layout].items()}
  named = {
    'data.cache': str(cache),
    'model.vocab_multiple': 2,
    'model.scale_residual_init': True,
    'log.boards': (),
  }
  config = config_file.load(CONFIG, TINY | named | parallel, SECTIONS)
  loop.train(config.to_dict(), workdir)


def losses(workdir):
  rows = run_log.read(workdir / 'metrics.jsonl')
  return {(row['split'], row['step']): row['loss'] for row in rows}


@pytest.mark.parametrize(
  'before, after',
  [
    ('fsdp 4 x tensor 2', 'data 8'),
    ('data 8', 'fsdp 4 x tensor 2'),
    ('fsdp 4 x tensor 2', 'data 2 x sequence 4'),
    ('fsdp 4 x tensor 2', 'pmap'),
  ],
)
def test_a_run_goes_on_in_another_layout(before, after, cache, tmp_path):
  whole, run = tmp_path / 'whole', tmp_path / 'run'
  train(whole, cache, before)
  shutil.copytree(whole, run)
  shutil.rmtree(run / 'checkpoints' / '6')
  train(run, cache, after)
  assert checkpoint_files.steps(run / 'checkpoints') == [3, 6]
  expected, got = losses(whole), losses(run)
  assert got.keys() == expected.keys() and ('eval', 6) in got
  for key, loss in expected.items():
    np.testing.assert_allclose(got[key], loss, rtol=1e-5, err_msg=str(key))
