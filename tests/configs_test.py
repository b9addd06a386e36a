"""Every config that is shipped can be built."""

import pathlib

import jax
import jax.numpy as jnp
import pytest

from experiments import config_file
from lm import models, objectives
from lm.models.presets import PRESETS
from lm.training import optimizers
from lm.training.sections import SECTIONS
from lm.types import UserError

CONFIGS = pathlib.Path(__file__).parents[1] / 'configs'
VARIANTS = [
  f'gpt.py:{variant}' for variant in ['', 'demo', 'debug', *PRESETS['gpt']]
]


def load(name, **overrides):
  return config_file.load(f'{CONFIGS}/{name}', overrides, SECTIONS)


@pytest.mark.parametrize('name', VARIANTS)
def test_a_config_describes_a_run(name):
  config = load(name).to_dict()
  model = models.build(**(config['model'] | {'vocab_size': 65}))
  tokens = jnp.zeros((1, config['data']['length']), jnp.int32)
  params = jax.eval_shape(model.init, jax.random.key(0), tokens)['params']
  assert config['data']['length'] <= config['model']['max_len']
  objectives.build(**config['objective'])
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
