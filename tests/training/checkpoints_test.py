"""Checkpoints come back bit for bit, or are refused."""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from absl import logging
from jax.sharding import (
  AxisType,
  NamedSharding,
  PartitionSpec as P,
  SingleDeviceSharding,
)

from lm.training import checkpoint_files, checkpoints
from lm.types import PyTree, UserError

FIXTURE = pathlib.Path(__file__).parents[1] / 'fixtures/checkpoint_v1'
ONE_DEVICE = SingleDeviceSharding(jax.devices()[0])


class State(NamedTuple):
  """As lm.training.step.TrainState."""

  step: jax.Array
  params: PyTree
  opt_state: PyTree
  ema: PyTree


def state_at(step: int, rows: int = 16, ema: bool = False) -> State:
  """A state whose every number tells its step."""
  count = jnp.arange(rows * 4.0).reshape(rows, 4) + step
  half = jnp.full(3, step, jnp.bfloat16)
  params = {'decoder': {'up': {'kernel': count, 'bias': half}}}
  tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3))
  opt_state = tx.init(params)
  opt_state = jax.tree.map(lambda x: x + jnp.asarray(step, x.dtype), opt_state)
  return State(jnp.int32(step), params, opt_state, params if ema else None)


def abstract(state: PyTree, sharding=ONE_DEVICE) -> PyTree:
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), state
  )


def assert_same(actual: PyTree, expected: PyTree) -> None:
  assert jax.tree.structure(actual) == jax.tree.structure(expected)
  for one, other in zip(jax.tree.leaves(actual), jax.tree.leaves(expected)):
    assert one.dtype == other.dtype
    assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


@pytest.fixture
def open_checkpoints(tmp_path):
  """Opens checkpoints with the settings that a test does not care for."""
  opened = []

  def begin(directory=tmp_path, **settings):
    defaults = {
      'every': 1,
      'minutes': 0.0,
      'keep': 3,
      'best': '',
      'log_spaced': False,
    }
    opened.append(checkpoints.Checkpoints(directory, **defaults | settings))
    return opened[-1]

  yield begin
  for one in opened:
    one.close()


def save(target, *steps, metrics=None, rows=16):
  for step in steps:
    metadata = {'examples': step * 8}
    target.save(step, state_at(step, rows), metadata, metrics)
  target.wait()


def test_a_state_comes_back_bit_for_bit_with_its_metadata(open_checkpoints):
  target = open_checkpoints()
  state = state_at(7, ema=True)
  target.save(7, state, {'examples': 56, 'config': {'seed': 0}}, {'loss': 2.5})
  restored, meta = target.restore(abstract(state))
  assert_same(restored, state)
  assert meta['step'] == 7
  assert meta['metrics'] == {'loss': 2.5}
  assert meta['metadata'] == {'examples': 56, 'config': {'seed': 0}}


def test_without_a_checkpoint_there_is_nothing_to_restore(open_checkpoints):
  target = open_checkpoints()
  assert target.restore(abstract(state_at(0))) is None


@pytest.mark.parametrize('devices', [1, 2, 4, 8])
def test_a_state_is_restored_on_any_number_of_devices(
  tmp_path, open_checkpoints, devices
):
  def shard(shape, names):
    mesh = jax.make_mesh(shape, names, axis_types=(AxisType.Auto,) * 2)
    return lambda x: NamedSharding(mesh, P(*names) if x.ndim == 2 else P())

  state = state_at(3)
  spread = shard((4, 2), ('fsdp', 'tensor'))
  target = open_checkpoints()
  target.save(
    3,
    jax.tree.map(lambda x: jax.device_put(x, spread(x)), state),
    {'examples': 24},
  )
  target.wait()
  other = shard((devices, 1), ('data', 'tensor'))
  wanted = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=other(x)), state
  )
  restored, _ = checkpoints.restore(tmp_path, wanted)
  assert_same(restored, state)
  kernel = restored.params['decoder']['up']['kernel']
  assert len(kernel.sharding.device_set) == devices
  assert kernel.sharding.spec == P('data', 'tensor')


def test_what_is_donated_at_once_is_saved_as_it_was(open_checkpoints):
  target = open_checkpoints()
  add = jax.jit(
    lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0
  )
  state = add(state_at(0, rows=200_000))
  expected = jax.tree.map(np.array, state)
  target.save(1, state, {'examples': 8})
  for _ in range(3):
    state = add(state)
  restored, _ = target.restore(abstract(expected))
  assert_same(restored, expected)


