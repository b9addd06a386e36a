"""Scores are over the whole set, exactly."""

import functools
import json

import jax
import numpy as np
import pytest

from experiments import config_file
from lm.training import assembly, evaluation, means
from lm.training.sections import SECTIONS, Eval
from lm.training.step import make_eval_step
from lm.types import Batch, UserError
from tests.models import tiny


def test_means_are_sums_over_weights_and_undefined_without_weight():
  got = means.of({'loss': (np.float32(3), np.float32(4)), 'none': (0.0, 0.0)})
  assert got['loss'] == 0.75
  assert np.isnan(got['none'])


def given(sums):
  """What an evaluation over batches with these sums and weights gives."""
  return means.over({'loss': pair} for pair in sums)


def test_sums_of_many_batches_are_added_in_double_precision():
  # In float32 a sum of 2^25 stays where it is when 1 is added.
  sums = [(np.float32(2**25), np.float32(1))] + [(np.float32(1),) * 2] * 1000
  assert given(sums) == {'loss': (2**25 + 1000) / 1001}


def test_every_batch_counts_once_and_by_its_weight():
  sums = [(1.0, 1.0), (10.0, 2.0), (0.0, 0.0), (7.0, 3.0)]
  assert given(sums) == {'loss': 18 / 6}


def test_a_limit_leaves_the_first_batches_of_a_text(monkeypatch):
  fields = {'data.length': 8, 'data.validation': 0.5}
  config = config_file.load('configs/gpt.py:debug', fields, SECTIONS)
  parts = assembly.assemble(config.to_dict())
  total = lambda batch: batch.inputs['tokens'].sum() * 1.0
  step = lambda params, batch: {'loss': (total(batch), 1.0)}
  monkeypatch.setattr(evaluation, 'make_eval_step', lambda *parts: step)
  batch_at, count = assembly.feed(parts, 'validation', parts.run.batch_size)
  totals = [total(batch_at(number)) for number in range(count)]
  assert len(set(totals)) > 3
  for batches, taken in ((0, count), (2, 2), (count + 1, count)):
    score = evaluation.make_scorer(parts, Eval(batches=batches))
    assert score({})['loss'] == pytest.approx(np.mean(totals[:taken]))
  with pytest.raises(UserError, match=r'eval\.batches is -1'):
    evaluation.make_scorer(parts, Eval(batches=-1))


def test_a_task_is_scored_on_all_of_its_records(tmp_path):
  records = tmp_path / 'some.jsonl'
  lines = [{'text': f'so {n}', 'label': 'ab'[n % 2]} for n in range(20)]
  records.write_text('\n'.join(map(json.dumps, lines)))
  fields = {'data.train': str(records), 'data.format': 'jsonl'}
  path = 'configs/classification.py:debug'
  config = config_file.load(path, fields, SECTIONS)
  parts = assembly.assemble(config.to_dict())
  with pytest.raises(UserError, match=r'eval\.batches is 3, but a task'):
    evaluation.make_scorer(parts, Eval(batches=3))


@pytest.fixture(scope='module')
def scored():
  """Returns a function of the batch size: scores of the same ten rows."""
  model, objective = tiny.gpt(), tiny.causal_lm()
  tokens = tiny.tokens(10, 9)
  held = np.array([9, 9, 3, 9, 9, 9, 9, 9, 9, 2])
  examples = {
    'tokens': tokens,
    'valid': np.arange(9) < held[:, None],
    'bytes': tokens % 4,
  }
  whole = objective.prepare(examples, np.arange(10), 0)
  step = tiny.quick_jit(make_eval_step(model, objective))

  def cut(start, size):
    def rows(leaf):
      missing = max(start + size - 10, 0)
      return np.pad(leaf[start : start + size], [(0, missing), (0, 0)])

    return Batch(*(jax.tree.map(rows, part) for part in whole))

  @functools.cache
  def score(size):
    batches = (cut(start, size) for start in range(0, 10, size))
    params = tiny.params_of(model)
    return means.over(step(params, batch) for batch in batches)

  return score


def test_a_ragged_last_batch_is_filled_with_what_weighs_nothing(scored):
  whole, ragged = scored(10), scored(4)
  assert set(whole) == {'loss', 'accuracy', 'bits_per_byte'}
  assert 0 < whole['accuracy'] < 1
  for name, value in whole.items():
    np.testing.assert_allclose(ragged[name], value, rtol=1e-6)
