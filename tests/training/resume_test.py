"""A run that is killed ends as one that is not, bit for bit."""

import functools
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from lm.training import checkpoint_files, checkpoints, run_log

ROOT = pathlib.Path(__file__).parents[2]
NUM_STEPS = 90
# Dropout, accumulation, an average, and an epoch of about 20 steps.
COMMAND = [
  sys.executable,
  '-m',
  'experiments.train',
  f'--config.num_steps={NUM_STEPS}',
  '--config.batch_size=16',
  '--config.microbatches=2',
  '--config.model.num_layers=2',
  '--config.model.num_heads=2',
  '--config.model.head_dim=16',
  '--config.model.embed_dim=32',
  '--config.model.mlp_dim=64',
  '--config.model.embedding_dropout=0.1',
  '--config.model.attention_dropout=0.1',
  '--config.model.residual_dropout=0.1',
  '--config.ema_decay=0.9',
  '--config.eval.every=30',
  '--config.checkpoint.every=3',
  '--config.checkpoint.keep=100',
  '--config.log.every=1',
  '--config.log.boards=()',
]

FAMILIES = {
  'gpt': ['--config=configs/gpt.py:debug', '--config.data.packing=documents'],
  # Masks and foreign sentences are drawn anew for each example.
  'bert': ['--config=configs/bert.py:debug', '--config.data.length=64'],
  # Which text an example is of is counted from its number.
  't5': [
    '--config=configs/t5.py:debug',
    '--config.data.length=32',
    '--config.data.source=mixture',
    '--config.data.mixture=stdlib@0.7,dialogues@0.3',
    '--config.data.validation=0.2',
    '--config.data.vocab_size=1500',
  ],
}
KILLS = {'gpt': 12, 'bert': 6, 't5': 6}


def start(workdir, cache, *more, family='gpt', devices=1):
  environment = os.environ | {
    'JAX_PLATFORMS': 'cpu',
    'JAX_NUM_CPU_DEVICES': str(devices),
    'LM_CACHE': str(cache),
  }
  return subprocess.Popen(
    [*COMMAND, *FAMILIES[family], f'--workdir={workdir}', *more],
    cwd=ROOT,
    env=environment,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
  )


def finish(workdir, cache, *more, **options):
  process = start(workdir, cache, *more, **options)
  _, errors = process.communicate(timeout=300)
  assert process.returncode == 0, errors


def lines(workdir):
  rows = run_log.read(workdir / 'metrics.jsonl')
  untimed = lambda row: {
    k: v for k, v in row.items() if k not in run_log.TIME_FIELDS
  }
  return list(map(untimed, rows))


def state(workdir):
  return {
    part: checkpoints.restore_params(workdir / 'checkpoints', part=part)
    for part in ('params', 'opt_state', 'ema')
  }


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
  return tmp_path_factory.mktemp('cache')


@pytest.fixture(scope='module')
def whole_of(tmp_path_factory, cache):
  """Returns the workdir of a family's run that nothing has interrupted."""

  @functools.cache
  def train(family):
    workdir = tmp_path_factory.mktemp(family)
    finish(workdir, cache, family=family)
    return workdir

  return train


@pytest.fixture
def whole(whole_of):
  return whole_of('gpt')


def wait_until(condition, process, seconds=120):
  end = time.monotonic() + seconds
  while process.poll() is None and time.monotonic() < end:
    if condition():
      return
    time.sleep(0.002)


def num_lines(workdir):
  path = workdir / 'metrics.jsonl'
  return path.read_bytes().count(b'\n') if path.exists() else 0


def wait_for_lines(workdir, number, process):
  wait_until(lambda: num_lines(workdir) >= number, process)


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize('family', FAMILIES)
def test_a_run_killed_at_random_moments_ends_with_the_same_bits(
  family, whole_of, cache, tmp_path
):
  whole = whole_of(family)
  seed = int.from_bytes(os.urandom(4), 'big')
  print(f'Kills were drawn with seed {seed}.')
  draw = random.Random(seed)
  kills, saves = 0, 0
  for attempt in range(KILLS[family]):
    before = num_lines(tmp_path)
    process = start(tmp_path, cache, family=family)
    wait_for_lines(tmp_path, before + draw.randint(1, 5), process)
    if attempt % 2:  # In the middle of a save.
      partial = lambda: any((tmp_path / 'checkpoints').glob('*.partial'))
      wait_until(partial, process)
      saves += partial()
    time.sleep(draw.uniform(0, 0.02))
    kills += process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
  assert kills >= KILLS[family] - 2 and saves >= KILLS[family] // 4
  finish(tmp_path, cache, family=family)
  assert lines(tmp_path) == lines(whole)
  jax.tree.map(np.testing.assert_array_equal, state(tmp_path), state(whole))


# From one device to more; and from eight, with each array in parts, to fewer.
DIVIDED = ['--config.model.vocab_multiple=2', '--config.parallel.data=1']
DIVIDED += ['--config.parallel.fsdp=4', '--config.parallel.tensor=2']
BECOMES = [
  (1, 2, []),
  (1, 8, []),
  (8, 4, [DIVIDED[0], '--config.parallel.tensor=2']),
  (8, 1, DIVIDED[:1]),
]


@pytest.fixture(scope='module')
def origin_of(tmp_path_factory, cache, whole_of):
  """Returns the workdir of a run on so many devices."""

  @functools.cache
  def train(devices):
    if devices == 1:
      return whole_of('gpt')
    workdir = tmp_path_factory.mktemp('divided')
    finish(workdir, cache, *DIVIDED, devices=devices)
    return workdir

  return train


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize('before, devices, more', BECOMES)
def test_a_run_goes_on_with_other_devices(
  before, devices, more, origin_of, cache, tmp_path
):
  whole, workdir = origin_of(before), tmp_path / 'run'
  shutil.copytree(whole, workdir)
  for step in checkpoint_files.steps(workdir / 'checkpoints'):
    if step > 30:
      shutil.rmtree(workdir / 'checkpoints' / str(step))
  finish(workdir, cache, *more, devices=devices)
  ours, theirs = (
    [row['loss'] for row in lines(d) if row['step'] > 30]
    for d in (workdir, whole)
  )
  assert len(ours) == len(theirs) > 30
  np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.processes
@pytest.mark.slow
def test_a_signal_finishes_the_step_saves_and_says_so(cache, tmp_path):
  process = start(tmp_path, cache)
  wait_for_lines(tmp_path, 1, process)
  process.send_signal(signal.SIGTERM)
  _, errors = process.communicate(timeout=120)
  assert process.returncode == 128 + signal.SIGTERM, errors
  step = checkpoint_files.steps(tmp_path / 'checkpoints')[-1]
  assert f'Stopped at step {step}, which is saved.' in errors
  assert lines(tmp_path)[-1]['step'] == step


@pytest.mark.processes
def test_a_run_with_another_config_stops_and_shows_the_difference(whole, cache):
  before = (whole / 'metrics.jsonl').read_bytes()
  process = start(whole, cache, '--config.optimizer.b2=0.9')
  _, errors = process.communicate(timeout=120)
  assert process.returncode == 2
  assert 'optimizer.b2: 0.99 -> 0.9' in errors
  assert '--allow_change=optimizer.b2' in errors
  assert 'Traceback' not in errors
  assert (whole / 'metrics.jsonl').read_bytes() == before
