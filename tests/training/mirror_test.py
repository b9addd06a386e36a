"""A run whose workdir is elsewhere is the run that it would be here."""

import collections
import contextlib
import json
import pathlib
import shutil

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

import lm
from experiments import compare_curve, convert, evaluate, generate, train
from lm.data import remote
from lm.training import (
  checkpoint_files,
  checkpoints,
  loop,
  mirror as mirrors,
  remote_run,
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
  """Trains at a URL, up to a step; the learning rate does not depend on it."""

  def go_on(num_steps=6, url=URL, **changes):
    changes = {'checkpoint__keep': 2, 'num_steps': num_steps} | changes
    config = configure(cache, **changes)
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_run_goes_on_at_another_machine_though_all_fails_twice(
  go, flaky, whole, tmp_path
):
  failed = collections.Counter()

  def fault(operation, path):
    failed[operation, path] += 1
    return ConnectionResetError() if failed[operation, path] < 3 else None

  flaky.fault = staticmethod(fault)
  go(num_steps=3)
  forget(tmp_path)
  failed.clear()
  go()
  flaky.work()
  assert_same(copy_of(flaky, tmp_path / 'there'), whole)


@pytest.mark.slow
def test_a_run_that_loses_its_connection_says_so_and_goes_on_from_what_is_here(
  go, flaky, whole, tmp_path, caplog
):
  flaky.break_down(float('inf'), 'put', 'checkpoints/6/')
  with pytest.raises(remote.LostError) as raised:
    go()
  said = str(raised.value)
  assert f'{URL}/checkpoints/6/' in said and 'could not be read or writ' in said
  (here,) = (tmp_path / 'this_machine/workdirs').glob('*/mine')
  assert f'step 6 is whole in {here}/checkpoints/6;' in said
  assert checkpoint_files.steps(here / 'checkpoints') == [3, 6]
  lost = copy_of(flaky, tmp_path / 'lost')
  assert not (lost / 'checkpoints/6/sums.json').exists()
  # No file that was begun was tried more often than a few times.
  puts = [path for operation, path in flaky.done if operation == 'put']
  tried = collections.Counter(path for path in puts if '/6/' in path)
  assert {*tried.values()} == {3}

  flaky.work()
  with caplog.at_level('INFO'):
    go()
  assert 'Step 6 had not been copied' in caplog.text
  assert 'Going on from step 6' in caplog.text
  assert_same(copy_of(flaky, tmp_path / 'there'), whole)


def test_a_workdir_that_cannot_be_reached_costs_nothing_but_a_message(
  go, flaky, monkeypatch
):
  monkeypatch.setattr(loop, 'begin', lambda *_: pytest.fail('It began.'))
  flaky.break_down(float('inf'))
  with pytest.raises(remote.LostError, match=rf'{URL}/run\.json'):
    go()
  assert len(flaky.done) == 3


def small(flaky, *steps, url=URL, **settings):
  """Saves states that tell their step, as a run does."""
  with workdirs.opened(url) as (directory, mirror):
    saved = checkpoints.Checkpoints(
      directory / 'checkpoints', mirror=mirror, **settings
    )
    with contextlib.closing(saved):
      for step in steps:
        metrics = {'loss': abs(step - 2.0)}
        saved.save(
          step, {'params': {'x': of_step(step)}}, {'examples': 0}, metrics
        )
        (directory / 'metrics.jsonl').write_text(f'{step}')
    return directory


def of_step(step):
  return jax.numpy.arange(1000.0) + step


def there(flaky):
  directories = [path.split('/') for path in flaky.store]
  return sorted({int(d[5]) for d in directories if d[4:5] == ['checkpoints']})


def restored(step=None):
  directory = remote_run.local_run(URL, step)
  params, meta = checkpoints.restore_params(directory / 'checkpoints', step)
  np.testing.assert_array_equal(params['x'], of_step(meta['step']))
  return meta['step']


@pytest.mark.parametrize(
  ('settings', 'stay'),
  [
    ({'keep': 1}, [5]),
    ({'keep': 2}, [4, 5]),
    ({'keep': 1, 'best': 'loss'}, [2, 5]),
    ({'keep': 1, 'log_spaced': True}, [1, 2, 4, 5]),
  ],
)
def test_what_stays_there_is_what_would_stay_here(
  flaky, tmp_path, settings, stay
):
  small(flaky, 1, 2, 3, **settings)
  forget(tmp_path)  # Another machine does not have them all.
  small(flaky, 4, 5, **settings)
  assert there(flaky) == stay
  for step in stay:
    assert restored(step) == step


def test_what_is_read_and_gone_on_with_has_the_best_of_those_there(flaky):
  settings = {'keep': 1, 'best': 'loss'}
  small(flaky, 1, 2, 3, 4, 5, **settings)
  config = json.dumps({'checkpoint': settings}).encode()
  remote.write(config, f'{URL}/config.json')
  directory = remote_run.local_run(URL)
  assert checkpoint_files.steps(directory / 'checkpoints') == [2]
  directory = remote_run.local_run(URL, newest=True)
  assert checkpoint_files.steps(directory / 'checkpoints') == [2, 5]
  mirror = mirrors.Mirror(URL)
  shutil.rmtree(mirror.directory)  # As on another machine.
  mirror.directory.mkdir()
  mirror.pull()
  assert checkpoint_files.steps(mirror.directory / 'checkpoints') == [2, 5]


def test_a_checkpoint_is_none_until_all_of_it_is_there(flaky):
  small(flaky, 1)
  put = [at for what, at in flaky.done if what in ('put', 'write')]
  end = put.index('/bucket/runs/mine/checkpoints/1/sums.json')
  assert '/bucket/runs/mine/metrics.jsonl' in put[:end]
  assert {path for path in flaky.store if '/1/' in path} == {
    path for path in put[: end + 1] if '/1/' in path
  }
  del flaky.store[put[end]]
  with pytest.raises(UserError, match='has no checkpoint'):
    restored()


def flip(data):
  middle = len(data) // 2
  return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def largest(flaky, step):
  mine = [path for path in flaky.store if f'/checkpoints/{step}/' in path]
  return max(mine, key=lambda path: flaky.store[path].getbuffer().nbytes)


def test_a_bit_that_flips_on_its_way_is_found_and_copied_again(flaky, caplog):
  small(flaky, 1)
  path, sent = largest(flaky, 1), []

  def damage(at, data):
    sent.extend([at] if at == path else [])
    return flip(data) if sent == [path] and at == path else data

  flaky.damage = staticmethod(damage)
  assert restored() == 1
  assert sent == [path] * 2
  assert 'does not have its SHA-256' in caplog.text


def test_a_checkpoint_that_is_damaged_there_is_said_and_not_used(
  flaky, tmp_path, caplog
):
  small(flaky, 1, 2)
  path = largest(flaky, 2)
  flaky.pipe_file(flaky(), path, flip(flaky.store[path].getvalue()))
  assert restored() == 1
  assert f'step 2 at {URL} is damaged' in caplog.text
  with pytest.raises(UserError, match=f'step 2 at {URL} is damaged'):
    restored(2)
  forget(tmp_path)
  small(flaky, 2, 3)  # The run comes to it again.
  assert [restored(step) for step in (2, 3)] == [2, 3]
  path = largest(flaky, 1)
  flaky.pipe_file(flaky(), path, b'')
  forget(tmp_path)
  with pytest.raises(UserError, match=r'Every checkpoint .*\[1\]'):
    for step in (2, 3):
      remote_run.There(URL).delete(step)
    small(flaky, 2)


def test_a_mirror_of_another_run_is_not_used(flaky):
  small(flaky, 7)
  flaky.begin()  # The user has removed the workdir, and begins anew.
  directory = small(flaky, 3)
  assert checkpoint_files.steps(directory / 'checkpoints') == [3]
  assert there(flaky) == [3]


def test_a_mirror_that_fell_behind_is_brought_up_to_date(
  flaky, tmp_path, monkeypatch
):
  small(flaky, 1)
  with monkeypatch.context() as other:
    other.setenv('LM_CACHE', str(tmp_path / 'another_machine'))
    small(flaky, 2)
  directory = small(flaky)
  assert (directory / 'metrics.jsonl').read_text() == '2'
  assert checkpoint_files.steps(directory / 'checkpoints') == [1, 2]


def test_a_checkpoint_that_was_removed_there_is_none_here(flaky):
  small(flaky, 1, 2, 3)
  with workdirs.opened(URL) as (_, mirror):
    mirror.shelf.delete(3)
  directory = small(flaky)
  assert checkpoint_files.steps(directory / 'checkpoints') == [1, 2]
  assert there(flaky) == [1, 2]


def test_what_was_left_half_there_goes_with_the_next_checkpoint(flaky):
  small(flaky, 1)
  for step in (2, 9):
    remote.write(b'half', f'{URL}/checkpoints/{step}/state/x')
  small(flaky, 3)
  assert there(flaky) == [1, 3, 9]  # Of 9 nobody knows what it will be.


def test_two_processes_of_a_machine_do_not_train_at_once(flaky):
  with workdirs.opened(URL), pytest.raises(UserError, match='Another process'):
    small(flaky, 1)


def upload(directory, url=URL):
  names = [
    path.relative_to(directory).as_posix()
    for path in directory.rglob('*')
    if path.is_file() and path.name != '.lock'
  ]
  remote.upload(directory, url, names, last=names[-1])


def answers(workdir, cache, reference, target, capsys):
  """What each command says of a run."""
  evaluate.main(workdir)
  generate.main(workdir, prompt=['The '], max_new_tokens=8)
  assert compare_curve.main(workdir, str(reference)) == 0
  convert.main(workdir, str(target), to='lm')
  more = ConfigDict(configure(cache, checkpoint__keep=2, num_steps=9))
  train.main(more, workdir, dry_run=True)
  return capsys.readouterr().out.replace(str(target), '').splitlines()


@pytest.mark.slow
def test_every_command_reads_a_run_that_is_elsewhere(
  flaky, whole, cache, tmp_path, capsys
):
  upload(whole)
  reference = tmp_path / 'curve.json'
  curve = {
    'step': [6],
    'mean': [lines(whole)[-1]['loss']],
    'standard_deviation': [0.0],
    'tolerance': 1e-6,
  }
  reference.write_text(json.dumps(curve))
  given = cache, reference
  here = answers(str(whole), *given, tmp_path / 'from_here', capsys)
  assert len(here) >= 5
  assert answers(URL, *given, tmp_path / 'from_there', capsys) == here
  for step in (3, 6):
    jax.tree.map(
      np.testing.assert_array_equal,
      lm.load(URL, step).params,
      lm.load(whole, step).params,
    )
  changed = ConfigDict(configure(cache, optimizer__b2=0.5))
  train.main(changed, 'flaky://bucket/new', dry_run=True)
  with pytest.raises(UserError, match=r'optimizer\.b2: 0\.99 -> 0\.5'):
    train.main(changed, URL, dry_run=True)


def test_what_is_not_there_is_said(flaky, tmp_path):
  tiny_run.write(tmp_path / 'run')
  upload(tmp_path / 'run')
  with pytest.raises(UserError, match=r'has steps \[1\], but not step 4'):
    lm.load(URL, 4)
  with pytest.raises(UserError, match='nothing at flaky://bucket/none'):
    lm.load('flaky://bucket/none')
  with pytest.raises(UserError, match='is a URL'):
    convert.main(URL, 'flaky://bucket/target')


def test_a_directory_of_hugging_face_may_be_elsewhere(flaky, tmp_path):
  tiny_run.write_family(tmp_path / 'run', 't5')
  lm.save_huggingface(lm.load(tmp_path / 'run'), tmp_path / 'theirs')
  upload(tmp_path / 'theirs')
  here, there = lm.load(tmp_path / 'theirs'), lm.load(URL)
  jax.tree.map(np.testing.assert_array_equal, there.params, here.params)
  assert there.tokenizer.fingerprint() == here.tokenizer.fingerprint()


@pytest.mark.slow
def test_a_run_may_begin_from_one_that_is_elsewhere(
  flaky, whole, cache, tmp_path
):
  upload(whole)
  branch = {'num_steps': 5, 'optimizer__schedule': 'linear'}
  for name, origin in (('one', whole), ('other', URL)):
    config = configure(cache, start_from=f'{origin}@3', **branch)
    loop.train(config, tmp_path / name)
  assert [row['step'] for row in lines(tmp_path / 'one')] == [4, 5, 5]
  assert_same(tmp_path / 'one', tmp_path / 'other')
