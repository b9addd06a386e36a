"""A slice of two workers, played by a gcloud that checks what it is told."""

import contextlib
import os
import pathlib
import signal
import time

import pytest

from experiments.launch import given, start, tpu
from lm.data import remote
from lm.types import UserError

# What `gcloud compute tpus tpu-vm ssh --help` lists (Google Cloud SDK 528),
# as far as it says where and what. Each worker has a home; a shell runs what is
# to be run, and the call ends when nothing holds its output.
GCLOUD = """
import os, pathlib, subprocess, sys
words = sys.argv[1:]
assert words[:4] == ['compute', 'tpus', 'tpu-vm', 'ssh'], words
assert not sys.stdin.read(), words
for bare in ('--quiet', '--internal-ip'):
  assert words.count(bare) == 1, words
  words.remove(bare)
flags = dict(word[2:].split('=', 1) for word in words[4:] if word[:2] == '--')
assert [w for w in words[4:] if w[:2] != '--'] == ['my-tpu'], words
known = {'zone', 'project', 'worker', 'command', 'output-directory'}
assert flags.keys() <= known, flags
assert flags.get('zone') == 'us-central2-b', flags
workers = '01' if flags['worker'] == 'all' else flags['worker']
home = pathlib.Path(os.environ['STUB_HOME'])
with (home / 'calls').open('a') as file:
  file.write(f'worker {flags["worker"]}: {flags["command"]}\\n')
for worker in workers:
  done = subprocess.run(
    ['bash', '-c', flags['command']], cwd=home / worker, capture_output=True,
    text=True, env=os.environ | {'HOME': str(home / worker)},
  )
  if 'output-directory' in flags:
    pathlib.Path(flags['output-directory'], worker + '.log').write_text(done.stdout)
  else:
    sys.stdout.write(done.stdout)
  with (home / 'said').open('a') as file:
    file.write(done.stderr)
  if done.returncode:
    sys.stderr.write(done.stderr)
    sys.exit(done.returncode)
"""
# What stands for Python on a worker: it says what it was told, and waits.
WORKER = """#!/usr/bin/env bash
echo "$PWD A=$A $*"
trap 'echo saved; exit 143' TERM
for i in {1..600}; do sleep 0.05; done
"""
OPTIONS = {
  'tpu': 'my-tpu',
  'zone': 'us-central2-b',
  'gcloud': ('--internal-ip',),
}


@pytest.fixture
def workers(programs, elsewhere, tmp_path, monkeypatch):
  home = tmp_path / 'home'
  for worker in '01':
    python = home / worker / 'lm/.venv/bin/python'
    python.parent.mkdir(parents=True)
    python.write_text(WORKER)
    python.chmod(0o755)
  monkeypatch.setenv('STUB_HOME', str(home))
  programs('gcloud', GCLOUD, language='python')
  return home


@pytest.fixture
def job(make_job, tmp_path, monkeypatch):
  monkeypatch.setenv('LM_CACHE', str(tmp_path / 'cache'))
  there = (tmp_path / 'bucket/run').as_uri()
  return make_job(
    workdir=there,
    hosts=2,
    env=["A=it's"],
    overrides={'data.source': 'text', 'data.path': 'a b/*.txt'},
  )


def logs(told):
  return [
    pathlib.Path(told['logs'], f'{worker}.log').read_text() for worker in '01'
  ]


