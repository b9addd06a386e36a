"""Two processes train one model: met, killed, stopped, and fewer or more."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from experiments.config_file import Asked
from experiments.launch import local, start as launches
from experiments.launch.job import Job
from lm.parallel import hosts
from lm.training import checkpoint_files, checkpoints, run_log
from lm.types import UserError

ROOT = pathlib.Path(__file__).parents[2]
SILENCE = 10  # Seconds.
NUM_STEPS = 16
COMMAND = [
  sys.executable,
  '-m',
  'experiments.train',
  '--config=configs/gpt.py:debug',
  f'--config.num_steps={NUM_STEPS}',
  '--config.batch_size=8',
  '--config.microbatches=2',
  '--config.model.num_layers=2',
  '--config.model.num_heads=2',
  '--config.model.head_dim=8',
  '--config.model.embed_dim=16',
  '--config.model.mlp_dim=32',
  '--config.model.vocab_multiple=4',
  '--config.model.residual_dropout=0.1',
  '--config.optimizer.schedule=constant',
  '--config.eval.every=0',
  '--config.checkpoint.every=4',
  '--config.checkpoint.keep=100',
  '--config.log.every=1',
  '--config.log.boards=()',
  f'--config.hosts.silence={SILENCE}',
]

PHRASES = {
  'the dog': 'der Hund',
  'a dog': 'ein Hund',
  'the red dog': 'der rote Hund',
  'a red dog': 'ein rote Hund',
  'the big dog': 'der grosse Hund',
}

pytestmark = [pytest.mark.processes, pytest.mark.slow]


def free_port():
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    return probe.getsockname()[1]


def start(workdir, cache, *more, processes=2, devices=2, command=COMMAND):
  """Starts the processes of a run, each with its own devices."""
  port = free_port()
  together = [
    f'--config.hosts.coordinator=127.0.0.1:{port}',
    f'--config.hosts.processes={processes}',
    f'--config.hosts.expected_processes={processes}',
  ]
  environment = os.environ | {
    'JAX_PLATFORMS': 'cpu',
    'JAX_NUM_CPU_DEVICES': str(devices),
    'LM_CACHE': str(cache),
  }
  return [
    subprocess.Popen(
      [
        *command,
        f'--workdir={workdir}',
        *(together if processes > 1 else []),
        *([f'--config.hosts.process={i}'] if processes > 1 else []),
        *more,
      ],
      cwd=ROOT,
      env=environment,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for i in range(processes)
  ]


def end(running, code=0, seconds=200):
  """Returns what the processes printed, having waited for them."""
  said = [process.communicate(timeout=seconds) for process in running]
  for process, (_, errors) in zip(running, said):
    assert process.returncode == code, errors
  return said


def launch(workdir, cache):
  """Runs two processes as a user's launcher does, and returns their logs."""
  flags = [flag.removeprefix('--config.') for flag in COMMAND[4:]]
  overrides = dict(flag.split('=', 1) for flag in flags)
  env = ('JAX_PLATFORMS=cpu', f'LM_CACHE={cache}')
  job = Job(
    Asked('configs/gpt.py:debug', overrides),
    str(workdir),
    hosts=2,
    devices=2,
    env=env,
  )
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(ROOT)
    told = launches.start('local', job, local.Options())
  logs = [workdir / f'launch/process-{i}.log' for i in range(2)]
  assert told['status'] == 0 and told['logs'] == str(workdir / 'launch')
  return [log.read_text() for log in logs]


def finish(*arguments, **options):
  return end(start(*arguments, **options))


def rows(workdir):
  return [
    {k: v for k, v in row.items() if k not in run_log.TIME_FIELDS}
    for row in run_log.read(workdir / 'metrics.jsonl')
  ]


def losses(workdir, after=0):
  return [row['loss'] for row in rows(workdir) if row['step'] > after]


def params(workdir):
  return checkpoints.restore_params(workdir / 'checkpoints')[0]


def wait_for_checkpoint(workdir, step, running, seconds=120):
  limit = time.monotonic() + seconds
  while not (workdir / 'checkpoints' / str(step)).exists():
    assert time.monotonic() < limit
    assert all(process.poll() is None for process in running)
    time.sleep(0.01)


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
  return tmp_path_factory.mktemp('cache')


@pytest.fixture(scope='module')
def alone(tmp_path_factory, cache):
  """A run of one process with as many devices."""
  workdir = tmp_path_factory.mktemp('alone')
  finish(workdir, cache, processes=1, devices=4)
  return workdir


@pytest.fixture(scope='module')
def both(tmp_path_factory, cache):
  workdir = tmp_path_factory.mktemp('both')
  said = launch(workdir, cache)
  assert [text.count('"workdir"') for text in said] == [1, 0]  # One speaks.
  assert 'Process 1 of 2, with 2 of 4 devices.' in said[1]
  return workdir


