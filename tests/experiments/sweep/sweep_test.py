"""A sweep goes on where it was, and what cannot be is said before it begins."""

import csv
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import types

import pytest

from experiments import cells, command
from experiments.config_file import Asked
from experiments.launch import flags, start as launches
from experiments.launch.job import Job
from experiments.sweep import __main__ as sweep, described, gathering
from lm.training.sections import SECTIONS
from lm.types import UserError

ROOT = pathlib.Path(__file__).parents[3]
DEBUG = Asked(
  'configs/gpt.py:debug',
  {
    'num_steps': '4',
    'optimizer.warmup_steps': '1',
    'optimizer.end_learning_rate': '0',
  },
)
SIX = (
  'over.product(over.values("optimizer.learning_rate", 1e-4, 1e-3, 1e-2),'
  ' over.values("seed", 0, 1))'
)
NAMES = [
  f'learning_rate={rate},seed={seed}'
  for rate in ('0.0001', '0.001', '0.01')
  for seed in (0, 1)
]


def starts(root):
  return {
    path.parent.name: len(path.read_text())
    for path in (root / 'runs').glob('*/started')
  }


def table(root):
  with (root / 'sweep.csv').open(newline='') as file:
    return [*csv.DictReader(file)]


def said(capsys):
  return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_six_runs_become_six_rows_and_a_picture(
  trained, write, tmp_path, capsys
):
  root = tmp_path / 'runs'
  assert sweep.main(DEBUG, write(SIX), str(root)) is None
  told = said(capsys)
  assert told['runs'] == {'ended': 6}
  assert told['best']['run'] == 'learning_rate=0.001,seed=0'
  rows = table(root)
  assert [row['run'] for row in rows] == NAMES
  assert [float(row['loss']) for row in rows] == pytest.approx(
    [1.25, 1.25, 0.25, 0.25, 1.25, 1.25]
  )
  assert [row['config.seed'] for row in rows] == ['0', '1'] * 3
  assert (root / 'sweep.png').read_bytes()[1:4] == b'PNG'
  # The same again does nothing, and one more value is one more run of each.
  sweep.main(DEBUG, write(SIX), str(root))
  sweep.main(DEBUG, write(SIX.replace('0, 1)', '0, 1, 2)')), str(root))
  assert len(table(root)) == 9
  assert {*starts(root).values()} == {1} and len(starts(root)) == 9


def killed_in_the_third(running, root):
  """Kills a sweep in its third run; returns when each of the two had ended."""
  limit = time.monotonic() + 200
  while not (root / 'runs' / NAMES[2] / 'metrics.jsonl').exists():
    assert running.poll() is None and time.monotonic() < limit
    time.sleep(0.01)
  os.killpg(running.pid, signal.SIGKILL)
  running.wait()
  results = {p: p.stat().st_mtime_ns for p in root.rglob('result.json')}
  assert len(results) == 2
  return results


@pytest.mark.processes
def test_killed_in_the_middle_no_run_is_done_twice(
  trained, stub, write, tmp_path, capsys
):
  root, path = tmp_path / 'runs', write(SIX)
  slowly = Asked(DEBUG.path, {**DEBUG.overrides, 'log.slow_step': '0.3'})
  program = (
    'import sys; from experiments import cells;'
    f'cells.program = lambda name: {stub!r};'
    'from experiments.config_file import Asked;'
    'from experiments.sweep.__main__ import main;'
    f'main(Asked(*{tuple(slowly)!r}), {path!r}, {str(root)!r})'
  )
  running = subprocess.Popen(
    [sys.executable, '-c', program],
    cwd=ROOT,
    env=os.environ | {'JAX_PLATFORMS': 'cpu'},
    start_new_session=True,  # So that its run is killed with it.
  )
  results = killed_in_the_third(running, root)
  sweep.main(slowly, path, str(root))
  assert [row['run'] for row in table(root)] == NAMES
  assert {row['status'] for row in table(root)} == {'ended'}
  assert {p: p.stat().st_mtime_ns for p in results} == results
  # The third was begun twice, and went on: four evaluations, not more.
  assert starts(root) == dict.fromkeys(NAMES, 1) | {NAMES[2]: 2}
  third = (root / 'runs' / NAMES[2] / 'metrics.jsonl').read_text()
  assert len(third.splitlines()) == 4
  assert said(capsys)['runs'] == {'ended': 6}


