"""Each variant has the steps that the budget pays for, and no more."""

import dataclasses

import pytest

from lm.comparison import study as studies, terms
from lm.comparison.study import Score
from lm.types import UserError
from tests.comparison import study_test

STUDY = studies.parse('x.py', study_test.LISTED)
PLANNED = {
  'flops_per_step': 600.0,
  'tokens_per_step': 64,
  'flops_per_token': 9.375,
  'parameters': 130,
  'use_of_rows': {'filled': 0.75, 'asked': 5 / 32},
  'bytes_per_device': {'total': 999},
  'layout': [
    {'parameter': 'token/embedding', 'shape': [10, 8]},
    {'parameter': 'decoder/up/kernel', 'shape': [5, 10]},
  ],
}


def derive(unit, budget, **options):
  study = dataclasses.replace(STUDY, unit=unit, budget=budget)
  return terms.derive('a', study, PLANNED, **options)


@pytest.mark.parametrize(
  'unit, budget, options, steps',
  [
    ('tokens', 6400.0, {}, 100),
    ('tokens', 6463.0, {}, 100),  # What is left pays for no step.
    ('flops', 6000.0, {}, 10),
    ('seconds', 30.0, {'seconds_per_step': 0.25}, 120),
    ('tokens', 6400.0, {'share': 0.25}, 25),
  ],
)
def test_the_budget_is_turned_into_steps(unit, budget, options, steps):
  found = derive(unit, budget, **options)
  assert found.steps == steps
  assert found.tokens == 64 * steps and found.flops == 600 * steps
  assert found.warmup_steps == round(steps / 10)
  assert found.without_embeddings == 50
  assert (found.filled, found.asked) == (0.75, 5 / 32)
  assert found.seconds_per_step == options.get('seconds_per_step')


def test_a_budget_for_no_step_is_refused():
  with pytest.raises(UserError, match=r"too small for variant 'a'"):
    derive('flops', 1199.0)


def test_budgets_that_whole_steps_make_unequal_are_refused():
  one = derive('flops', 60_000.0)
  near = one._replace(flops=1.01 * one.flops)
  terms.check_budgets({'a': one, 'b': near}, 'flops')
  far = one._replace(flops=1.1 * one.flops)
  with pytest.raises(UserError, match='not equal terms'):
    terms.check_budgets({'a': one, 'b': far}, 'flops')
  # In seconds, those of the steps count.
  slow = one._replace(seconds_per_step=2.0)
  terms.check_budgets({'a': slow, 'b': slow._replace(flops=1.0)}, 'seconds')
  with pytest.raises(UserError, match='seconds: not equal terms'):
    slower = slow._replace(seconds_per_step=2.1)
    terms.check_budgets({'a': slow, 'b': slower}, 'seconds')


def test_a_run_is_told_what_follows_from_its_terms():
  found = terms.overrides(STUDY, derive('tokens', 6400.0), 0.02, seed=3)
  assert found['num_steps'] == 100 and found['seed'] == 3
  assert found['optimizer.warmup_steps'] == 10
  assert found['eval.every'] == found['checkpoint.every'] == 10
  assert found['checkpoint.keep'] == 1
  assert found['optimizer.learning_rate'] == 0.02
  assert found['optimizer.end_learning_rate'] == 0.002
  assert 'optimizer.learning_rate' not in terms.overrides(
    STUDY, derive('tokens', 6400.0), None, seed=3
  )


def test_what_is_asked_on_the_way_keeps_its_checkpoints():
  asked = (Score('blimp', 'blimp', 'blimp', curve=True),)
  study = dataclasses.replace(STUDY, scores=asked, evaluations=4)
  found = terms.overrides(study, derive('tokens', 6400.0), None, seed=3)
  assert found['checkpoint.every'] == 25
  assert found['checkpoint.keep'] == 5
  # No further evaluation a few steps before the last.
  found = terms.overrides(study, derive('tokens', 6600.0), None, seed=3)
  assert found['num_steps'] == 103 and found['eval.every'] == 26


CONFIGS = {
  'a': {'num_steps': 1, 'model': {'name': 'gpt', 'num_layers': 2}},
  'b': {'num_steps': 1, 'model': {'name': 'gpt', 'num_layers': 4}},
  'c': {'num_steps': 9, 'model': {'name': 'bert', 'num_layers': 4}},
}


def test_every_key_in_which_two_differ_is_told_and_no_other():
  assert terms.differences(CONFIGS, tuned=True) == {
    'model.name': {'a': 'gpt', 'b': 'gpt', 'c': 'bert'},
    'model.num_layers': {'a': 2, 'b': 4, 'c': 4},
  }


def test_a_variant_that_sets_what_the_study_decides_is_refused():
  rate = 'optimizer.learning_rate'
  terms.check_free('post', ('model.norm_position', rate), tuned=False)
  with pytest.raises(UserError, match=f"'post' sets {rate}, but the study"):
    terms.check_free('post', (rate,), tuned=True)
  both = 'optimizer.warmup_steps and seed, but'
  with pytest.raises(UserError, match=both):
    terms.check_free('post', ('optimizer.warmup_steps', 'seed'), tuned=False)


def test_two_variants_that_are_the_same_are_refused():
  terms.check_distinct(CONFIGS, tuned=True)
  # How long a run is follows from the budget.
  same = CONFIGS | {'d': CONFIGS['b'] | {'num_steps': 7}}
  with pytest.raises(UserError, match="'b' and 'd' are the same"):
    terms.check_distinct(same, tuned=True)
  # A learning rate is a choice, where no grid has it.
  faster = CONFIGS['b'] | {'optimizer': {'learning_rate': 0.1}}
  slower = CONFIGS['b'] | {'optimizer': {'learning_rate': 0.01}}
  terms.check_distinct({'b': faster, 'd': slower}, tuned=False)
  with pytest.raises(UserError, match='are the same'):
    terms.check_distinct({'b': faster, 'd': slower}, tuned=True)