def assert_near(first, second):
  np.testing.assert_allclose(losses(first), losses(second), rtol=1e-5)
  close = lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5)
  jax.tree.map(close, params(first), params(second))


def test_two_processes_train_what_one_does(alone, both):
  assert len(losses(both)) == NUM_STEPS + 1
  assert_near(both, alone)


@pytest.mark.parametrize(
  'way',
  [
    ['--config.parallel.kind=pmap'],
    ['--config.parallel.data=1', '--config.parallel.fsdp=4'],
    ['--config.parallel.fsdp=2', '--config.parallel.tensor=2'],
  ],
  ids=['pmap', 'fsdp', 'tensor'],
)
def test_in_every_way_and_its_checkpoint_is_the_same(
  way, both, cache, tmp_path
):
  more = ['--config.model.residual_dropout=0']
  if way[0].endswith('pmap'):  # Each device draws its own there.
    plain = tmp_path / 'plain'
    finish(plain, cache, *more)
  else:
    plain, more = both, []
  workdir = tmp_path / 'run'
  finish(workdir, cache, *way, *more)
  assert_near(workdir, plain)


def test_one_is_killed_the_other_ends_and_both_go_on_with_the_same_bits(
  both, cache, tmp_path
):
  slowly = '--config.num_steps=100000'
  running = start(tmp_path, cache, slowly)
  wait_for_checkpoint(tmp_path, 8, running)
  running[1].send_signal(signal.SIGKILL)
  began = time.monotonic()
  _, errors = running[0].communicate(timeout=100)
  assert time.monotonic() - began < SILENCE + 30
  assert running[0].returncode != 0
  assert f'the others end within {SILENCE} s' in errors
  assert 'another task died' in errors
  running[1].communicate()
  for step in checkpoint_files.steps(tmp_path / 'checkpoints'):
    if step > 12:
      shutil.rmtree(tmp_path / 'checkpoints' / str(step))
  finish(tmp_path, cache)
  assert rows(tmp_path) == rows(both)
  jax.tree.map(np.testing.assert_array_equal, params(tmp_path), params(both))


def test_processes_that_share_no_disk_meet_at_a_url(both, tmp_path):
  there, cache = tmp_path / 'there', tmp_path / 'cache'
  running = start(there.as_uri(), cache, '--config.num_steps=100000')
  wait_for_checkpoint(there, '8/sums.json', running)
  for process in running:
    process.kill()
    process.communicate()
  mirrors = [*(cache / 'workdirs').glob('*/there')]
  for step in checkpoint_files.steps(there / 'checkpoints'):
    if step > 12:
      shutil.rmtree(there / 'checkpoints' / str(step))
  # Each has written its share, and neither all.
  assert len(mirrors) == 2
  shutil.rmtree(cache / 'workdirs')
  finish(there.as_uri(), cache)
  assert rows(there) == rows(both)
  jax.tree.map(np.testing.assert_array_equal, params(there), params(both))
  assert not [*there.rglob('share-*')]


def test_what_processes_write_together_is_what_one_writes(cache, tmp_path):
  data = tmp_path / 'pairs.tsv'
  data.write_text(''.join(f'{s}\t{t}\n' for s, t in PHRASES.items()))
  command = [
    *COMMAND[:3],
    '--config=configs/translation.py:debug',
    *(f'--config.data.{s}={data}' for s in ('train', 'validation', 'test')),
    f'--config.data.cache={tmp_path}/cache',
    '--config.num_steps=80',
    '--config.model.num_layers=1',
    '--config.data.length=20',
    '--config.data.target_length=20',
    '--config.task.max_new_tokens=20',
    '--config.model.residual_dropout=0',
    '--config.model.embedding_dropout=0',
    '--config.optimizer.learning_rate=1e-2',
    '--config.eval.every=80',
    '--config.eval.batch_size=4',  # So there are two batches, one for each.
    '--config.checkpoint.every=80',
    '--config.log.sample_every=80',
    '--config.log.sample_prompt=a big dog',
    '--config.log.boards=()',
  ]
  divided = ['--config.parallel.data=1', '--config.parallel.fsdp=4']
  finish(tmp_path / 'both', cache, *divided, command=command)
  finish(tmp_path / 'alone', cache, processes=1, devices=4, command=command)

  def told(name):
    path = tmp_path / name / 'predictions.jsonl'
    answers = [json.loads(line) for line in path.read_text().splitlines()]
    score = json.loads((tmp_path / name / 'test.json').read_text())['scores']
    return [answer['prediction'] for answer in answers], score

  (texts, score), (texts_alone, score_alone) = told('both'), told('alone')
  assert texts == texts_alone == list(PHRASES.values())
  assert score['chrf'] == score_alone['chrf'] > 99
  assert score['loss'] == pytest.approx(score_alone['loss'], rel=1e-3)
  assert rows(tmp_path / 'both')[-1]['chrf'] == score['chrf']
  samples = [
    (tmp_path / n / 'samples.jsonl').read_text() for n in ('both', 'alone')
  ]
  assert samples[0] == samples[1] != ''