def test_ctrl_c_stops_the_run_as_well(trained, write, tmp_path, monkeypatch):
  root = tmp_path / 'runs'
  slowly = Asked(DEBUG.path, {**DEBUG.overrides, 'log.slow_step': '0.05'})
  run = cells._run

  def interrupted(command, log, stop):
    def stop():
      if any(NAMES[1] in word for word in command):
        raise KeyboardInterrupt
      return False

    return run(command, log, stop)

  monkeypatch.setattr(cells, '_run', interrupted)
  with pytest.raises(KeyboardInterrupt):
    sweep.main(slowly, write(SIX), str(root))
  assert len(starts(root)) <= 2
  monkeypatch.setattr(cells, '_run', run)
  sweep.main(slowly, write(SIX), str(root))
  assert len(table(root)) == 6


def test_one_that_fails_is_told_and_tried_again(
  trained, write, tmp_path, capsys
):
  root = tmp_path / 'runs'
  path = write('over.values("optimizer.learning_rate", 1.0, 1e-3)')
  assert sweep.main(DEBUG, path, str(root)) == 1
  assert said(capsys)['runs'] == {'failed': 1, 'ended': 1}
  [bad, good] = table(root)
  assert (bad['status'], good['status']) == ('failed', 'ended')
  assert 'It diverged.' in (root / f'runs/{bad["run"]}/failed.json').read_text()
  sweep.main(DEBUG, path, str(root))
  assert starts(root) == {bad['run']: 2, good['run']: 1}


@pytest.mark.parametrize(
  ('returned', 'overrides', 'message'),
  [
    (
      'over.values("optimizer.learning_rat", 1)',
      {},
      'no config.optimizer.learning_rat. Did you mean',
    ),
    (
      'over.values("model.num_layers", 2, "deep")',
      {},
      'config.model.num_layers is .deep.',
    ),
    ('over.values("seed", 0, 0)', {}, 'has {.seed.: 0} twice'),
    ('over.values("seed", 0, 1)', {'seed': '2'}, '--config.seed is given, but'),
    ('over.values("seeds", 1, 2)', {}, 'config.seeds is 2'),
    ('over.uniform("seed", 0, 9)', {}, 'over.draw.COUNT'),
    ('[]', {}, 'a sweep is a list of points'),
    ('None', {}, 'a sweep is a list of points'),
    ('over.values("data.source", "jsonl")', {}, r'data\.path is empty'),
    ('over.values("optimizer.warmup_steps", 1, 20)', {}, 'warmup_steps is 20'),
  ],
)
@pytest.mark.parametrize('dry_run', [False, True])
def test_what_cannot_be_swept_is_refused_before_anything_starts(
  trained, write, tmp_path, returned, overrides, message, dry_run
):
  root, asked = tmp_path / 'runs', Asked(DEBUG.path, overrides)
  with pytest.raises(UserError, match=message):
    sweep.main(asked, write(returned), str(root), dry_run=dry_run)
  assert not root.exists()


def test_a_file_that_is_no_sweep_is_refused(trained, tmp_path):
  with pytest.raises(UserError, match=r'no sweep file configs/sweeps/rate\.py'):
    sweep.main(DEBUG, 'configs/sweeps/rate.py', str(tmp_path / 'runs'))
  with pytest.raises(UserError, match='has no get_sweep'):
    sweep.main(DEBUG, 'configs/gpt.py', str(tmp_path / 'runs'))
  with pytest.raises(UserError, match=r'directory of this machine'):
    sweep.main(DEBUG, 'configs/sweeps/shapes.py', 'gs://bucket/runs')


def test_another_sweep_in_the_same_place_is_refused(trained, write, tmp_path):
  root, path = tmp_path / 'runs', write(SIX)
  sweep.main(DEBUG, path, str(root))
  longer = Asked(DEBUG.path, {**DEBUG.overrides, 'num_steps': '8'})
  with pytest.raises(UserError, match=r'holds another sweep:\n.*num_steps'):
    sweep.main(longer, path, str(root))
  with pytest.raises(UserError, match=r'--metric is .f1., which no run has'):
    sweep.main(DEBUG, path, str(root), metric='f1')
  with pytest.raises(UserError, match='have accuracy, loss'):
    sweep.main(DEBUG, path, str(root), metric='lost')


