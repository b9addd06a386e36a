"""The script for SLURM, run with stubs; tests/slurm runs it for real."""

import json
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

from experiments.launch import given, job as jobs, slurm, start
from lm.training import workdir as workdirs
from lm.types import UserError


@pytest.fixture
def job(make_job):
  return make_job(hosts=2, devices=4, time_limit='4:00:00')


def directives(script):
  lines = [line for line in script.splitlines() if line.startswith('#SBATCH')]
  return [line.removeprefix('#SBATCH ').strip("'") for line in lines]


def test_the_script_asks_for_what_the_job_is(job, tmp_path):
  options = slurm.Options(
    gpu='a100', partition='big', account='lm', sbatch=('--mail-type=END',)
  )
  asked = directives(slurm.script(job, options))
  assert {
    '--nodes=2',
    '--ntasks-per-node=1',
    '--gpus-per-node=a100:4',
    '--exclusive',
    '--mem=0',
    '--time=240',
    '--signal=TERM@120',
    '--requeue',
    '--open-mode=append',
    '--partition=big',
    '--account=lm',
    '--mail-type=END',
    f'--output={tmp_path}/run/launch/%j.log',
  } <= {*asked}
  assert not any(line.startswith(('--qos', '--constraint')) for line in asked)


def test_the_limit_of_a_partition_is_announced_as_well(make_job):
  asked = directives(slurm.script(make_job(devices=4), slurm.Options()))
  assert '--signal=TERM@120' in asked
  assert not any(line.startswith('--time') for line in asked)


def test_a_share_of_a_node_is_asked_for_twice(job):
  script = slurm.script(job, slurm.Options(cpus=8, memory='32G'))
  asked = directives(script)
  assert {'--cpus-per-task=8', '--mem=32G'} <= {*asked}
  assert '--exclusive' not in asked
  # Since 22.05 srun does not take it from sbatch.
  assert '--cpus-per-task=8' in script.partition('srun ')[2]


@pytest.mark.parametrize('nodes', ['gpu', 'cpu'])
def test_shellcheck_finds_nothing_in_the_script(
  make_job, shellcheck, nodes, tmp_path
):
  job = make_job(
    workdir=str(tmp_path / "it's a $run"),
    overrides={'data.path': 'text/*.txt', 'log.sample_prompt': '`x` "y"'},
    devices=2,
    env=['A=b c', "B='"],
  )
  script = slurm.script(job, slurm.Options(nodes=nodes))
  assert shellcheck(script) == ''


def test_a_process_gets_the_words_that_were_typed(make_job, programs, tmp_path):
  calls = programs('srun')
  overrides = {'data.path': "a b/*.txt's", 'seed': '3'}
  job = make_job(overrides=overrides, devices=1, hosts=2)
  script = slurm.script(job, slurm.Options(nodes='cpu'))
  subprocess.run(['bash', '-c', script], check=True)
  words = calls.read_text().splitlines()
  at = words.index(sys.executable)
  assert words[at:] == [
    sys.executable,
    '-m',
    'experiments.train',
    '--config=configs/gpt.py:debug',
    f'--workdir={tmp_path}/run',
    '--config.hosts.expected_processes=2',
    '--config.hosts.expected_kind=cpu',
    "--config.data.path=a b/*.txt's",
    '--config.seed=3',
  ]
  assert not any(word.startswith('--kill-on-bad-exit=1') for word in words)


@pytest.mark.parametrize(
  ('ends_with', 'restarts', 'requeued'),
  [
    (0, 0, False),
    (1, 0, False),
    (143, 0, True),
    (143, 2, True),
    (143, 3, False),
    (75, 0, True),
    (75, 2, True),
    (75, 3, False),
    (2, 0, False),
  ],
)
def test_a_run_that_may_go_on_asks_for_another_sitting(
  job, programs, monkeypatch, ends_with, restarts, requeued
):
  programs('srun', f'exit {ends_with}')
  calls = programs('scontrol')
  monkeypatch.setenv('SLURM_JOB_ID', '17')
  monkeypatch.setenv('SLURM_RESTART_COUNT', str(restarts))
  script = slurm.script(job, slurm.Options(restarts=3))
  done = subprocess.run(['bash', '-c', script], capture_output=True, text=True)
  assert done.returncode == ends_with
  assert calls.exists() == requeued
  if requeued:
    assert calls.read_text().split() == ['requeue', '17']
  assert ('--restarts' in done.stderr) == (restarts == 3)


