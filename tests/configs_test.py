"""Every config that is shipped can be built."""

import pathlib

import jax
import pytest

from experiments import config_file
from lm import models
from lm.data import datasets
from lm.models.presets import PRESETS
from lm.training import assembly, optimizers, plan
from lm.training.sections import SECTIONS
from lm.types import UserError

CONFIGS = pathlib.Path(__file__).parents[1] / 'configs'
SMALL = {
  'gpt': ['', 'demo', 'debug'],
  'bert': ['', 'demo', 'debug', 'wikitext'],
  'roberta': ['', 'debug', 'wikitext'],
  't5': ['', 'debug', 'wikitext'],
}
VARIANTS = [
  f'{name}.py:{variant}'
  for name, small in SMALL.items()
  for variant in [*small, *PRESETS[name]]
]
VOCABULARY = plan.imagined_vocabulary(1000)


def load(name, **overrides):
  return config_file.load(f'{CONFIGS}/{name}', overrides, SECTIONS)


@pytest.mark.parametrize('name', VARIANTS)
def test_a_config_describes_a_run(name):
  config = load(name).to_dict()
  length = config['data']['length']
  model = models.build(**config['model'] | {'vocab_size': 1000})
  assert config['data']['packing'] in datasets.PACKINGS
  assert length <= model.config.max_len
  model, objective = assembly.pair(model, config['objective'], VOCABULARY)
  batch = plan.imagined_batch(objective, length)
  params = jax.eval_shape(model.init, jax.random.key(0), **batch.inputs)[
    'params'
  ]
  tx, schedule = optimizers.build(
    num_steps=config['num_steps'], **config['optimizer']
  )
  jax.eval_shape(tx.init, params)
  assert 0 < schedule(0) <= config['optimizer']['learning_rate']


def test_all_files_are_tested():
  files = {path.name for path in CONFIGS.glob('*.py')} - {'__init__.py'}
  assert files == {name.partition(':')[0] for name in VARIANTS}


def test_a_variant_that_does_not_exist_is_refused():
  with pytest.raises(UserError, match='gpt2-xxl'):
    load('gpt.py:gpt2-xxl')