def test_points_are_added_whatever_varied_before(trained, write, tmp_path):
  """Also with other keys, and in another order; but no run may be renamed."""
  root, names = tmp_path / 'runs', 'over.values("optimizer.name", {})'
  for part in (
    names.format('"adamw", "lion"'),
    names.format('"lion", "adamw"'),
    'over.values("model.num_layers", 3)',
  ):
    path = write(f'over.chain({part}, over.values("seed", 1))')
    assert sweep.main(DEBUG, path, str(root)) is None
  once = dict.fromkeys(('name=adamw', 'name=lion', 'num_layers=3', 'seed=1'), 1)
  assert starts(root) == once
  for point, message in (
    ({'optimizer.name': 'lion', 'model.name': 'gpt'}, 'name -> optimizer.name'),
    ({'model.name': 'gpt'}, 'name: optimizer.name -> model.name'),
  ):
    with pytest.raises(UserError, match=re.escape(message)):
      sweep.main(DEBUG, write([point]), str(root))
  assert starts(root) == once


def test_a_config_file_that_has_changed_is_refused(trained, write, tmp_path):
  """Also where all runs have ended, which would not look at it."""
  text, file = (ROOT / 'configs/gpt.py').read_text(), tmp_path / 'gpt.py'
  file.write_text(text)
  asked = Asked(f'{file}:debug', DEBUG.overrides)
  root, path = tmp_path / 'runs', write('over.values("seed", 0)')
  sweep.main(asked, path, str(root))
  found = (
    'def get_config(variant):\n  return {**base(variant), "batch_size": 2}'
  )
  file.write_text(text.replace('def get_config(', 'def base(') + '\n\n' + found)
  with pytest.raises(UserError, match=r'another sweep:\n  config\.batch_size'):
    sweep.main(asked, path, str(root))


def test_a_dry_run_counts_what_all_of_it_takes(write, tmp_path, capsys):
  root = tmp_path / 'runs'
  path = write('over.values("batch_size", 8, 16)')
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(ROOT)
    sweep.main(DEBUG, path, str(root), dry_run=True)
  told = said(capsys)
  # Four steps of 8 and of 16 rows of 128 bytes.
  assert [run['tokens'] for run in told['runs']] == [4096, 8192]
  assert told['tokens'] == 12288
  assert told['runs'][1]['flops'] == 2 * told['runs'][0]['flops'] > 0
  assert [run['run'] for run in told['runs']] == [
    'batch_size=8',
    'batch_size=16',
  ]
  assert not root.exists()
  found = write('over.search(7, over.values("batch_size", 8, 16), prune=False)')
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(ROOT)
    sweep.main(DEBUG, found, str(root), dry_run=True)
  told = said(capsys)
  assert told['tokens'] == 7 * 8192  # At most.
  assert len(told['runs']) == 2


def test_a_dry_run_of_jobs_needs_no_data(trained, write, tmp_path, capsys):
  fields = {'data.source': 'text', 'data.path': '/cluster/*.txt'}
  asked = Asked(DEBUG.path, {**DEBUG.overrides, **fields})
  whole = (asked, write('over.values("seed", 0, 1)'), str(tmp_path / 'runs'))
  with pytest.raises(UserError, match='/cluster'):
    sweep.main(*whole, dry_run=True)
  sweep.main(*whole, dry_run=True, to='slurm', devices=8)
  assert said(capsys) == {
    'runs': [{'run': 'seed=0', 'seed': 0}, {'run': 'seed=1', 'seed': 1}],
    'tokens': None,
    'flops': None,
  }


class Cluster:
  """Takes every job, and runs none.

  Attributes:
    asked: What it was given, in that order.
    alive: The workdirs of the jobs that it has, by their numbers.
  """

  def __init__(self):
    self.asked, self.alive = [], {}

  def start(self, to, job, options):
    self.asked.append(
      (to, job.config.overrides, options.partition, job.devices)
    )
    note = {'to': to, 'id': str(len(self.asked))}
    sweep.given.write(job.workdir, note)
    self.alive[note['id']] = pathlib.Path(job.workdir)
    return note


@pytest.fixture
def cluster(trained, monkeypatch):
  """What stands for SLURM."""
  found = Cluster()
  monkeypatch.setattr(launches, 'start', found.start)
  slurm = launches.PLATFORMS['slurm']
  monkeypatch.setattr(slurm, 'is_alive', lambda note: note['id'] in found.alive)
  monkeypatch.setattr(slurm, 'PROGRAM', sys.executable)
  return found


