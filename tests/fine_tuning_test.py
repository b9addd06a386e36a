"""One word after a config's data fine-tunes a family as its authors did."""

import pathlib

import jax
import pytest

from experiments import config_file
from lm.tasks import predictions, written
from lm.training import assembly, plan
from lm.training.sections import SECTIONS
from lm.types import UserError, path_of

CONFIG = f'{pathlib.Path(__file__).parents[1]}/configs/classification.py'
GLUE = ('cola', 'sst2', 'mrpc', 'qqp', 'stsb', 'mnli', 'qnli', 'rte', 'wnli')
FAMILIES = ('bert', 'roberta', 'gpt', 't5')


def load(variant):
  return config_file.load(f'{CONFIG}:{variant}', {}, SECTIONS)


def values(config, *keys):
  found = {}
  for key in keys:
    section, _, field = key.rpartition('.')
    found[key] = (config[section] if section else config)[field]
  return found


BERT = {  # The command of its README, and its defaults.
  'batch_size': 32,
  'data.length': 128,
  'objective.name': 'label',
  'optimizer.name': 'bert_adam',
  'optimizer.learning_rate': 2e-5,
  'optimizer.schedule': 'linear',
  'optimizer.weight_decay': 0.01,
  'optimizer.clip_norm': 1.0,
  'optimizer.eps': 1e-6,
}
ROBERTA = {  # examples/roberta/config/finetuning of fairseq.
  'objective.name': 'label',
  'data.length': 512,
  'optimizer.name': 'adamw',
  'optimizer.b1': 0.9,
  'optimizer.b2': 0.98,
  'optimizer.eps': 1e-6,
  'optimizer.weight_decay': 0.1,
  'optimizer.clip_norm': 0.0,
  'optimizer.schedule': 'linear',
  'optimizer.end_learning_rate': 0.0,
}
GPT = {  # Radford et al. 2018, 4.1, and the train.py of its authors.
  'batch_size': 32,
  'optimizer.name': 'adamw',
  'optimizer.learning_rate': 6.25e-5,
  'optimizer.schedule': 'linear',
  'optimizer.weight_decay': 0.01,
  'optimizer.b2': 0.999,
  'optimizer.eps': 1e-8,
  'optimizer.clip_norm': 1.0,
  'model.preset': 'gpt1',
}
T5 = {  # Raffel et al. 2020, 3.1; lengths of T5X.
  'num_steps': 2**18,
  'batch_size': 128,
  'data.length': 512,
  'data.target_length': 84,
  'objective.name': 'answers',
  'optimizer.name': 'adafactor',
  'optimizer.learning_rate': 1e-3,
  'optimizer.schedule': 'constant',
  'optimizer.warmup_steps': 0,
  'optimizer.weight_decay': 0.0,
  'optimizer.clip_norm': 0.0,
}


def steps(rate, batch_size, warmup_steps, num_steps):
  return {
    'optimizer.learning_rate': rate,
    'batch_size': batch_size,
    'optimizer.warmup_steps': warmup_steps,
    'num_steps': num_steps,
  }


PUBLISHED = {
  # Three epochs of 67,349 examples, a tenth of them to warm up.
  'sst2,bert': BERT | {'num_steps': 6313, 'optimizer.warmup_steps': 631},
  'mrpc,bert': BERT | {'num_steps': 343, 'optimizer.warmup_steps': 34},
  'mnli,roberta': ROBERTA | steps(1e-5, 32, 7432, 123_873),
  'qnli,roberta': ROBERTA | steps(1e-5, 32, 1986, 33_112),
  'qqp,roberta': ROBERTA | steps(1e-5, 32, 28_318, 113_272),
  'rte,roberta': ROBERTA | steps(2e-5, 16, 122, 2036),
  'sst2,roberta': ROBERTA | steps(1e-5, 32, 1256, 20_935),
  'mrpc,roberta': ROBERTA | steps(1e-5, 16, 137, 2296),
  'cola,roberta': ROBERTA | steps(1e-5, 16, 320, 5336),
  'stsb,roberta': ROBERTA
  | steps(2e-5, 16, 214, 3598)
  | {'objective.regression': True},
  'sst2,gpt': GPT | {'num_steps': 6313, 'optimizer.warmup_steps': 13},
  'sst2,t5': T5 | {'task.names': ('negative', 'positive')},
  'mnli,t5': T5 | {'task.names': ()},
}


