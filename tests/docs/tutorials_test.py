"""Whoever follows a tutorial to the letter has what it promises."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.docs import markdown

TUTORIALS = markdown.ROOT / 'docs/tutorials'


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize(
  'name, changed, metrics',
  [
    ('add_an_objective', 'lm/objectives/__init__.py', {'loss', 'accuracy'}),
    ('add_a_model_variant', 'lm/models/__init__.py', {'loss', 'bits_per_byte'}),
    (
      'add_a_task',
      'lm/tasks/__init__.py',
      {'loss', 'exact_match', 'unchanged'},
    ),
  ],
)
def test_one_file_and_one_entry_are_all_that_it_takes(
  name, changed, metrics, tmp_path
):
  page = TUTORIALS / f'{name}.md'
  for folder in ('lm', 'experiments', 'configs'):
    ignore = shutil.ignore_patterns('__pycache__')
    shutil.copytree(markdown.ROOT / folder, tmp_path / folder, ignore=ignore)
  files = [*markdown.files(page)]
  made = [file.path for file in files if file.language == 'python']
  assert len(made) == 1
  assert {file.path for file in files if file.language == 'diff'} == {changed}
  for file in files:
    markdown.put(file, tmp_path)
  # As few steps as there can be; all else is as it is typed.
  shorter = ['--config.num_steps=4', '--config.eval.every=2']
  shorter += [
    '--config.checkpoint.every=2',
    '--config.optimizer.warmup_steps=1',
  ]
  environment = {**os.environ, 'PYTHONPATH': str(tmp_path)}
  for command in markdown.commands(page):
    python, *argv = command.argv
    assert python == 'python'
    more = shorter if 'experiments.train' in argv else []
    done = subprocess.run(
      [sys.executable, *argv, *more],
      cwd=tmp_path,
      env=environment,
      capture_output=True,
      text=True,
      check=False,
    )
    assert done.returncode == 0, f'{command}\n{done.stderr}'
  [workdir] = (tmp_path / 'runs').iterdir()
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  last = json.loads(lines[-1])
  assert last['step'] == 4 and last['split'] == 'eval'
  assert metrics <= last.keys()


@pytest.mark.processes
def test_the_example_in_python_trains_and_writes(tmp_path):
  [file] = markdown.files(TUTORIALS / 'in_python.md')
  markdown.put(file, tmp_path)
  done = subprocess.run(
    [sys.executable, file.path],
    cwd=tmp_path,
    env={**os.environ, 'PYTHONPATH': str(markdown.ROOT)},
    capture_output=True,
    text=True,
    check=False,
  )
  assert not done.returncode, done.stderr
  loss, shape, *reply = done.stdout.splitlines()
  assert float(loss.removeprefix('nats per token: ')) < 5
  assert shape.endswith(', 500)') and ''.join(reply)
