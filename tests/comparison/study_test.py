"""A study that is none is refused before anything runs."""

import pytest

from lm.comparison import study as studies
from lm.types import UserError

LISTED = {
  'question': 'Which?',
  'budget': {'tokens': 1e6},
  'shared': {'batch_size': 8, 'model': {'num_layers': 2}},
  'variants': (
    {'name': 'a', 'config': 'configs/gpt.py', 'model': {'use_bias': False}},
    {'name': 'b', 'config': 'configs/gpt.py', 'batch_size': 4},
  ),
}


def test_a_variant_is_a_config_and_the_fields_that_make_it():
  study = studies.parse('x.py', LISTED)
  first, second = study.variants
  assert (study.unit, study.budget, study.seeds) == ('tokens', 1e6, 3)
  assert first.overrides == {
    'batch_size': 8,
    'model.num_layers': 2,
    'model.use_bias': False,
  }
  # What a variant says counts more than what all are told.
  assert second.overrides == {'batch_size': 4, 'model.num_layers': 2}


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'variants': ()}, 'no variants'),
    ({'budgets': {'tokens': 1}}, 'lists budgets, which no study has'),
    ({'budget': {'hours': 1}}, 'one number, of flops, tokens, seconds'),
    ({'budget': {'tokens': 1, 'flops': 1}}, 'it is one number'),
    ({'budget': {'tokens': 0}}, 'a budget of 0 tokens is none'),
    ({'budget': {'tokens': float('inf')}}, 'a budget of inf tokens is none'),
    ({'seeds': 0}, 'seeds is 0'),
    ({'seeds': 2.5}, 'seeds is 2.5, but it is a whole number'),
    ({'evaluations': 0}, 'evaluations is 0'),
    ({'warmup': 1.0}, 'warmup is 1, but it is a share'),
    ({'tuning': {'learning_rates': (0.1, 0.1)}}, 'are 0.1, 0.1, but they are'),
    ({'tuning': {'learning_rates': (0.1, 0.0)}}, 'numbers above 0'),
    ({'variants': ('gpt',)}, "a variant is 'gpt', but it has a name"),
    ({'tuning': {'learning_rates': (1.0,), 'share': 2}}, 'share is 2'),
    ({'variants': ({'name': 'a'},)}, 'a variant has no config'),
    ({'tuning': {'learning_rate': (1.0,)}}, 'tuning lists learning_rate; it'),
    ({'scores': ({'name': 'x', 'task': 'y'},)}, 'data, name, task cannot'),
    (
      {'scores': ({'name': 'loss', 'task': 'blimp', 'data': 'x'},)},
      "two of the scores are called 'loss'",
    ),
    ({'tasks': ({'name': 'x', 'task': 'y'},)}, 'a task lists'),
    (
      {'variants': LISTED['variants'][:1] * 2},
      "two of the variants are called 'a'",
    ),
    (
      {'variants': ({'name': 'a/b', 'config': 'c.py'},)},
      "called 'a/b', but it names a folder",
    ),
  ],
)
def test_what_is_no_study_is_refused(changes, message):
  with pytest.raises(UserError, match=message):
    studies.parse('x.py', LISTED | changes)


@pytest.mark.parametrize('missing', ['question', 'budget', 'variants'])
def test_what_a_study_needs_is_missed(missing):
  listed = {key: value for key, value in LISTED.items() if key != missing}
  with pytest.raises(UserError, match=f'does not say {missing}'):
    studies.parse('x.py', listed)