def test_it_starts_goes_on_by_itself_is_asked_and_stops(workers, job, tmp_path):
  began = time.monotonic()
  with pytest.raises(UserError, match=r'status 3: .* is not running on'):
    start.start('tpu', job, tpu.Options(**OPTIONS, act='stop'))
  told = start.start('tpu', job, tpu.Options(**OPTIONS))
  assert time.monotonic() - began < 20  # It did not wait for the run.
  assert 'No such file' not in (workers / 'said').read_text()
  note = given.read(job.workdir)
  assert note == told and note['tpu'] == 'my-tpu'
  assert tpu.is_alive(note)
  gathered = start.start('tpu', job, tpu.Options(**OPTIONS, act='logs'))
  assert logs(gathered) == [
    f"{workers}/{worker}/lm A=it's -m experiments.train"
    f' --config=configs/gpt.py:debug --workdir={job.workdir}'
    ' --config.hosts.expected_processes=2 --config.hosts.expected_kind=tpu'
    ' --config.data.source=text --config.data.path=a b/*.txt\n'
    for worker in '01'
  ]
  with pytest.raises(UserError, match='which is still there'):
    start.start('tpu', job, tpu.Options(**OPTIONS))
  # The workers say so as well, to whom has no note.
  remote.remove([remote.join(job.workdir, given.NAME)])
  with pytest.raises(UserError, match='is still running on'):
    start.start('tpu', job, tpu.Options(**OPTIONS))
  for worker in '01':  # One tells the others; these do not know each other.
    calls = tpu.ssh(
      tpu.Options(**OPTIONS), tpu.said(tpu.STOP, job, tpu.Options()), worker
    )
    start.rendered.call(calls)
    wait_for_end(process_of(workers, worker, told))
  assert not tpu.is_alive(note)
  gathered = start.start('tpu', job, tpu.Options(**OPTIONS, act='logs'))
  assert [text.splitlines()[-1] for text in logs(gathered)] == ['saved'] * 2
  again = start.start('tpu', job, tpu.Options(**OPTIONS))
  assert again == told
  for worker in '01':
    os.kill(process_of(workers, worker, told), signal.SIGKILL)


def process_of(workers, worker, told):
  path = workers / worker / f'lm/runs/launch/{told["id"]}.pid'
  return int(path.read_text())


def wait_for_end(process, seconds=20):
  limit = time.monotonic() + seconds
  with contextlib.suppress(ProcessLookupError):
    while True:
      os.kill(process, 0)
      assert time.monotonic() < limit
      time.sleep(0.01)


def test_stopping_tells_the_first_worker_alone(job, capsys):
  told = start.show('tpu', job, tpu.Options(**OPTIONS, act='stop'))
  assert (
    '--worker=0' in told['commands'][0] and 'kill -TERM' in told['commands'][0]
  )


def test_the_end_of_the_time_is_one_signal(make_job):
  job = make_job(workdir='gs://bucket/run', time_limit='1:00:00')
  text = tpu.said(tpu.START, job, tpu.Options(**OPTIONS))
  assert 'timeout --foreground --signal=TERM 3600 .venv/bin/python' in text


@pytest.mark.parametrize('act', ['start', 'logs', 'stop'])
def test_shellcheck_finds_nothing_in_what_a_worker_is_told(
  make_job, shellcheck, act
):
  job = make_job(
    workdir="gs://bucket/it's a $run",
    time_limit='1:00:00',
    overrides={'log.sample_prompt': '`x` "y"'},
    env=['A=b c', "B='"],
  )
  options = tpu.Options(**OPTIONS, directory='a folder', act=act)
  [command] = tpu.render(job, options).commands
  [text] = [w for w in command.argv if w.startswith('--command=')]
  assert shellcheck(text.removeprefix('--command='), '--shell=bash') == ''


def test_what_has_started_is_asked_without_the_words_that_started_it(
  make_job, capsys
):
  job = make_job(config='configs/gpt.py:gpt2-xl', workdir='gs://bucket/run')
  for act in ('logs', 'stop'):
    start.show('tpu', job, tpu.Options(**OPTIONS, act=act))
  with pytest.raises(UserError, match=r'data\.path is empty'):
    start.show('tpu', job, tpu.Options(**OPTIONS))


@pytest.mark.parametrize(
  ('fields', 'options', 'message'),
  [
    ({}, {'tpu': ''}, '--tpu is missing'),
    ({'workdir': 'runs/a'}, {}, 'such as gs://BUCKET'),
    ({'devices': 4}, {}, 'a worker always has all of its TPUs'),
  ],
)
def test_what_a_slice_cannot_do_is_said(make_job, fields, options, message):
  job = make_job(**{'workdir': 'gs://bucket/run'} | fields)
  with pytest.raises(UserError, match=message):
    start.show('tpu', job, tpu.Options(**OPTIONS | options))


def test_a_machine_without_gcloud_is_told(make_job, programs):
  job = make_job(workdir='gs://bucket/run')
  with pytest.raises(UserError, match=r'^gcloud, which --to=tpu needs'):
    start.start('tpu', job, tpu.Options(**OPTIONS))
