"""Processes of this machine end together. tests/parallel trains in two."""

import os
import signal
import threading
import time

import pytest

from experiments.launch import local
from experiments.launch.rendered import Command
from lm.analysis import memory


def run(tmp_path, *bodies, limit=0):
  commands = [
    Command(('bash', '-c', body), {'N': str(i)})
    for i, body in enumerate(bodies)
  ]
  return local.supervise(commands, tmp_path, limit)


def logs(tmp_path):
  return [p.read_text() for p in sorted(tmp_path.glob('process-*.log'))]


def test_each_has_a_log_and_the_first_is_shown(tmp_path, capfd):
  assert run(tmp_path, 'echo "I am $N"', 'echo "I am $N" >&2') == 0
  assert logs(tmp_path) == ['I am 0\n', 'I am 1\n']
  assert run(tmp_path, 'echo again', 'exit 0') == 0
  assert logs(tmp_path) == ['I am 0\nagain\n', 'I am 1\n']
  assert capfd.readouterr().err.count('I am') == 1


def test_one_that_dies_ends_the_others(tmp_path, monkeypatch):
  monkeypatch.setattr(local, 'AFTER_DEATH', 0.3)
  began = time.monotonic()
  status = run(tmp_path, 'sleep 60', 'sleep 0.2; exit 7', 'sleep 60')
  assert status == 7 and time.monotonic() - began < 10


def test_the_others_may_end_by_themselves(tmp_path):
  assert run(tmp_path, 'sleep 0.5; echo saved', 'exit 3') == 3
  assert logs(tmp_path)[0] == 'saved\n'


SAVES = (
  'count=0; trap "count=\\$((count + 1)); stop=1" TERM; echo ready;'
  ' until [ "$stop" ]; do sleep 0.05; done; sleep 0.3; echo "$count"; exit 143'
)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_handed_on_once_and_waited_for(
  tmp_path, monkeypatch, number
):
  monkeypatch.setattr(local, 'AFTER_DEATH', 0)

  def tell():
    while [text for text in logs(tmp_path)] != ['ready\n'] * 2:
      time.sleep(0.02)
    os.kill(os.getpid(), number)

  before = signal.signal(number, signal.SIG_DFL)  # Under nohup it is ignored.
  teller = threading.Thread(target=tell)
  teller.start()
  assert run(tmp_path, SAVES, SAVES) == 143
  teller.join()
  assert logs(tmp_path) == ['ready\n1\n'] * 2
  assert signal.signal(number, before) == signal.SIG_DFL


def test_the_end_of_the_time_is_such_a_signal(tmp_path):
  assert run(tmp_path, SAVES, limit=1) == 143
  assert logs(tmp_path) == ['ready\n1\n']


def test_one_that_does_not_stop_is_killed(tmp_path, monkeypatch):
  monkeypatch.setattr(local, 'AFTER_SIGNAL', 0.3)
  status = run(tmp_path, 'trap "" TERM; while :; do sleep 0.05; done', limit=1)
  assert status == 128 + signal.SIGKILL


@pytest.fixture
def gpus(tmp_path, monkeypatch):
  """Returns what puts files of a driver where they are looked for."""
  look = local.visible_gpus
  folder = tmp_path / 'dev'
  folder.mkdir()
  for name in (
    'CUDA_VISIBLE_DEVICES',
    'NCCL_DEBUG',
    'XLA_PYTHON_CLIENT_MEM_FRACTION',
  ):
    monkeypatch.delenv(name, raising=False)
  monkeypatch.setenv('JAX_PLATFORMS', '')
  monkeypatch.setattr(local, 'visible_gpus', lambda: look(folder))

  def put(count):
    for name in ('ctl', '-uvm', *range(count)):  # The first two are no GPUs.
      (folder / f'nvidia{name}').touch()

  return put


def test_processes_know_each_other_and_their_own_devices(make_job, gpus):
  gpus(4)
  first, second = local.render(
    make_job(hosts=2, devices=2, env=['A=1']), local.Options(port=1234)
  ).commands
  assert first.argv == second.argv
  assert (
    first.env | {'JAX_PROCESS_ID': '1', 'CUDA_VISIBLE_DEVICES': '2,3'}
    == second.env
  )
  assert first.env == {
    'JAX_NUM_CPU_DEVICES': '2',
    'CUDA_VISIBLE_DEVICES': '0,1',
    'XLA_PYTHON_CLIENT_MEM_FRACTION': '0.9',
    'NCCL_DEBUG': 'WARN',
    'JAX_COORDINATOR_ADDRESS': '127.0.0.1:1234',
    'JAX_NUM_PROCESSES': '2',
    'JAX_PROCESS_ID': '0',
    'A': '1',
  }


def test_a_gpu_is_used_as_a_plan_assumes_unless_the_shell_says_otherwise(
  make_job, gpus, monkeypatch
):
  name = 'XLA_PYTHON_CLIENT_MEM_FRACTION'
  gpus(1)
  [alone] = local.render(make_job(), local.Options()).commands
  assert float(alone.env[name]) == memory.SHARE
  monkeypatch.setenv(name, '0.5')
  [alone] = local.render(make_job(), local.Options()).commands
  assert alone.env[name] == '0.5'
  job = make_job(env=['JAX_PLATFORMS=cpu'])
  [alone] = local.render(job, local.Options()).commands
  assert name not in alone.env


def test_a_process_has_as_many_gpus_as_it_is_given(make_job, gpus):
  gpus(8)
  [alone] = local.render(make_job(devices=2), local.Options()).commands
  assert alone.env['CUDA_VISIBLE_DEVICES'] == '0,1'
  [alone] = local.render(make_job(), local.Options()).commands
  assert 'CUDA_VISIBLE_DEVICES' not in alone.env


def test_more_gpus_than_there_are_is_refused(make_job, gpus, monkeypatch):
  many = {'hosts': 2, 'devices': 2}
  local.check(make_job(**many), local.Options())  # On processors.
  gpus(2)
  for fields in (many, {'devices': 3}, {'hosts': 2}):
    with pytest.raises(local.UserError, match='but 2 GPUs are here'):
      local.check(make_job(**fields), local.Options())
  local.check(make_job(hosts=2, devices=1), local.Options())
  local.check(make_job(**many, env=['JAX_PLATFORMS=cpu']), local.Options())
  monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
  local.check(make_job(**many), local.Options())


def test_gpus_are_shared_out_of_those_that_we_may_use(
  make_job, gpus, monkeypatch
):
  gpus(8)
  monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '4,5,GPU-6,GPU-7')
  job = make_job(hosts=2, devices=2)
  local.check(job, local.Options())
  commands = local.render(job, local.Options(port=1)).commands
  shares = [command.env['CUDA_VISIBLE_DEVICES'] for command in commands]
  assert shares == ['4,5', 'GPU-6,GPU-7']
  for devices in (0, 3):
    with pytest.raises(local.UserError, match='but 4 GPUs are here'):
      local.check(make_job(hosts=2, devices=devices), local.Options())


def test_a_single_process_is_told_of_nobody(make_job):
  [alone] = local.render(make_job(), local.Options()).commands
  assert alone.env == {}


@pytest.mark.parametrize('port', [-1, 70_000])
def test_a_port_that_is_none_is_refused(make_job, port):
  with pytest.raises(local.UserError, match='--port'):
    local.check(make_job(), local.Options(port=port))