def test_a_signal_to_one_stops_all_after_the_same_step(cache, tmp_path):
  running = start(tmp_path, cache, '--config.num_steps=100000')
  wait_for_checkpoint(tmp_path, 4, running)
  running[1].send_signal(signal.SIGTERM)
  said = end(running, code=128 + signal.SIGTERM)
  last = checkpoint_files.steps(tmp_path / 'checkpoints')[-1]
  for _, errors in said:
    assert f'Stopped at step {last}, which is saved.' in errors
  assert rows(tmp_path)[-1]['step'] == last
  assert 'stop' not in rows(tmp_path)[-1]


@pytest.mark.parametrize('back', [True, False], ids=['2 to 1', '1 to 2'])
def test_a_run_goes_on_with_fewer_or_more_processes(
  back, alone, both, cache, tmp_path
):
  origin, processes = (both, 1) if back else (alone, 2)
  workdir = tmp_path / 'run'
  shutil.copytree(origin, workdir)
  for step in checkpoint_files.steps(workdir / 'checkpoints'):
    if step > 8:
      shutil.rmtree(workdir / 'checkpoints' / str(step))
  finish(workdir, cache, processes=processes)
  assert_near(workdir, origin)


@pytest.mark.parametrize(
  ('error', 'status'), [(RuntimeError('No route'), 75), (ValueError('-1'), 2)]
)
def test_only_those_who_were_told_nonsense_are_not_to_try_again(
  monkeypatch, error, status
):
  def initialize(*arguments, **more):
    raise error

  monkeypatch.setattr(jax.distributed, 'initialize', initialize)
  with pytest.raises(UserError, match='must meet before it begins') as raised:
    hosts.start('127.0.0.1:1', 2, 0)
  assert raised.value.status == status


def test_who_waits_for_nobody_says_so_in_time(cache, tmp_path):
  alone = start(tmp_path, cache, '--config.hosts.timeout=4', processes=2)
  alone[1].kill()
  alone[1].communicate()
  [(_, errors)] = end(alone[:1], code=75, seconds=60)  # It may come later.
  assert 'Not all were there after 4 s.' in errors
  assert 'config.hosts.coordinator' in errors
  assert not (tmp_path / 'config.json').exists()


def test_a_process_that_is_missing_is_missed():
  hosts.start()
  hosts.start(expected_processes=1)
  with pytest.raises(UserError, match='There are 1 processes, but'):
    hosts.start(expected_processes=2)


def test_a_run_does_not_train_on_a_cpu_in_the_place_of_a_gpu():
  kind = jax.default_backend()
  hosts.start(expected_kind=kind)
  with pytest.raises(UserError, match=f'of kind {kind}.*JAX for these'):
    hosts.start(expected_kind='tpu' if kind == 'gpu' else 'gpu')


@pytest.mark.parametrize(
  'variables',
  [
    {'JAX_COORDINATOR_ADDRESS': '127.0.0.1:9', 'JAX_NUM_PROCESSES': '3'},
    {'SLURM_STEP_NUM_TASKS': '2', 'JAX_PROCESS_ID': '1'},
    {'OMPI_COMM_WORLD_SIZE': '4'},
  ],
)
def test_the_environment_tells_of_others(variables, monkeypatch):
  met = []
  monkeypatch.setattr(
    jax.distributed, 'initialize', lambda *args, **kwargs: met.append(args)
  )
  for name, value in variables.items():
    monkeypatch.setenv(name, value)
  hosts.start()
  number = lambda name: int(variables[name]) if name in variables else None
  assert met == [
    (
      variables.get('JAX_COORDINATOR_ADDRESS'),
      number('JAX_NUM_PROCESSES'),
      number('JAX_PROCESS_ID'),
    )
  ]


@pytest.mark.parametrize(
  ('file', 'tells'), [('accel0', True), ('vfio/0', True), ('vfio/vfio', False)]
)
def test_the_files_of_a_tpu_tell_of_others(file, tells, monkeypatch, tmp_path):
  spec = lambda name: name == 'libtpu' or None
  monkeypatch.setattr(hosts.importlib.util, 'find_spec', spec)
  (tmp_path / file).parent.mkdir(exist_ok=True)
  (tmp_path / file).touch()
  assert hosts._environment_tells(tmp_path) == tells


def test_a_launcher_of_one_process_starts_nothing(monkeypatch):
  met = []
  monkeypatch.setattr(
    jax.distributed, 'initialize', lambda *args, **_: met.append(args)
  )
  monkeypatch.setenv('SLURM_STEP_NUM_TASKS', '1')
  hosts.start()
  assert met == []