@pytest.mark.parametrize('variant', PUBLISHED)
def test_a_family_is_fine_tuned_as_published(variant):
  expected = PUBLISHED[variant]
  assert values(load(variant), *expected) == expected


@pytest.mark.parametrize('family', ['', *FAMILIES])
@pytest.mark.parametrize('data', ['mine', 'debug', 'chnsenticorp', *GLUE])
def test_every_variant_describes_a_run(data, family):
  config = load(f'{data},{family}' if family else data).to_dict()
  assert config['task']['glue'] == (data if data in GLUE else '')
  assert config['num_steps'] > 0
  parts = assembly.outline(config)(plan.imagined_vocabulary(1000))
  asked = {'t5': 'tokens'}.get(family, 'label')
  assert tuple(parts.objective.scales) == (asked,)
  assert parts.model.form == {
    'gpt': 'causal',
    't5': 'encoder_decoder',
  }.get(family, 'bidirectional')
  last = max(config['num_steps'] - 1, 0)
  assert 0 <= parts.schedule(last) <= config['optimizer']['learning_rate']


def test_a_family_that_is_not_known_is_refused():
  with pytest.raises(UserError, match=r'no family .xlnet.*bert, roberta'):
    load('sst2,xlnet')


# The beginnings of the paper's examples (Raffel et al. 2020, appendix D).
JEBE = 'Where did Jebe die?', 'Genghis Khan recalled Subutai back to Mongolia'
READ = {
  'cola': (
    ('John made Bill master of himself.',),
    'cola sentence: John made Bill master of himself.',
  ),
  'qnli': (JEBE, f'qnli question: {JEBE[0]} sentence: {JEBE[1]}'),
  'mnli': (
    ('yeah well losing is i mean', 'The St. Louis Cardinals have always won.'),
    'mnli hypothesis: The St. Louis Cardinals have always won. premise: yeah'
    ' well losing is i mean',
  ),
  'rte': (
    ('A smaller proportion of', 'Slovenia has 3,078 inhabitants.'),
    'rte sentence1: A smaller proportion of sentence2: Slovenia has 3,078'
    ' inhabitants.',
  ),
}


@pytest.mark.parametrize('data', READ)
def test_t5_reads_what_its_paper_shows(data):
  texts, expected = READ[data]
  fields = ('text', 'text_pair')[: len(texts)]
  fill = written.template(load(f'{data},t5').task.template, fields)
  assert fill(dict(zip(fields, texts))) == expected


@pytest.mark.parametrize('data', GLUE)
def test_t5_writes_what_the_datasets_call_the_labels(data):
  task = load(f'{data},t5').task
  submission = predictions.SUBMISSIONS[data]
  assert task.names == submission.names
  assert task.labels == (('0', '1') if submission.names else None)


def test_one_more_flag_makes_it_lora():
  config = config_file.load(
    f'{CONFIG}:sst2,roberta', {'lora.rank': 8}, SECTIONS
  ).to_dict()
  parts = assembly.outline(config)(plan.imagined_vocabulary(50_265))
  tokens = jax.ShapeDtypeStruct((1, 8), 'int32')
  init = lambda tokens: parts.learner.init(jax.random.key(0), tokens=tokens)
  params = jax.eval_shape(init, tokens)['params']
  sizes = {
    path_of(keys): leaf.size
    for keys, leaf in jax.tree_util.tree_leaves_with_path(params)
  }
  # Table 2 of Hu et al. (2021): 0.3 million for RoBERTa base, heads aside.
  beside = sum(size for path, size in sizes.items() if 'lora_' in path)
  assert beside == 12 * 2 * 2 * 768 * 8
  state = jax.eval_shape(parts.tx.init, params)
  held = sum(leaf.size for leaf in jax.tree.leaves(state) if leaf.ndim)
  heads = sum(
    s for path, s in sizes.items() if path[:6] in ('pooler', 'label/')
  )
  assert held == 2 * (beside + heads)