def put_evaluation(place, step, saved=False):
  """Leaves in a workdir what a run does that was evaluated at a step."""
  line = {'step': step, 'split': 'eval', 'loss': 0.5}
  (place / 'metrics.jsonl').write_text(json.dumps(line) + '\n')
  if saved:
    (place / f'checkpoints/{step}').mkdir(parents=True)
    (place / f'checkpoints/{step}/sums.json').write_text('{}')


def test_each_run_becomes_a_job(cluster, write, tmp_path, capsys):
  root, path = tmp_path / 'runs', write(SIX)
  asked, alive = cluster.asked, cluster.alive
  arguments = {'to': 'slurm', 'partition': 'big', 'devices': 8}
  sweep.main(DEBUG, path, str(root), **arguments)
  assert len(asked) == 6 and said(capsys)['runs'] == {'new': 6}
  assert asked[1] == (
    'slurm',
    {**DEBUG.overrides, 'optimizer.learning_rate': '0.0001', 'seed': '1'},
    'big',
    8,
  )
  # One has ended, one was cut off, the others are under way.
  put_evaluation(alive.pop('1'), 4, saved=True)
  cut_off = alive.pop('2')
  put_evaluation(cut_off, 2)
  assert sweep.main(DEBUG, path, str(root), **arguments) == 1
  told = said(capsys)
  assert told['runs'] == {'ended': 1, 'failed': 1, 'new': 4}
  assert told['best']['loss'] == 0.5
  assert len(asked) == 6
  assert 'job 2 is gone' in (cut_off / 'failed.json').read_text()
  # That was said, so it is tried again.
  assert sweep.main(DEBUG, path, str(root), **arguments) is None
  assert said(capsys)['runs'] == {'ended': 1, 'begun': 1, 'new': 4}
  assert len(asked) == 7 and asked[6][1]['seed'] == '1'
  put_evaluation(alive.pop('7'), 4, saved=True)
  assert sweep.main(DEBUG, path, str(root), **arguments) is None
  assert said(capsys)['runs'] == {'ended': 2, 'new': 4} and len(asked) == 7


def test_what_there_is_can_be_gathered_and_nothing_started(
  cluster, write, tmp_path, capsys
):
  root, path = tmp_path / 'runs', write('over.values("seed", 0, 1, 2)')
  whole = (DEBUG, path, str(root))
  assert sweep.main(*whole, gather=True) is None
  assert said(capsys)['runs'] == {'new': 3} and not starts(root)
  arguments = {'to': 'slurm', 'devices': 8}
  sweep.main(*whole, **arguments)
  put_evaluation(cluster.alive.pop('1'), 4, saved=True)
  cluster.alive.pop('2')
  capsys.readouterr()
  for more in ({}, arguments, {}):  # However often, and however it is asked.
    assert sweep.main(*whole, gather=True, **more) == 1
    assert said(capsys)['runs'] == {'ended': 1, 'failed': 1, 'new': 1}
  assert [row['status'] for row in table(root)] == ['ended', 'failed', 'new']
  assert len(cluster.asked) == 3 and not starts(root)
  # By other hands it was started anew.
  cluster.alive['2'] = root / 'runs/seed=1'
  assert sweep.main(*whole, gather=True) is None
  assert said(capsys)['runs'] == {'ended': 1, 'new': 2}


def test_a_run_that_a_job_has_is_not_trained_here(
  cluster, write, tmp_path, capsys
):
  root, path = tmp_path / 'runs', write('over.values("seed", 0, 1)')
  sweep.main(DEBUG, path, str(root), to='slurm', devices=8)
  assert sweep.main(DEBUG, path, str(root)) is None
  assert said(capsys)['runs'] == {'new': 2} and not starts(root)
  # One is cancelled: that is said, and then it is trained here.
  cluster.alive.pop('2')
  assert sweep.main(DEBUG, path, str(root)) == 1
  assert sweep.main(DEBUG, path, str(root)) is None
  assert said(capsys)['runs'] == {'new': 1, 'ended': 1}
  assert starts(root) == {'seed=1': 1}