def test_a_save_takes_little_of_the_training_time(open_checkpoints):
  target = open_checkpoints()
  state = state_at(0, rows=2_000_000)  # 96 MB with Adam's moments.
  save(target, 0)
  start = time.perf_counter()
  target.save(1, state, {'examples': 8})
  blocked = time.perf_counter() - start
  target.wait()
  whole = time.perf_counter() - start
  assert blocked < whole / 2, (blocked, whole)


def flip_a_bit(checkpoint):
  path = max(checkpoint.rglob('d/*'), key=lambda path: path.stat().st_size)
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 1
  path.write_bytes(data)


def cut_short(checkpoint):
  path = max(checkpoint.rglob('d/*'), key=lambda path: path.stat().st_size)
  os.truncate(path, path.stat().st_size // 2)


DAMAGE = {
  'a flipped bit': (flip_a_bit, 'does not have its SHA-256'),
  'a short file': (cut_short, 'does not have its SHA-256'),
  'no sums': (lambda c: (c / 'sums.json').unlink(), 'sums.json is missing'),
  'half of the sums': (
    lambda c: os.truncate(c / 'sums.json', 90),
    'cannot be read',
  ),
  'empty sums': (
    lambda c: (c / 'sums.json').write_text('{}'),
    'does not list meta.json',
  ),
  'no meta.json': (
    lambda c: (c / 'meta.json').unlink(),
    'meta.json is missing',
  ),
  'no arrays': (lambda c: shutil.rmtree(c / 'state'), 'is missing'),
}


@pytest.mark.parametrize('damage', DAMAGE)
def test_a_damaged_checkpoint_is_refused_and_the_one_before_used(
  tmp_path, open_checkpoints, caplog, monkeypatch, damage
):
  target = open_checkpoints()
  save(target, 1, 2)
  inflict, reason = DAMAGE[damage]
  inflict(tmp_path / '2')
  monkeypatch.setattr(logging.get_absl_logger(), 'propagate', True)
  restored, meta = target.restore(abstract(state_at(1)))
  assert_same(restored, state_at(1))
  assert meta['step'] == 1
  assert 'Skipped the damaged checkpoint of step 2' in caplog.text
  assert reason in caplog.text
  with pytest.raises(UserError, match=reason):
    target.restore(abstract(state_at(1)), step=2)


def test_damage_to_all_checkpoints_is_an_error(tmp_path, open_checkpoints):
  target = open_checkpoints()
  save(target, 1)
  flip_a_bit(tmp_path / '1')
  with pytest.raises(UserError, match=r'Every checkpoint .* \(steps \[1\]\)'):
    target.restore(abstract(state_at(1)))


def test_a_run_past_a_damaged_checkpoint_replaces_it(
  tmp_path, open_checkpoints
):
  target = open_checkpoints(keep=1)
  save(target, 10)
  shutil.copytree(tmp_path / '10', tmp_path / '20')
  flip_a_bit(tmp_path / '20')
  target.restore(abstract(state_at(0)))
  save(target, 15)
  assert checkpoint_files.steps(tmp_path) == [15, 20]
  save(target, 20)
  assert checkpoint_files.steps(tmp_path) == [20]
  restored, _ = target.restore(abstract(state_at(0)))
  assert_same(restored, state_at(20))


def test_a_step_that_is_not_there_is_an_error(open_checkpoints):
  target = open_checkpoints()
  save(target, 1, 2)
  with pytest.raises(UserError, match=r'has steps \[1, 2\], but not step 3'):
    target.restore(abstract(state_at(1)), step=3)


def test_a_later_format_is_an_error(tmp_path, open_checkpoints, monkeypatch):
  target = open_checkpoints()
  save(target, 1)
  monkeypatch.setattr(checkpoint_files, 'FORMAT_VERSION', 2)
  save(target, 2)
  monkeypatch.setattr(checkpoint_files, 'FORMAT_VERSION', 1)
  with pytest.raises(UserError, match=r'format version 2, but .* up to 1'):
    target.restore(abstract(state_at(1)))


def test_an_old_checkpoint_is_restored():
  # Made by `make` at the end of this file, with format version 1.
  restored, meta = checkpoints.restore(FIXTURE, abstract(state_at(0, ema=True)))
  assert_same(restored, state_at(5, ema=True))
  assert meta['step'] == 5
  assert meta['metadata'] == {'examples': 40, 'note': 'old'}


def test_parameters_are_restored_alone(tmp_path, open_checkpoints):
  target = open_checkpoints()
  save(target, 1, 2)
  params, meta = checkpoints.restore_params(tmp_path)
  assert_same(params, state_at(2).params)
  assert meta['metadata'] == {'examples': 16}
  params, _ = checkpoints.restore_params(tmp_path, step=1)
  assert_same(params, state_at(1).params)
  with pytest.raises(UserError, match=r"no 'ema', but \['opt_state', 'par"):
    checkpoints.restore_params(tmp_path, part='ema')
  average, _ = checkpoints.restore_params(FIXTURE, part='ema')
  assert_same(average, state_at(5).params)
  with pytest.raises(UserError, match='has no checkpoint'):
    checkpoints.restore_params(tmp_path / 'elsewhere')


def test_a_state_of_another_form_is_refused_with_all_differences(
  open_checkpoints,
):
  target = open_checkpoints()
  save(target, 1)
  other = state_at(1)
  up = other.params['decoder']['up']
  up['kernel'] = jnp.zeros((16, 5))
  up['scale'] = up.pop('bias').astype(jnp.float32)
  with pytest.raises(UserError) as error:
    target.restore(abstract(other))
  assert str(error.value).splitlines()[1:-1] == [
    '  + params/decoder/up/bias: bfloat16 [3] is left over',
    '  ! params/decoder/up/kernel: float32 [16, 4] there, float32 [16, 5] here',
    '  - params/decoder/up/scale: float32 [3] is missing there',
  ]


@pytest.mark.parametrize(
  'steps, best, keep, log_spaced, expected',
  [
    ([], None, 1, False, set()),
    ([10, 20, 30, 40], None, 2, False, {30, 40}),
    ([10, 20, 30, 40], None, 9, False, {10, 20, 30, 40}),
    ([10, 20, 30, 40], 20, 1, False, {20, 40}),
    ([10, 20, 30], 10, 1, False, {10, 30}),
    ([1, 2, 3, 4, 6, 8, 9], None, 2, True, {1, 2, 4, 8, 9}),
    ([0, 1, 5, 6], 5, 1, True, {1, 5, 6}),
  ],
)
def test_the_last_the_best_and_the_powers_of_two_stay(
  steps, best, keep, log_spaced, expected
):
  assert checkpoints.kept(steps, best, keep, log_spaced) == expected


@pytest.mark.parametrize(
  'metric, scores, expected',
  [
    ('loss', {}, None),
    ('loss', {10: 2.0, 20: 1.5, 30: 1.9}, 20),
    ('loss', {10: 2.0, 20: 2.0}, 10),
    ('loss', {10: float('nan'), 20: 2.0, 30: -float('inf')}, 20),
    ('f1', {10: 0.5, 20: 0.7, 30: 0.7}, 20),
    ('bleu', {}, None),
  ],
)
def test_the_best_is_the_first_of_those_as_good(
  metric, scores, expected, tmp_path
):
  for step in (10, 20, 30):
    known = {metric: scores[step]} if step in scores else {'other': 1.0}
    (tmp_path / str(step)).mkdir()
    checkpoint_files.write_meta(tmp_path / str(step), {'metrics': known})
  shelf = checkpoint_files.Here(tmp_path)
  assert checkpoint_files.best_step(shelf, metric) == expected


def test_the_best_by_a_metric_outlives_the_last(tmp_path, open_checkpoints):
  target = open_checkpoints(keep=1, best='loss')
  for step, loss in enumerate([3.0, 1.0, float('nan'), 2.0, None]):
    metrics = None if loss is None else {'loss': loss}
    save(target, step, metrics=metrics)
  assert checkpoint_files.steps(tmp_path) == [1, 4]
  with pytest.raises(UserError, match=r"no 'loss' .* one of \['lose'\]"):
    save(target, 5, metrics={'lose': 1.0})


@pytest.mark.parametrize(
  'settings, expected',
  [
    ({'every': 4}, [4, 8, 12]),
    ({'every': 0}, []),
    ({'every': 0, 'log_spaced': True}, [1, 2, 4, 8]),
    ({'every': 6, 'log_spaced': True}, [1, 2, 4, 6, 8, 12]),
    ({'every': 0, 'minutes': 1e-9}, list(range(1, 13))),
    ({'every': 0, 'minutes': 60.0}, []),
  ],
)
def test_checkpoints_are_due_by_number_time_and_powers_of_two(
  open_checkpoints, settings, expected
):
  target = open_checkpoints(**settings)
  assert [step for step in range(1, 13) if target.due(step)] == expected


def test_the_same_step_is_saved_once(tmp_path, open_checkpoints):
  save(open_checkpoints(), 4)
  written = (tmp_path / '4' / 'sums.json').stat().st_mtime_ns
  target = open_checkpoints()
  target.restore(abstract(state_at(0)))
  assert not target.due(4)
  save(target, 4)
  assert (tmp_path / '4' / 'sums.json').stat().st_mtime_ns == written


@pytest.mark.parametrize(
  'settings, message',
  [
    ({'keep': 0}, 'keep is 0.*config.checkpoint.keep'),
    ({'every': -1}, 'every is -1.*config.checkpoint.every'),
    ({'minutes': -1.0}, 'minutes is -1.0.*config.checkpoint.minutes'),
  ],
)
def test_settings_that_make_no_sense_are_errors(
  open_checkpoints, settings, message
):
  with pytest.raises(UserError, match=message):
    open_checkpoints(**settings)


def test_a_disk_that_is_too_small_is_an_error_before_it_is_full(
  tmp_path, open_checkpoints, monkeypatch
):
  target = open_checkpoints(keep=1)
  save(target, 1)
  usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
  monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage)
  with pytest.raises(
    UserError,
    match=r'step 2 .* takes 5 MB, but the disk has 1 MB\. .* is of step 1\.',
  ):
    save(target, 2, rows=100_000)  # Of 4 floats, three times: 4.8 MB.
  assert [path.name for path in tmp_path.iterdir()] == ['1']


