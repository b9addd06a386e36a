"""The commands, one after another, as a user gives them."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
TEXT = 'All the world is a stage, and all of us are merely players.\n\n'


def call(*command, code=0):
  done = subprocess.run(
    [sys.executable, '-m', *command],
    cwd=ROOT,
    env=os.environ | {'JAX_PLATFORMS': 'cpu'},
    capture_output=True,
    text=True,
  )
  assert done.returncode == code, done.stderr
  return done


def last_line(done):
  return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope='module')
def text(tmp_path_factory):
  path = tmp_path_factory.mktemp('text') / 'text.txt'
  path.write_text(''.join(f'{n}. {TEXT}' for n in range(200)))
  return path


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
  return tmp_path_factory.mktemp('cache')


@pytest.fixture(scope='module')
def run(tmp_path_factory, text, cache):
  workdir = tmp_path_factory.mktemp('run')
  command = [
    'experiments.train',
    '--config=configs/gpt.py:debug',
    f'--workdir={workdir}',
    f'--config.data.cache={cache}',
    '--config.data.source=text',
    f'--config.data.path={text}',
    '--config.num_steps=4',
    '--config.eval.every=2',
    '--config.log.sample_every=4',
    '--config.log.sample_tokens=8',
    '--config.log.boards=()',
    '--config.optimizer.warmup_steps=1',
  ]
  return workdir, last_line(call(*command))


@pytest.mark.processes
@pytest.mark.slow
def test_train_evaluate_generate_and_compare(run, text, tmp_path):
  workdir, trained = run
  assert trained['step'] == 4
  where = f'--workdir={workdir}'
  scored = last_line(call('experiments.evaluate', where))
  assert scored['loss'] == pytest.approx(trained['loss'], rel=1e-6)
  other = call('experiments.evaluate', where, f'--data={text}', '--step=4')
  assert last_line(other)['bits_per_byte'] > 0
  said = call(
    'experiments.generate',
    where,
    '--prompt=All, the',
    '--max_new_tokens=5',
    '--json',
  )
  [reply] = last_line(said)['texts']
  assert reply['prompt'] == 'All, the' and reply['num_tokens'] <= 5
  [sample] = (workdir / 'samples.jsonl').read_text().splitlines()
  assert json.loads(sample)['step'] == 4
  curve = {'step': [4], 'mean': [trained['loss']], 'standard_deviation': [0.0]}
  reference = tmp_path / 'curve.json'
  for mean, code in [(trained['loss'], 0), (trained['loss'] + 1, 1)]:
    curve |= {'mean': [mean], 'tolerance': 0.01}
    reference.write_text(json.dumps(curve))
    call(
      'experiments.compare_curve', where, f'--reference={reference}', code=code
    )


@pytest.mark.processes
def test_a_misspelt_key_ends_with_one_message(tmp_path):
  done = call(
    'experiments.train',
    '--config=configs/gpt.py',
    f'--workdir={tmp_path}/none',
    '--config.optimizer.learning_rat=1',
    code=2,
  )
  assert 'config.optimizer.learning_rate' in done.stderr
  assert 'Traceback' not in done.stderr and done.stdout == ''


@pytest.mark.processes
@pytest.mark.slow
def test_what_stands_behind_a_committed_curve_runs(text, cache, tmp_path):
  before = (ROOT / 'benchmarks/curves/nano.json').read_bytes()
  curve = last_line(
    call(
      'benchmarks.reproduce',
      '--name=nano',
      f'--data={text}',
      '--steps=3',
      '--seeds=2',
      f'--workdir={tmp_path}',
    )
  )
  assert curve['step'] == [3] and curve['seeds'] == 2
  assert (ROOT / 'benchmarks/curves/nano.json').read_bytes() == before