def test_a_job_with_a_test_set_ends_with_its_scores(tmp_path):
  run = described.Run(
    'a',
    {'seed': 0},
    {'num_steps': 4, 'task': {'name': 'classify'}, 'data': {'test': 'a.csv'}},
    tmp_path,
  )
  put_evaluation(tmp_path, 4, saved=True)
  assert gathering.status(run) == 'begun'
  (tmp_path / 'test.json').write_text('{"of": {}, "scores": {"accuracy": 0.5}}')
  [row] = gathering.rows([run])
  assert (row['status'], row['test.accuracy']) == ('ended', 0.5)


def test_two_calls_hand_in_no_job_twice_that_fails_at_once(
  trained, write, tmp_path, monkeypatch, capsys
):
  for name, body in (('sbatch', 'echo x >>"$0.calls"; echo 7'), ('squeue', '')):
    program = tmp_path / 'bin' / name
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\n{body}\n')
    program.chmod(0o755)
  monkeypatch.setenv('PATH', f'{program.parent}:{os.environ["PATH"]}')
  root, path = tmp_path / 'runs', write('over.values("seed", 0, 1, 2, 3)')
  told = []
  for _ in range(3):
    status = sweep.main(DEBUG, path, str(root), to='slurm', devices=8)
    calls = (tmp_path / 'bin/sbatch.calls').read_text().count('x')
    told.append((status, said(capsys)['runs'], calls))
  assert told == [
    (None, {'new': 4}, 4),
    (1, {'failed': 4}, 4),
    (None, {'new': 4}, 8),
  ]


@pytest.mark.parametrize('dry_run', [False, True])
def test_a_job_that_cannot_be_is_said_before_the_first_is_handed_in(
  trained, write, tmp_path, dry_run
):
  path = write('over.values("parallel.fsdp", 2, 3)')
  fields = {**DEBUG.overrides, 'parallel.kind': 'mesh', 'parallel.data': '1'}
  fits = {'to': 'slurm', 'devices': 2, 'dry_run': dry_run}
  asked = Asked(DEBUG.path, fields)
  with pytest.raises(UserError, match='are 2 devices, but'):
    sweep.main(asked, path, str(tmp_path / 'runs'), **fits)
  with pytest.raises(UserError, match='--devices is missing'):
    sweep.main(asked, path, str(tmp_path / 'runs'), **fits | {'devices': 0})
  patient = {**DEBUG.overrides, 'eval.patience': '2', 'checkpoint.best': 'loss'}
  with pytest.raises(UserError, match=r'eval\.patience is 2, but'):
    sweep.main(Asked(DEBUG.path, patient), path, str(tmp_path / 'runs'), **fits)
  assert not (tmp_path / 'runs').exists()


def test_flags_of_jobs_need_a_platform(write, tmp_path):
  path = write('over.values("seed", 0)')
  with pytest.raises(UserError, match='--devices is for jobs'):
    sweep.main(DEBUG, path, str(tmp_path / 'runs'), devices=8)
  assert not (tmp_path / 'runs').exists()


@pytest.mark.parametrize('to', ['tpu', 'gke', 'slrm'])
def test_jobs_of_a_sweep_are_of_this_machine_or_of_slurm(to):
  main = flags.signed(sweep.main, [Job, *flags.options_of(to)], ('name',))
  argv = ['--config=configs/gpt.py', '--sweep=a', '--workdir=b', f'--to={to}']
  with pytest.raises(UserError, match=f'--to is .{to}., but'):
    command.parse(main, argv, SECTIONS)


def test_a_job_of_this_machine_that_fails_is_told(
  trained, write, tmp_path, monkeypatch, capsys
):
  fails = lambda to, job, options: {'status': 3}
  monkeypatch.setattr(launches, 'start', fails)
  path = write('over.values("seed", 0)')
  assert sweep.main(DEBUG, path, str(tmp_path / 'runs'), to='local') == 1
  assert said(capsys)['runs'] == {'failed': 1}


@pytest.mark.parametrize('status', [130, 143])
def test_a_job_of_this_machine_that_is_stopped_ends_the_sweep(
  trained, write, tmp_path, monkeypatch, status
):
  started = []

  def stops(to, job, options):
    started.append(job.workdir)
    return {'status': status}

  monkeypatch.setattr(launches, 'start', stops)
  path, root = write('over.values("seed", 0, 1)'), tmp_path / 'runs'
  with pytest.raises(SystemExit) as ended:
    sweep.main(DEBUG, path, str(root), to='local')
  assert ended.value.code == status and len(started) == 1
  assert not [*root.rglob('failed.json')]
  # The time of one being over is no reason for the others.
  times = iter([0.0, 5.0, 5.0, 10.0])
  clock = types.SimpleNamespace(monotonic=lambda: next(times))
  monkeypatch.setattr(sweep, 'time', clock)
  sweep.main(DEBUG, path, str(root), to='local', time_limit='0:00:05')
  assert len(started) == 3 and not [*root.rglob('failed.json')]