WRITE_PAST_THE_LIMIT = """
import resource, sys
from tests.training import checkpoints_test as test
target = test.checkpoints.Checkpoints(
  sys.argv[1], every=1, minutes=0.0, keep=1, best='', log_spaced=False
)
test.save(target, 1)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
  test.save(target, 2, rows=100_000)
except test.UserError as error:
  print(error)
"""


@pytest.mark.processes
def test_on_a_full_disk_the_last_good_checkpoint_stays(tmp_path):
  command = [sys.executable, '-c', WRITE_PAST_THE_LIMIT, str(tmp_path)]
  output = subprocess.check_output(command, text=True)
  assert 'The checkpoint of step 2 could not be written' in output
  assert 'File too large' in output
  assert 'The last good one is of step 1.' in output
  assert checkpoint_files.steps(tmp_path) == [1]
  restored, _ = checkpoints.restore(tmp_path, abstract(state_at(0)))
  assert_same(restored, state_at(1))


def test_a_failed_save_is_told_at_the_next_call(open_checkpoints, monkeypatch):
  def fail(*_):
    raise OSError(28, 'No space left on device')

  target = open_checkpoints()
  monkeypatch.setattr(checkpoint_files, 'complete', fail)
  target.save(1, state_at(1), {'examples': 8})
  with pytest.raises(UserError, match='No space left on device'):
    while not target.due(2):
      time.sleep(0.001)
    target.save(2, state_at(2), {'examples': 16})


