"""A comparison goes on where it was, and what fails stops nothing else."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from experiments import cells, compare
from lm.comparison import results
from lm.training import metrics_reader, run_log
from lm.types import UserError
from tests.comparison import terms_test

ROOT = pathlib.Path(__file__).parents[2]
STUDY = """
def get_config(variant):
  shared = {
    'batch_size': 8,
    'model': {
      'num_layers': 1, 'num_heads': 2, 'head_dim': 8, 'embed_dim': 16,
      'mlp_dim': 32,
    },
    'data': {'length': 32, 'cache': CACHE},
    'log': {'every': 1},
  }
  return {
    'question': 'Which of them works?',
    'budget': {'tokens': 8 * 32 * 5.0},
    'seeds': 2,
    'evaluations': 2,
    'tuning': {'learning_rates': (1e-3, 1e-2), 'share': 0.5},
    'shared': shared,
    'variants': (
      {'name': 'plain', 'config': 'configs/gpt.py:debug'},
      {'name': 'rms', 'config': 'configs/gpt.py:debug', 'model.norm': 'rms'},
    ),
  }
"""

TASK = """    'shared': shared,
    'tasks': ({
      'name': 'words',
      'config': 'configs/classification.py:debug',
      'metric': 'accuracy',
      'overrides': {
        'num_steps': 2,
        'data.format': 'jsonl',
        'data.train': '{data}/words.jsonl',
        'data.validation': '{data}/words.jsonl',
        'data.length': 16,
        'optimizer.warmup_steps': 1,
      },
    },),"""


@pytest.fixture
def study(tmp_path, monkeypatch):
  """The path of a study whose second variant fails where a file says so."""
  monkeypatch.chdir(ROOT)
  path = tmp_path / 'study.py'
  path.write_text(STUDY.replace('CACHE', repr(str(tmp_path / 'cache'))))
  return path


def changed(study, old, new):
  text = study.read_text()
  assert old in text
  study.write_text(text.replace(old, new))


def said(capsys):
  return json.loads(capsys.readouterr().out.splitlines()[-1])


def rows(workdir):
  return [
    {k: v for k, v in row.items() if k not in run_log.TIME_FIELDS}
    for row in run_log.read(workdir / 'metrics.jsonl')
  ]


@pytest.mark.processes
@pytest.mark.slow
def test_one_that_is_killed_goes_on_and_each_run_is_as_it_is_alone(
  study, tmp_path, capsys
):
  root = tmp_path / 'runs'
  command = [sys.executable, '-m', 'experiments.compare']
  command += [f'--config={study}', f'--workdir={root}']

  def start_until(path):
    # In a session of its own, so that its runs can be killed with it.
    started = subprocess.Popen(command, start_new_session=True)
    limit = time.monotonic() + 300
    while not path.exists():
      assert started.poll() is None and time.monotonic() < limit
      time.sleep(0.05)
    return started

  begun = start_until(results.trial_of(root, 'plain', 1e-3) / 'config.json')
  begun.send_signal(signal.SIGTERM)  # And the run that it has started stops.
  assert begun.wait(100) == 128 + signal.SIGTERM
  started = start_until(results.cell_of(root, 'plain', 0) / 'result.json')
  os.killpg(started.pid, signal.SIGKILL)
  started.wait()
  ended = {path: path.stat().st_mtime_ns for path in root.rglob('result.json')}
  assert len(ended) == 5  # Four trials, and a run.

  compare.main(str(study), str(root))
  told = said(capsys)
  assert told['failures'] == 0
  assert {p: p.stat().st_mtime_ns for p in ended} == ended
  assert {each['n'] for each in told['table']['loss'].values()} == {2}
  report = (root / 'report.html').read_text()
  assert 'Which of them works?' in report and 'model.norm' in report
  found = json.loads((root / 'report.json').read_text())
  assert found['differences'] == {
    'model.norm': {'plain': 'layer', 'rms': 'rms'}
  }
  assert found['comparable'] == ['loss', 'bits_per_byte']
  interval, _ = found['intervals']
  means = [found['table']['loss'][name]['mean'] for name in ('plain', 'rms')]
  assert interval['estimate'] == pytest.approx(means[1] - means[0])
  for name, losses in found['trials'].items():
    assert found['rates'][name] == float(min(losses, key=losses.get))

  # The command of a run, typed by a user.
  log = (root / 'cells/rms/seed-1/config.json').read_text()
  rate = json.loads(log)['optimizer']['learning_rate']
  read = compare.read(str(study), 0, 0.0, '')
  fields = {
    **read.variants[1].overrides,
    'num_steps': 5,
    'optimizer.warmup_steps': 1,
    'optimizer.learning_rate': rate,
    'optimizer.end_learning_rate': rate / 10,
    'eval.every': 3,
    'checkpoint.every': 3,
    'seed': 1,
  }
  argv = ['--config=configs/gpt.py:debug', f'--workdir={tmp_path}/alone']
  command = [sys.executable, '-m', 'experiments.train', *argv]
  subprocess.run(command + cells.flags(fields), check=True)
  alone, within = tmp_path / 'alone', root / 'cells/rms/seed-1'
  assert rows(alone) == rows(within)


@pytest.mark.processes
@pytest.mark.slow
def test_what_fails_is_told_and_the_others_are_fine_tuned(
  study, tmp_path, capsys
):
  changed(study, '(1e-3, 1e-2)', '(1e-3,)')
  changed(study, "'seeds': 2", "'seeds': 1")
  changed(study, "'rms'}", "'rms', 'log.every': 0}")
  changed(study, "    'shared': shared,", TASK)
  rows = [{'text': word, 'label': word} for word in ('yes', 'no') * 8]
  lines = '\n'.join(json.dumps(row) for row in rows)
  (tmp_path / 'words.jsonl').write_text(lines)
  root = tmp_path / 'runs'
  compare.main(str(study), str(root), data=str(tmp_path))
  told = said(capsys)
  assert told['failures'] == 1
  assert {'loss', 'words'} <= told['table'].keys()
  assert all(own.keys() == {'plain'} for own in told['table'].values())
  found = json.loads((root / 'report.json').read_text())
  [failure] = found['failures']
  assert failure['where'] == 'cells/rms/seed-0' and failure['status'] != 0
  assert 'experiments.train' in failure['command']
  assert found['comparable'][0] == 'words'
  [used] = found['peak_bytes']['plain']
  assert used > 10e6  # Of a process with JAX.
  report = (root / 'report.html').read_text()
  assert 'What failed' in report and 'after fine-tuning' in report
  # It goes on with what was trained, and not with new parameters.
  tuned = root / 'cells/plain/seed-0/tasks/words'
  config = json.loads((tuned / 'config.json').read_text())
  assert config['init_from'] == str(tuned.parents[1])
  assert config['model']['embed_dim'] == 16


def test_a_dry_run_says_what_each_is_given(study, tmp_path, capsys):
  compare.main(str(study), str(tmp_path / 'runs'), dry_run=True)
  told = said(capsys)
  assert {each['steps'] for each in told.values()} == {5}
  assert not (tmp_path / 'runs').exists()


@pytest.mark.parametrize(
  'old, new, message',
  [
    ("'rms'}", "'layer'}", "'plain' and 'rms' are the same"),
    ('32 * 5.0', '31', "too small for variant 'plain'"),
    ("'log': {'every'", "'log': {'ever'", r'There is no config\.log\.ever'),
    ("'budget'", "'budgets'", 'lists budgets'),
  ],
)
def test_what_cannot_be_compared_is_refused_before_anything_runs(
  old, new, message, study, tmp_path
):
  changed(study, old, new)
  with pytest.raises(UserError, match=message):
    compare.main(str(study), str(tmp_path / 'runs'))
  assert not (tmp_path / 'runs').exists()


def test_a_run_that_is_not_there_is_refused(study):
  read = compare.read(str(study), 0, 0.0, '')
  with pytest.raises(UserError, match='plain/0, rms/0, plain/1, rms/1'):
    compare.choose(read, ('rms/2',))


def test_runs_are_chosen_by_name_and_seed(study):
  read = compare.read(str(study), 0, 0.0, '')
  names = lambda only: [
    (each.name, seed) for each, seed in compare.choose(read, only)
  ]
  assert names(('rms', 'plain/1')) == [('rms', 0), ('plain', 1), ('rms', 1)]
  assert len(names(())) == 4


def test_data_that_are_missing_are_named_before_anything_runs(study, tmp_path):
  changed(study, "    'shared': shared,", TASK)
  with pytest.raises(UserError, match=r'has no .*words\.jsonl'):
    compare.main(str(study), str(tmp_path / 'runs'), data=str(tmp_path))
  assert not (tmp_path / 'runs').exists()


@pytest.fixture
def stubbed(monkeypatch):
  """Runs that are not trained: by what is in `failing` they fail instead."""
  failing: dict[str, int] = {}
  trained = []

  def once(path, name, argv, place, stop=None):
    if path.exists():
      return json.loads(path.read_text())
    place.mkdir(parents=True, exist_ok=True)
    where = '/'.join(place.parts[-3:])
    trained.append(where)
    if where in failing:
      told = {'command': name, 'status': failing[where], 'last_lines': []}
      (place / cells.FAILED).write_text(json.dumps(told))
      return None
    (place / cells.FAILED).unlink(missing_ok=True)
    path.write_text('{"loss": 2.0}')
    (place / 'metrics.jsonl').touch()
    return {'loss': 2.0}

  planned = terms_test.PLANNED | {'tokens_per_step': 8 * 32}
  monkeypatch.setattr(cells, 'once', once)
  monkeypatch.setattr(compare, 'planned_of', lambda variant: planned)
  return failing, trained


def test_a_trial_that_failed_is_tried_again_and_the_others_are_not(
  study, stubbed, tmp_path, capsys
):
  failing, trained = stubbed
  failing['tuning/rms/0.01'] = UserError.status  # As with a bad checkpoint.
  root = tmp_path / 'runs'
  assert compare.main(str(study), str(root)) == 1
  assert said(capsys)['failures'] == 1
  assert not any(name.startswith('cells/rms') for name in trained)
  assert json.loads((root / 'report.json').read_text())['rates']['rms'] is None
  trained.clear()
  failing.clear()
  compare.main(str(study), str(root))
  assert said(capsys)['failures'] == 0
  assert trained == ['tuning/rms/0.01', 'cells/rms/seed-0', 'cells/rms/seed-1']


def test_a_trial_that_diverged_is_one_with_no_loss(
  study, stubbed, tmp_path, capsys
):
  failing, trained = stubbed
  failing['tuning/rms/0.01'] = UserError.status
  place = tmp_path / 'tuning/rms/0.01'
  place.mkdir(parents=True)
  (place / metrics_reader.NONFINITE.format(step=3)).touch()
  assert compare.main(str(study), str(tmp_path)) is None
  assert said(capsys)['failures'] == 0
  assert 'cells/rms/seed-1' in trained
  assert (tmp_path / 'tuning/rms/rate.json').read_text() == '0.001'


def test_a_job_of_one_run_says_how_it_ended(study, stubbed, tmp_path, capsys):
  failing, trained = stubbed
  failing['cells/rms/seed-1'] = 1
  assert compare.main(str(study), str(tmp_path), only=('rms/0',)) is None
  told = said(capsys)
  assert told == {'runs': {'rms/0': {'loss': 2.0}}, 'failures': []}
  assert trained[-1] == 'cells/rms/seed-0' and len(trained) == 3
  assert compare.main(str(study), str(tmp_path), only=('rms',)) == 1
  told = said(capsys)
  assert told['runs'] == {'rms/0': {'loss': 2.0}, 'rms/1': None}
  assert told['failures'] == ['cells/rms/seed-1']


def test_a_score_that_is_no_task_is_refused_and_its_metric_can_be_mended(
  study, stubbed, tmp_path
):
  score = "    'scores': ({'name': 's', 'task': 'blimp', 'data': 'x.zip'},),\n"
  changed(study, "    'shared': shared,", score + "    'shared': shared,")
  (tmp_path / 'x.zip').touch()
  run = lambda: compare.main(str(study), str(tmp_path), data=str(tmp_path))
  changed(study, "'blimp'", "'bleu'")
  with pytest.raises(UserError, match=r"'s' has the task 'bleu'.*blimp"):
    run()
  changed(study, "'bleu'", "'blimp', 'metric': 'acc'")
  compare.results.check_same(
    tmp_path,
    compare.in_common(compare.read(str(study), 0, 0.0, str(tmp_path)), {}),
    growing=compare.results.ASKED,
  )
  changed(study, "'acc'", "'accuracy', 'curve': True")
  compare.results.check_same(
    tmp_path,
    compare.in_common(compare.read(str(study), 0, 0.0, str(tmp_path)), {}),
    growing=compare.results.ASKED,
  )


@pytest.mark.processes
@pytest.mark.slow
def test_a_budget_of_seconds_is_turned_into_steps_once(study, tmp_path):
  changed(study, "{'tokens': 8 * 32 * 5.0}", "{'seconds': 2.0}")
  changed(study, "      {'name': 'rms', 'config'", '      #')
  plan = lambda: compare.make_plan(
    compare.read(str(study), 0, 0.0, ''), tmp_path, dry_run=False
  )
  first = plan().terms['plain']
  metrics = tmp_path / 'timing/plain/metrics.jsonl'
  before = metrics.stat().st_mtime_ns
  assert first.steps == int(2.0 / first.seconds_per_step) > 2
  assert plan().terms['plain'] == first
  assert metrics.stat().st_mtime_ns == before