def test_what_slurm_itself_ends_is_waited_for_and_not_requeued(
  job, programs, monkeypatch, tmp_path
):
  saved = tmp_path / 'saved'
  programs(
    'srun',
    f'trap "sleep 0.3; : >{saved}; exit 143" TERM\n: >{tmp_path}/begun\n'
    'while :; do sleep 0.02; done',
  )
  calls = programs('scontrol')
  monkeypatch.setenv('SLURM_JOB_ID', '17')
  script = slurm.script(job, slurm.Options())
  running = subprocess.Popen(['bash', '-c', script])
  while not (tmp_path / 'begun').exists():
    time.sleep(0.01)
  [step] = children(running.pid)
  for process in (running.pid, step):  # SLURM signals every process.
    subprocess.os.kill(process, signal.SIGTERM)
  assert running.wait(10) == 143
  assert saved.exists() and not calls.exists()


def children(process):
  path = pathlib.Path(f'/proc/{process}/task/{process}/children')
  return [int(word) for word in path.read_text().split()]


def test_a_workdir_is_given_to_one_job_at_a_time(job, programs, tmp_path):
  handed_in = programs('sbatch', 'echo "42;east"')
  asked = programs('squeue', 'echo PENDING')
  told = start.start('slurm', job, slurm.Options())
  assert told['id'] == '42'
  script = tmp_path / f'run/launch/{jobs.name_of(job)}.sh'
  assert handed_in.read_text().split() == ['--parsable', str(script)]
  assert script.read_text() == slurm.script(job, slurm.Options())
  with pytest.raises(UserError, match='as job 42, which is still there'):
    start.start('slurm', job, slurm.Options())
  assert (
    '--jobs=42' in asked.read_text() and '--clusters=east' in asked.read_text()
  )
  with pytest.raises(UserError, match='as job 42, which is still there'):
    start.start('local', job, start.PLATFORMS['local'].Options())
  assert handed_in.read_text().count('--parsable') == 1
  # As SLURM says of one that has long ended, and of one that has just.
  programs(
    'squeue',
    'echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1',
  )
  assert not slurm.is_alive(given.read(job.workdir))
  programs('squeue')
  start.start('slurm', job, slurm.Options())
  assert handed_in.read_text().count('--parsable') == 2


def test_who_cannot_be_asked_of_a_job_is_named(job, programs, tmp_path):
  programs('sbatch', 'echo 42')
  start.start('slurm', job, slurm.Options())
  with pytest.raises(
    UserError, match=r'squeue, which.*remove .*launch/job\.json'
  ):
    start.start('slurm', job, slurm.Options())
  programs('squeue', 'echo "Unable to contact controller" >&2; exit 1')
  with pytest.raises(UserError, match='Unable to contact controller'):
    start.start('slurm', job, slurm.Options())


def test_a_workdir_in_which_somebody_trains_is_given_to_nobody(job, programs):
  handed_in = programs('sbatch', 'echo 42')
  with (
    workdirs.held(pathlib.Path(job.workdir)),
    pytest.raises(UserError, match='Another process trains in'),
  ):
    start.start('slurm', job, slurm.Options())
  assert not handed_in.exists()


def test_what_sbatch_says_is_told(job, programs):
  programs('sbatch', 'echo "Invalid partition" >&2; exit 1')
  with pytest.raises(UserError, match='Invalid partition'):
    start.start('slurm', job, slurm.Options())
  assert given.read(job.workdir) is None


def test_a_machine_without_sbatch_is_told_before_anything_is_written(
  job, programs
):
  assert shutil.which('sbatch') is None  # Whatever this machine has.
  with pytest.raises(UserError, match=r'^sbatch, which --to=slurm needs'):
    start.start('slurm', job, slurm.Options())
  assert not pathlib.Path(job.workdir).exists()


@pytest.mark.parametrize(
  ('fields', 'options', 'message'),
  [
    ({'devices': 0}, {}, '--devices is missing'),
    ({'time_limit': '0:01:00'}, {'save_seconds': 60}, '--save_seconds is 60'),
    ({}, {'nodes': 'cpu', 'gpu': 'a100'}, '--gpu is'),
    ({}, {'restarts': -1}, '--restarts is -1, but must be at least 0'),
    ({}, {'cpus': -1}, '--cpus is -1'),
    ({}, {'save_seconds': 0}, '--save_seconds is 0, but must be at least 1'),
  ],
)
def test_what_slurm_cannot_do_is_said(make_job, fields, options, message):
  job = make_job(**{'devices': 4} | fields)
  with pytest.raises(UserError, match=message):
    start.show('slurm', job, slurm.Options(**options))


def test_a_dry_run_shows_all_and_does_nothing(job, programs, capsys):
  told = start.show('slurm', job, slurm.Options())
  shown = capsys.readouterr().out
  assert slurm.script(job, slurm.Options()) in shown
  assert shown.splitlines()[-1] == told['commands'][-1]
  assert json.dumps(told)
  assert not pathlib.Path(job.workdir).exists()
