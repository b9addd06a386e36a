"""The configs of what is written describe runs that can be made."""

import pathlib

import jax
import numpy as np
import pytest

from experiments import config_file
from lm import models, tasks
from lm.data import buckets, tokenizers
from lm.records import reading
from lm.tasks.task import Reader
from lm.training import assembly, optimizers
from lm.training.sections import SECTIONS
from lm.types import UserError

CONFIGS = pathlib.Path(__file__).parents[2] / 'configs'
TALKS = ['mine', 'dailydialog', 'kdconv', 'chatterbot', 'instructions', 'debug']
VARIANTS = {
  'translation': ['', 'mine', 'multi30k', 'tatoeba', 'wmt14', 't5', 'debug'],
  'summarisation': ['', 'mine', 'cnn_dailymail', 'xsum', 'debug'],
  'dialogue': ['', *TALKS, *(f'{name},t5' for name in TALKS)],
}
NAMES = [f'{name}.py:{v}' for name, all in VARIANTS.items() for v in all]
ROW = {'id': '', 'where': '', 'source': 'a', 'target': 'b', 'turns': ['a', 'b']}
BYTES = tokenizers.train('bytes', ['a'])


def load(name):
  return config_file.load(f'{CONFIGS}/{name}', {}, SECTIONS).to_dict()


@pytest.mark.parametrize('name', NAMES)
def test_a_config_describes_a_run(name):
  config = load(name)
  data, task_name = config['data'], config['task']['name']
  kind = tasks.kind_of(task_name)
  assert data['format'] in reading.SOURCES[kind]
  model, objective = assembly.pair(
    models.build(**config['model'] | {'vocab_size': BYTES.vocab_size}),
    config['objective'],
    BYTES.vocabulary,
  )
  sizes = data['length'], data['target_length']
  reader = Reader(BYTES, model.form, 'answers', *sizes)
  task = tasks.build(reader=reader, train=lambda: (ROW,), **config['task'])
  assembly.check_room(reader, model.config.max_len, task.writing)
  table = task.encode([ROW])
  widths = buckets.widths(dict(zip(('source', 'target'), sizes)))
  row = np.zeros(1, int)
  batch = objective.prepare(table.examples(row, widths[-1]), row, 0)
  assert batch.weights['tokens'].sum() == 2  # b, and the end.
  jax.eval_shape(model.init, jax.random.key(0), **batch.inputs)
  optimizers.build(num_steps=config['num_steps'], **config['optimizer'])
  scores = {'loss', 'bleu', 'rouge2'}  # Tested beside the metrics.
  assert config['checkpoint']['best'] in scores


VASWANI = {
  'num_steps': 100_000,
  'data.vocab_size': 37_000,
  'model.residual_dropout': 0.1,
  'objective.label_smoothing': 0.1,
  'optimizer.learning_rate': (512 * 4000) ** -0.5,
  'optimizer.schedule': 'inverse_sqrt',
  'optimizer.warmup_steps': 4000,
  'optimizer.b1': 0.9,
  'optimizer.b2': 0.98,
  'optimizer.eps': 1e-9,
  'optimizer.clip_norm': 0.0,
  'task.beams': 4,
  'task.length_penalty': 0.6,
  'task.beyond_source': 50,
}
T5 = {  # Raffel et al. 2020, 3.1.2 and appendix D.
  'num_steps': 2**18,
  'batch_size': 128,
  'data.length': 512,
  'data.target_length': 512,
  'optimizer.name': 'adafactor',
  'optimizer.learning_rate': 0.001,
  'optimizer.schedule': 'constant',
  'optimizer.weight_decay': 0.0,
  'optimizer.clip_norm': 0.0,
  'model.residual_dropout': 0.1,
  'task.beams': 4,
  'task.length_penalty': 0.6,
}
PUBLISHED = {
  'translation.py:wmt14': VASWANI,
  'translation.py:t5': T5
  | {'task.template': 'translate English to German: {source}'},
  'summarisation.py:cnn_dailymail': T5
  | {'task.template': 'summarize: {source}'},
}


@pytest.mark.parametrize('name', PUBLISHED)
def test_a_config_has_the_published_values(name):
  config = load(name)
  found = {}
  for key in PUBLISHED[name]:
    section, _, field = key.rpartition('.')
    found[key] = (config[section] if section else config)[field]
  assert found == PUBLISHED[name]


@pytest.mark.parametrize('name', VARIANTS)
def test_a_variant_that_does_not_exist_is_refused(name):
  with pytest.raises(UserError, match='There is no'):
    load(f'{name}.py:unheard')