def test_names_are_made_of_what_varies_and_do_not_change():
  points = [{'model.name': 'gpt', 'optimizer.name': 'muon', 'seed': 1}]
  [name] = described.names_of(points)
  assert name == 'model.name=gpt,optimizer.name=muon,seed=1'
  more = [*points, {**points[0], 'seed': 2}]
  assert described.names_of(more)[0] == name
  assert described.names_of([{}]) == ['plain']
  unsafe = [{'data.path': 'a/*.txt'}, {'data.path': 'a/?.txt'}]
  names = described.names_of(unsafe)
  assert names[0] != names[1] and all(n.startswith('path=a-') for n in names)
  # Also where the others are not known, as those that Optuna will choose.
  assert [described.name_of(point, ['data.path']) for point in unsafe] == names
  near = [{'seed': 0.12345678}, {'seed': 0.12345679}]
  assert len({*described.names_of(near)}) == 2
  assert len({*described.names_of([{'seed': 1.0}, {'seed': -1.0}])}) == 2
  long = described.names_of([{'data.path': 'x' * 300}])
  assert len(long[0]) <= described.LONGEST


@pytest.mark.parametrize(
  'path', sorted((ROOT / 'configs/sweeps').glob('*.py')), ids=lambda p: p.stem
)
def test_every_sweep_that_is_shipped_can_be(path, monkeypatch, tmp_path):
  monkeypatch.chdir(ROOT)
  points = described.read(str(path))
  if isinstance(points, list):
    assert len(described.runs(DEBUG, points, tmp_path)) == len(points) > 3


def test_pictures_have_an_axis_for_what_is_no_number(tmp_path):
  rows = [
    {
      'run': name,
      'status': 'ended',
      'config.optimizer.name': name,
      'config.optimizer.learning_rate': rate,
      'loss': rate,
    }
    for name, rate in (('adamw', 1e-4), ('muon', 1e-2))
  ]
  gathering.draw(rows, 'loss', tmp_path / 'a.png')
  assert (tmp_path / 'a.png').stat().st_size > 5000
  assert gathering._placed(['muon', 'adamw', True]) == (
    [2, 1, 0],
    {'xticks': range(3), 'xticklabels': ['True', 'adamw', 'muon']},
  )
  assert gathering._placed([4, 2, 4]) == ([4, 2, 4], {'xticks': [2, 4]})
  assert gathering._placed([1e-4, 1e-2])[1] == {'xscale': 'log'}


@pytest.mark.processes
@pytest.mark.slow
def test_six_real_runs_killed_in_the_middle_are_each_done_once(
  write, tmp_path, capsys, monkeypatch
):
  monkeypatch.chdir(ROOT)
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', str(tmp_path / 'jax'))
  monkeypatch.setenv('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')
  fields = {
    'num_steps': '2',
    'optimizer.warmup_steps': '1',
    'optimizer.end_learning_rate': '0',
    'data.cache': str(tmp_path / 'cache'),
    'model.num_layers': '1',
    'log.sample_every': '0',
    'log.boards': '()',
  }
  root, path = tmp_path / 'runs', write(SIX)
  argv = [f'--config={DEBUG.path}', f'--sweep={path}', f'--workdir={root}']
  argv += [f'--config.{key}={value}' for key, value in fields.items()]
  running = subprocess.Popen(
    [sys.executable, '-m', 'experiments.sweep', *argv],
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
    start_new_session=True,
  )
  results = killed_in_the_third(running, root)
  sweep.main(Asked(DEBUG.path, fields), path, str(root))
  assert {p: p.stat().st_mtime_ns for p in results} == results
  rows = table(root)
  assert [row['run'] for row in rows] == NAMES
  for row in rows:
    lines = (root / 'runs' / row['run'] / 'metrics.jsonl').read_text()
    last = json.loads(lines.splitlines()[-1])
    assert (row['status'], row['step'], last['step']) == ('ended', '2', 2)
    assert float(row['loss']) == last['loss']
  assert said(capsys)['runs'] == {'ended': 6}