def test_what_a_killed_save_left_is_cleared_away(tmp_path, open_checkpoints):
  (tmp_path / '3.partial' / 'state').mkdir(parents=True)
  (tmp_path / '2.old.partial').mkdir()
  open_checkpoints()
  assert list(tmp_path.iterdir()) == []


SAVE_FOR_EVER = """
import itertools, sys
from tests.training import checkpoints_test as test
target = test.checkpoints.Checkpoints(
  sys.argv[1], every=1, minutes=0.0, keep=2, best='', log_spaced=False
)
for step in itertools.count(1):
  target.save(step, test.state_at(step, rows=20_000), {'examples': step * 8})
  print(step, flush=True)
"""


@pytest.mark.processes
def test_a_process_killed_while_it_saves_leaves_whole_checkpoints(tmp_path):
  rng = random.Random(0)
  for trial in range(3):
    directory = tmp_path / str(trial)
    command = [sys.executable, '-c', SAVE_FOR_EVER, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
      for line in process.stdout:
        if int(line) == 3:
          break
      time.sleep(rng.random() / 5)
      process.send_signal(signal.SIGKILL)
    there = checkpoint_files.steps(directory)
    assert len(there) >= 2 and there[-1] >= 2
    for step in there[-2:]:
      wanted = state_at(step, rows=20_000)
      assert_same(
        checkpoints.restore(directory, abstract(wanted), step)[0], wanted
      )


def make(directory: str) -> None:
  """Makes the fixture of a format version, to be kept from then on."""
  target = checkpoints.Checkpoints(
    directory, every=1, minutes=0.0, keep=1, best='', log_spaced=False
  )
  target.save(5, state_at(5, ema=True), {'examples': 40, 'note': 'old'})
  target.close()


def test_metadata_on_disk_is_plain_json(tmp_path, open_checkpoints):
  target = open_checkpoints()
  save(target, 1, metrics={'loss': 2.0, 'ppl': float('inf')})
  meta = json.loads((tmp_path / '1' / 'meta.json').read_text())
  arrays = meta.pop('arrays')
  assert meta == {
    'format_version': 1,
    'step': 1,
    'metrics': {'loss': 2.0},
    'metadata': {'examples': 8},
  }
  assert arrays['params/decoder/up/kernel'] == {
    'shape': [16, 4],
    'dtype': 'float32',
  }
