"""Every config that is shipped can be built."""

import importlib
import pathlib

import jax
import pytest

from experiments import config_file
from lm import models, tasks
from lm.data import datasets
from lm.models import PRESETS
from lm.records import reading
from lm.training import assembly, optimizers, plan
from lm.training.sections import SECTIONS
from lm.types import UserError

CONFIGS = pathlib.Path(__file__).parents[1] / 'configs'
SMALL = {
  'gpt': ['', 'demo', 'debug', 'wikitext'],
  'bert': ['', 'demo', 'debug', 'wikitext'],
  'roberta': ['', 'debug', 'wikitext'],
  't5': ['', 'debug', 'wikitext'],
  'transformer': ['', 'debug'],
}
VARIANTS = [
  f'{name}.py:{variant}'
  for name, small in SMALL.items()
  for variant in [*small, *PRESETS[name]]
]
TASKS = (
  'classification',
  'entities',
  'question_answering',
  'translation',
  'summarisation',
  'dialogue',
)


def variants_of(task):
  """The variants that a config file of a task names, and with each family."""
  module = importlib.import_module(f'configs.{task}')
  families = ('', *(f',{name}' for name in getattr(module, 'FAMILIES', ())))
  return [v + family for v in module.VARIANTS for family in families]


TASK_VARIANTS = [
  f'{task}.py:{variant}' for task in TASKS for variant in variants_of(task)
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
  tested = {name.partition(':')[0] for name in (*VARIANTS, *TASK_VARIANTS)}
  assert files == tested


@pytest.mark.parametrize('name', TASK_VARIANTS)
def test_a_config_describes_a_task(name):
  config = load(name).to_dict()
  task, data = config['task']['name'], config['data']
  assert assembly.is_task(config)
  assert data['format'] in reading.SOURCES[tasks.kind_of(task)]
  assert data['length'] <= config['model']['max_len']
  model = models.build(**config['model'] | {'vocab_size': 1000})
  _, objective = assembly.pair(model, config['objective'], VOCABULARY)
  assert objective.scales
  assert config['checkpoint']['best']
  _, schedule = optimizers.build(
    num_steps=config['num_steps'], **config['optimizer']
  )
  assert 0 < schedule(0) <= config['optimizer']['learning_rate']


def test_a_variant_that_does_not_exist_is_refused():
  with pytest.raises(UserError, match='gpt2-xxl'):
    load('gpt.py:gpt2-xxl')


# What a run of each has, as published. The pattern of what decays leaves out
# biases and the scales of norms.
MATRICES = r'(kernel|embedding|token_type|lora_[ab])$'
NANOGPT = {
  'num_steps': 600_000,
  'optimizer.name': 'adamw',
  'optimizer.learning_rate': 6e-4,
  'optimizer.end_learning_rate': 6e-5,
  'optimizer.schedule': 'cosine',
  'optimizer.warmup_steps': 2000,
  'optimizer.b1': 0.9,
  'optimizer.b2': 0.95,
  'optimizer.weight_decay': 0.1,
  'optimizer.decay': MATRICES,
  'optimizer.clip_norm': 1.0,
  'model.residual_dropout': 0.0,
  'batch_size': 480,
  'data.length': 1024,
}
BERT = {
  'num_steps': 1_000_000,
  'batch_size': 256,
  'short_steps': 900_000,
  'short_length': 128,
  'data.length': 512,
  'data.duplicates': 10,
  'data.packing': 'pairs',
  'data.pair': 'next_sentence',
  'data.short_seq_prob': 0.1,
  'objective.name': 'masked_lm',
  'objective.mask_rate': 0.15,
  'objective.count': 'exact',
  'objective.mask_share': 0.8,
  'objective.random_share': 0.1,
  'objective.next_sentence': True,
  'optimizer.name': 'bert_adam',
  'optimizer.learning_rate': 1e-4,
  'optimizer.end_learning_rate': 0.0,
  'optimizer.schedule': 'linear',
  'optimizer.warmup_steps': 10_000,
  'optimizer.b1': 0.9,
  'optimizer.b2': 0.999,
  'optimizer.eps': 1e-6,
  'optimizer.weight_decay': 0.01,
  'optimizer.decay': MATRICES,
  'optimizer.clip_norm': 1.0,
}
ROBERTA = {
  'num_steps': 500_000,
  'batch_size': 8192,
  'short_steps': 0,
  'data.length': 512,
  'data.duplicates': 0,
  'data.packing': 'sentences',
  'objective.name': 'masked_lm',
  'objective.mask_rate': 0.15,
  'objective.count': 'stochastic',
  'objective.next_sentence': False,
  'optimizer.name': 'adamw',
  'optimizer.learning_rate': 6e-4,
  'optimizer.end_learning_rate': 0.0,
  'optimizer.schedule': 'linear',
  'optimizer.warmup_steps': 24_000,
  'optimizer.b1': 0.9,
  'optimizer.b2': 0.98,
  'optimizer.eps': 1e-6,
  'optimizer.weight_decay': 0.01,
  'optimizer.clip_norm': 0.0,
}
T5 = {
  'num_steps': 524_288,
  'batch_size': 128,
  'data.length': 512,
  'objective.name': 'span_corruption',
  'objective.noise_density': 0.15,
  'objective.mean_span': 3.0,
  'objective.z_loss': 1e-4,
  'optimizer.name': 'adafactor',
  'optimizer.learning_rate': 0.01,
  'optimizer.schedule': 'rsqrt',
  'optimizer.warmup_steps': 10_000,
  'optimizer.decay_rate': 0.8,
  'optimizer.multiply_by_parameter_scale': True,
  'optimizer.weight_decay': 0.0,
  'optimizer.clip_norm': 0.0,
}
VASWANI = {
  'num_steps': 100_000,
  'model.vocab_size': 37_000,
  'model.residual_dropout': 0.1,
  'objective.label_smoothing': 0.1,
  'optimizer.name': 'adamw',
  'optimizer.learning_rate': (512 * 4000) ** -0.5,
  'optimizer.schedule': 'inverse_sqrt',
  'optimizer.warmup_steps': 4000,
  'optimizer.b1': 0.9,
  'optimizer.b2': 0.98,
  'optimizer.eps': 1e-9,
  'optimizer.weight_decay': 0.0,
  'optimizer.clip_norm': 0.0,
}
PUBLISHED = {
  'gpt.py:gpt2': NANOGPT,
  'bert.py:base': BERT,
  'roberta.py:base': ROBERTA,
  'roberta.py:large': ROBERTA
  | {'optimizer.learning_rate': 4e-4, 'optimizer.warmup_steps': 30_000},
  't5.py:base': T5 | {'model.residual_dropout': 0.1},
  't5.py:v1.1-base': T5 | {'model.residual_dropout': 0.0},
  'transformer.py:base': VASWANI,
  'transformer.py:big': VASWANI
  | {
    'num_steps': 300_000,
    'model.residual_dropout': 0.3,
    'optimizer.learning_rate': (1024 * 4000) ** -0.5,
  },
}


@pytest.mark.parametrize('name', PUBLISHED)
def test_a_config_has_the_published_values(name):
  config = load(name)
  found = {}
  for key in PUBLISHED[name]:
    section, _, field = key.rpartition('.')
    found[key] = (config[section] if section else config)[field]
  assert found == PUBLISHED[name]


def test_the_rates_of_t5_and_of_vaswani_are_their_formulas():
  def rate(name):
    config = load(name)
    return optimizers.build(num_steps=config.num_steps, **config.optimizer)[1]

  of_t5, steps = rate('t5.py:base'), (1, 5000, 10_000, 40_000, 500_000)
  for step in steps:
    assert of_t5(step) == pytest.approx(max(step, 10_000) ** -0.5)
  for name, width in (('base', 512), ('big', 1024)):
    found = rate(f'transformer.py:{name}')
    for step in (1, 1000, 4000, 4001, 16_000, 99_999):  # The paper's (3).
      published = width**-0.5 * min(step**-0.5, step * 4000**-1.5)
      assert found(step - 1) == pytest.approx(published, rel=1e-3)
