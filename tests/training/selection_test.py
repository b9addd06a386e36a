"""Runs end when nothing better comes, and are used where they were best."""

import contextlib
import json
import shutil

import jax
import numpy as np
import pytest

import lm
from lm.training import checkpoint_files, checkpoints, loop, run_log
from lm.training.checkpoints import Checkpoints
from lm.training.selection import Patience
from lm.types import UserError
from tests import tiny_run
from tests.training import tiny_task


def patient(patience, best='f1'):
  return {'eval': {'patience': patience}, 'checkpoint': {'best': best}}


def stops_at(scores, patience, workdir, best='f1'):
  """Returns after which evaluation a run ends; None: after none of them."""
  enough = Patience(patient(patience, best), workdir)
  for number, score in enumerate(scores):
    if enough.after({best: score}):
      return number
  return None


@pytest.mark.parametrize(
  'scores, patience, best, expected',
  [
    ([0.1, 0.3, 0.2, 0.25, 0.9], 2, 'f1', 3),
    ([0.1, 0.3, 0.2, 0.4, 0.3, 0.3], 2, 'f1', 5),
    ([0.9, 0.5, 0.6, 0.7], 2, 'loss', 3),
    ([0.1, 0.2, 0.3], 2, 'loss', 2),
    ([0.1, 0.2, 0.3], 2, 'f1', None),
    ([0.5, 0.5, 0.5], 2, 'f1', 2),  # As good is not better.
    ([0.5, float('nan'), float('nan')], 2, 'f1', 2),
    ([0.3, 0.2, 0.1, 0.0], 0, 'f1', None),
    ([0.3, 0.2], 1, 'f1', 1),
  ],
)
def test_a_run_ends_after_so_many_evaluations_that_are_no_better(
  scores, patience, best, expected, tmp_path
):
  assert stops_at(scores, patience, tmp_path, best) == expected


def test_patience_needs_to_know_what_is_better(tmp_path):
  with pytest.raises(
    UserError, match=r'patience is 2, .*config.checkpoint.best'
  ):
    Patience(patient(2, ''), tmp_path)


@pytest.mark.parametrize('interrupted', range(1, 6))
def test_one_that_is_interrupted_ends_there_too(interrupted, tmp_path):
  scores = [0.1, 0.4, 0.2, 0.5, 0.3, 0.1, 0.2]  # The sixth is the last.
  with (tmp_path / 'metrics.jsonl').open('w') as file:
    for step, score in enumerate(scores[:interrupted]):
      line = {'step': step, 'split': 'eval', 'f1': score}
      file.write(json.dumps({'step': step, 'split': 'train'}) + '\n')
      file.write(json.dumps(line) + '\n')
  enough = Patience(patient(2), tmp_path)
  assert len(enough.steps(interrupted, 20)) == 20 - interrupted
  rest = [enough.after({'f1': score}) for score in scores[interrupted:6]]
  assert rest == [False] * (5 - interrupted) + [True]


def evals(workdir):
  lines = run_log.read(workdir / 'metrics.jsonl')
  return [
    (line['step'], line['loss'], line['accuracy'])
    for line in lines
    if line['split'] == 'eval'
  ]


@pytest.mark.slow
def test_a_run_that_is_interrupted_ends_at_the_same_step(tmp_path):
  def config(num_steps):
    return tiny_task.configure(
      tmp_path,
      num_steps=num_steps,
      eval__every=1,
      eval__patience=3,
      checkpoint__every=1,
      checkpoint__keep=100,
      checkpoint__best='accuracy',
      optimizer__schedule='constant',
      optimizer__warmup_steps=0,
      optimizer__learning_rate=0.03,
    )

  whole, parts = tmp_path / 'whole', tmp_path / 'parts'
  loop.train(config(60), whole)
  expected = evals(whole)
  last = expected[-1][0]
  assert 4 <= last < 60  # It did end early.
  best = max(accuracy for *_, accuracy in expected)
  first_best = next(step for step, _, a in expected if a == best)
  assert last == first_best + 3
  loop.train(config(2), parts)
  loop.train(config(last - 1), parts)
  # Killed before a checkpoint, it has evaluated more than it goes on from.
  shutil.rmtree(parts / 'checkpoints' / str(last - 1))
  loop.train(config(60), parts)
  assert evals(parts) == expected
  found = [
    checkpoints.restore_params(place / 'checkpoints', last)[0]
    for place in (whole, parts)
  ]
  for ours, theirs in zip(*map(jax.tree.leaves, found)):
    np.testing.assert_array_equal(ours, theirs)
  # And it has ended: the same again does nothing.
  before = (parts / 'metrics.jsonl').read_bytes()
  loop.train(config(60), parts)
  assert (parts / 'metrics.jsonl').read_bytes() == before
  assert lm.load(whole).step == first_best


# F1 is highest at step 2, the loss lowest at step 3.
MEASURED = {
  1: {'f1': 0.2, 'loss': 0.9},
  2: {'f1': 0.8, 'loss': 0.5},
  3: {'f1': 0.6, 'loss': 0.1},
  4: {'f1': 0.1, 'loss': 0.7},
}


def write(workdir, best, keep=1):
  """Writes a run whose parameters differ from step to step."""
  tiny_run.write(workdir, steps=())
  config = json.loads((workdir / 'config.json').read_text())
  config['checkpoint'] = {'best': best}
  (workdir / 'config.json').write_text(json.dumps(config))
  opened = Checkpoints(workdir / 'checkpoints', keep=keep, best=best)
  with contextlib.closing(opened):
    for step, metrics in MEASURED.items():
      state = {'params': tiny_run.params_of_step(step)}
      opened.save(step, state, {'examples': step}, metrics)


@pytest.mark.parametrize('best, expected', [('f1', 2), ('loss', 3), ('', 4)])
def test_what_is_loaded_is_the_highest_f1_or_the_lowest_loss(
  best, expected, tmp_path
):
  write(tmp_path, best)
  there = checkpoint_files.steps(tmp_path / 'checkpoints')
  assert there == sorted({expected, 4})
  found = lm.load(tmp_path)
  assert found.step == expected
  own = tiny_run.params_of_step(expected)
  for ours, theirs in zip(jax.tree.leaves(found.params), jax.tree.leaves(own)):
    np.testing.assert_array_equal(ours, theirs)
  assert lm.load(tmp_path, step=4).step == 4
