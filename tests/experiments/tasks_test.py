"""The applications, by each family, through the same commands."""

import json
import pathlib

import pytest

from experiments import command, evaluate, predict, train
from lm.data import tokenizers
from lm.training.sections import SECTIONS

ROOT = pathlib.Path(__file__).parents[2]
KINDS = {
  'bert': ('wordpiece', 75),
  'gpt': ('bytes', None),
  't5': ('unigram', 150),
}
PRESETS = {'bert': 'mini', 'gpt': 'nano', 't5': 'small'}
SIZES = {'num_layers': 1, 'num_heads': 2, 'head_dim': 8, 'embed_dim': 16}
ANIMALS = ('cat', 'dog', 'cow', 'hen', 'owl', 'fox', 'ant', 'bee')


def labelled():
  for animal in ANIMALS:
    yield {'text': f'the {animal} is fine', 'label': 'good'}
    yield {'text': f'the {animal} is bad', 'label': 'poor'}


def tagged():
  for animal in ANIMALS:
    words = f'the {animal} saw Ann Lee'.split()
    yield {'words': words, 'tags': ['O', 'O', 'O', 'B-PER', 'I-PER']}


def asked():
  for animal in ANIMALS:
    context = f'the {animal} is in the house'
    yield {
      'context': context,
      'question': f'where is the {animal}?',
      'answers': [{'text': 'house', 'start': context.index('house')}],
    }


TASKS = {
  'classification': (labelled, 'label', 'accuracy'),
  'entities': (tagged, 'tags', 'f1'),
  'question_answering': (asked, 'span', 'f1'),
}
UNLABELLED = {
  'classification': ('label',),
  'entities': ('tags',),
  'question_answering': ('answers',),
}


def write(path, rows):
  path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
  return path


def said(capsys):
  return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.fixture(scope='module')
def tokenizer_of(tmp_path_factory):
  """Where the tokenizer of each family is."""
  text = [
    text
    for rows in (labelled, tagged, asked)
    for row in rows()
    for text in (json.dumps(row), row.get('text', 'Ann Lee'))
  ]
  text.append('PER: Ann; PER: Lee')  # What a listing is made of.
  found = {}
  for family, (kind, size) in KINDS.items():
    found[family] = tmp_path_factory.mktemp(family)
    tokenizers.train(kind, text, size).save(found[family])
  return found


@pytest.mark.slow
@pytest.mark.parametrize('family', KINDS)
@pytest.mark.parametrize('task', TASKS)
@pytest.mark.parametrize('in_words', [False, True])
def test_every_family_does_every_task_through_the_same_commands(
  family, task, in_words, tokenizer_of, tmp_path, capsys
):
  if in_words and family == 'bert':
    return  # It does not write.
  rows, objective, metric = TASKS[task]
  data = write(tmp_path / 'data.jsonl', rows())
  overrides = {
    'model.name': family,
    'model.preset': PRESETS[family],
    **{f'model.{key}': value for key, value in SIZES.items()},
    'model.mlp_dim': 32,
    'model.max_len': 128,
    'objective.name': 'answers' if in_words else objective,
    'data.format': 'jsonl',
    'data.train': data,
    'data.validation': data,
    'data.tokenizer': tokenizer_of[family],
    'data.vocab_size': 'none',
    'data.length': 64,
    'data.target_length': 24,
    'data.buckets': '64',
    'data.cache': tmp_path / 'cache',
    'num_steps': 2,
    'batch_size': 8,
    'eval.every': 0,
    'optimizer.warmup_steps': 1,
    'log.boards': '()',
  }
  workdir = tmp_path / 'run'
  argv = [f'--config={ROOT}/configs/{task}.py:debug', f'--workdir={workdir}']
  argv += [f'--config.{key}={value}' for key, value in overrides.items()]
  train.main(**command.parse(train.main, argv, SECTIONS))
  trained = said(capsys)
  assert trained['step'] == 2 and metric in trained
  # Scores come again, from the checkpoint and another program.
  evaluate.main(str(workdir))
  scored = said(capsys)
  assert scored['loss'] == pytest.approx(trained['loss'], rel=1e-5)
  assert scored[metric] == pytest.approx(trained[metric])
  # The same command again has nothing left to do.
  (workdir / 'environment.json').write_text('another day')
  train.main(**command.parse(train.main, argv, SECTIONS))
  assert said(capsys) == trained
  assert (workdir / 'environment.json').read_text() == 'another day'
  # New records need no answers, nor the data of the training.
  new = [
    {k: v for k, v in row.items() if k not in UNLABELLED[task]}
    for row in rows()
  ]
  data.unlink()
  fresh = write(tmp_path / 'new.jsonl', new[:3])
  predict.main(str(workdir), input=str(fresh), batch_size=8)
  made = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
  assert len(made) == 3
  assert all({'id', 'prediction'} <= set(one) for one in made)
