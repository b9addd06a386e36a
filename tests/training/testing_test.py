"""The test set is scored once, with the checkpoint that was chosen."""

import json
import shutil

import pytest

import lm
from lm.training import checkpoint_files, loop, run_log, testing
from tests.training import tiny_task


@pytest.fixture(scope='module')
def done(tmp_path_factory):
  """A run of a task with a test set, its config and its workdir."""
  directory = tmp_path_factory.mktemp('task')
  config = tiny_task.configure(
    directory,
    data__test=tiny_task.write(directory, 24),
    checkpoint__best='loss',
    optimizer__learning_rate=0.05,
  )
  loop.train(config, directory / 'run')
  return config, directory / 'run'


def test_the_chosen_checkpoint_is_scored_and_its_answers_are_kept(done):
  config, workdir = done
  found = testing.outcome(config, workdir)
  lines = run_log.read(workdir / 'metrics.jsonl')
  evals = [line for line in lines if line['split'] == 'eval']
  best = min(evals, key=lambda line: line['loss'])
  assert found['chosen_step'] == best['step'] == lm.load(workdir).step
  assert found['validation']['loss'] == best['loss']
  assert found['validation'].keys().isdisjoint({'split', 'step', 'seconds'})
  with open(config['data']['test']) as file:
    gold = [json.loads(line)['label'] for line in file]
  made = [
    json.loads(line)['prediction']
    for line in (workdir / 'predictions.jsonl').read_text().splitlines()
  ]
  assert len(made) == len(gold) == 24
  right = sum(map(str.__eq__, gold, made)) / len(gold)
  assert found['test']['accuracy'] == pytest.approx(right)
  assert json.loads((workdir / 'test.json').read_text()) == {
    'of': {'step': best['step'], 'data': config['data']['test']},
    'scores': found['test'],
  }


def test_what_was_scored_is_not_scored_again(done, monkeypatch):
  config, workdir = done
  before = testing.outcome(config, workdir)

  def fail(*_, **__):
    raise AssertionError('It is scored again.')

  monkeypatch.setattr(testing, 'assemble', fail)
  assert testing.outcome(config, workdir) == before
  # Of another checkpoint it is, and of another file.
  path = workdir / 'test.json'
  kept = json.loads(path.read_text())
  steps = checkpoint_files.steps(workdir / 'checkpoints')
  for other in ({'step': steps[0] - 1}, {'data': 'elsewhere'}):
    path.write_text(json.dumps(kept | {'of': kept['of'] | other}))
    with pytest.raises(AssertionError, match='again'):
      testing.outcome(config, workdir)
  path.write_text(json.dumps(kept))


def test_without_the_right_answers_there_are_predictions_alone(done, tmp_path):
  config, workdir = done
  unknown = tiny_task.write(tmp_path, 10, labels=False)
  shutil.copytree(workdir, tmp_path / 'run')
  path = tmp_path / 'run/config.json'
  stored = json.loads(path.read_text())
  stored['data']['test'] = unknown
  path.write_text(json.dumps(stored))
  assert testing.outcome(config, tmp_path / 'run')['test'] == {}
  lines = (tmp_path / 'run/predictions.jsonl').read_text().splitlines()
  assert len(lines) == 10


@pytest.mark.parametrize(
  'mesh, parts', [({'data': 1, 'fsdp': 4, 'tensor': 2}, 8), ({'fsdp': 64}, 1)]
)
def test_it_is_scored_on_the_mesh_that_the_run_had_if_that_is_here(
  mesh, parts, done, tmp_path, monkeypatch
):
  config, workdir = done
  shutil.copytree(workdir, tmp_path / 'run')
  (tmp_path / 'run/test.json').unlink(missing_ok=True)
  path = tmp_path / 'run/config.json'
  stored = json.loads(path.read_text())
  stored['parallel'] |= mesh
  path.write_text(json.dumps(stored))
  seen, make = [], testing.task_evaluation.make_examiner

  def watched(*args):
    examine = make(*args)
    return lambda params, *rest: seen.append(params) or examine(params, *rest)

  monkeypatch.setattr(testing.task_evaluation, 'make_examiner', watched)
  got = testing.outcome(config, tmp_path / 'run')['test']
  table = seen[0]['token']['embedding']
  [shard, *_] = table.addressable_shards
  assert table.size == parts * shard.data.size
  monkeypatch.undo()
  expected = testing.outcome(config, workdir)['test']
  assert got['loss'] == pytest.approx(expected['loss'], rel=1e-5)


def test_a_run_without_a_test_set_has_no_scores_of_one(done):
  config, workdir = done
  none = config | {'data': config['data'] | {'test': ''}}
  assert 'test' not in testing.outcome(none, workdir)
