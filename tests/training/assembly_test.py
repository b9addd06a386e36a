"""The rows that a config describes come in the order that it says."""

import json
import pathlib

import numpy as np
import pytest

from experiments import config_file
from lm.data import tokenizers
from lm.tasks.task import Reader, Writing
from lm.training import assembly, plan
from lm.training.sections import SECTIONS
from lm.types import UserError

CONFIGS = pathlib.Path(__file__).parents[2] / 'configs'
CONFIG = f'{CONFIGS}/bert.py:debug'
WORDS = ('all', 'the', 'world', 'is', 'a', 'stage', 'men', 'women', 'play')


@pytest.fixture(scope='module')
def configure(tmp_path_factory):
  """Returns a function that makes a config of a BERT on a short text."""
  directory = tmp_path_factory.mktemp('text')
  rng = np.random.default_rng(0)
  sentences = [' '.join(rng.choice(WORDS, 6)) + '.' for _ in range(300)]
  (directory / 'text.txt').write_text('\n\n'.join(sentences))
  everything = {
    'batch_size': 8,
    'objective.next_sentence': False,
    'optimizer.warmup_steps': 1,
    'data.source': 'text',
    'data.path': str(directory / 'text.txt'),
    'data.packing': 'sentences',
    'data.length': 32,
    'data.vocab_size': 45,
    'data.cache': str(directory / 'cache'),
    'data.workers': 1,
  }

  def run(**overrides):
    named = {key.replace('__', '.'): value for key, value in overrides.items()}
    return config_file.load(CONFIG, everything | named, SECTIONS).to_dict()

  return run


def batches_of(config, start=0):
  return assembly.feed(assembly.assemble(config), 'train', 8, start)[0]


def test_the_first_steps_are_short_and_the_others_long(configure):
  both = batches_of(configure(short_steps=2, short_length=16))
  short = batches_of(configure(data__length=16))
  long = batches_of(configure())
  for step, expected in enumerate([short, short, long, long]):
    for name, array in expected(step).inputs.items():
      np.testing.assert_array_equal(both(step).inputs[name], array)
  resumed = batches_of(configure(short_steps=2, short_length=16), start=8)
  widths = [resumed(step).inputs['tokens'].shape for step in range(2)]
  assert widths == [(8, 16), (8, 32)]


def test_validation_is_never_short(configure):
  parts = assembly.assemble(configure(short_steps=2, short_length=16))
  batch_at, _ = assembly.feed(parts, 'validation', 8)
  assert batch_at(0).inputs['tokens'].shape == (8, 32)


@pytest.mark.parametrize('duplicates, expected', [(0, 6), (1, 1), (2, 2)])
def test_a_row_has_as_many_masks_as_there_are_duplicates(
  configure, duplicates, expected
):
  batch_at = batches_of(configure(data__duplicates=duplicates))
  parts = assembly.assemble(configure())
  size = parts.dataset.source('train', lambda length: length, 0).size
  versions = {}
  for step in range(-(-6 * size // 8)):
    batch = batch_at(step)
    texts = batch.inputs['tokens'].copy()
    there = batch.weights['tokens'] > 0
    row = np.broadcast_to(np.arange(8)[:, None], there.shape)[there]
    places = batch.inputs['predict_at'][there]
    texts[row, places] = batch.targets['tokens'][there]
    shown = zip(batch.inputs['predict_at'], batch.inputs['tokens'])
    for text, (place, tokens) in zip(texts, shown):
      versions.setdefault(tuple(text), []).append((*place, *tokens))
  whole = [masks for masks in versions.values() if len(masks) >= 6]
  assert len(versions) == size and len(whole) > size // 2
  numbers = [len(set(masks[:6])) for masks in whole]
  assert max(numbers) == expected
  assert np.mean(numbers) > expected - 0.2  # A short row may come out the same.


def test_packed_documents_of_an_encoder_stand_between_marks(configure):
  config = configure(data__packing='documents')
  batch = batches_of(config)(0)
  begin, end = assembly.assemble(config).dataset.tokenizer.vocabulary.marks
  tokens, segments = batch.inputs['tokens'], batch.inputs['segment_ids']
  changes = np.diff(segments, axis=1, prepend=0, append=0) != 0
  starts, ends = changes[:, :-1] & (segments > 0), changes[:, 1:]
  ends &= segments > 0
  assert (tokens[starts] == begin).all() and (tokens[ends] == end).all()
  assert starts.sum() == (tokens == begin).sum() > 8
  assert batch.inputs['positions'][starts].max() == 0


@pytest.mark.parametrize(
  'overrides, message',
  [
    (
      {'short_steps': 2, 'short_length': 64},
      r'short_length is 64.* 32 tokens.*Set config\.short_length from 1 to 32',
    ),
    ({'short_steps': 2, 'short_length': 0}, r'Set config\.short_length'),
    ({'short_steps': -1}, r'Set config\.short_steps to 0 or more'),
  ],
)
@pytest.mark.parametrize('check', [assembly.assemble, plan.plan])
def test_steps_that_cannot_be_short_are_refused(
  configure, check, overrides, message
):
  with pytest.raises(UserError, match=message):
    check(configure(**overrides))


def test_negative_duplicates_are_refused(configure):
  with pytest.raises(UserError, match=r'Set config\.data\.duplicates to 0'):
    assembly.assemble(configure(data__duplicates=-1))


def test_a_plan_counts_short_steps_as_short(configure):
  short = plan.plan(configure(data__length=16, num_steps=3))
  long = plan.plan(configure(num_steps=4))
  both = plan.plan(configure(num_steps=7, short_steps=3, short_length=16))
  assert both['tokens'] == short['tokens'] + long['tokens'] == 8 * (48 + 128)
  assert both['flops'] == pytest.approx(short['flops'] + long['flops'])
  all_short = plan.plan(configure(num_steps=3, short_steps=9, short_length=16))
  assert all_short['tokens'] == short['tokens']


def test_answers_have_room_in_the_model():
  tokenizer = tokenizers.train('bytes', ['a'])
  reader = Reader(tokenizer, 'causal', 'answers', 80, 48)
  assembly.check_room(reader, 128)
  assembly.check_room(reader, 128, Writing(48))
  with pytest.raises(UserError, match='An answer of 49 tokens to a text of 80'):
    assembly.check_room(reader, 128, Writing(49))
  # A decoder with an encoder has its positions for the answer alone.
  assembly.check_room(reader._replace(form='encoder_decoder'), 100, Writing(99))


@pytest.mark.parametrize(
  ('glue', 'regression'), [('stsb', 'false'), ('sst2', 'true')]
)
def test_numbers_are_a_regression_and_classes_are_not(
  glue, regression, tmp_path
):
  path = tmp_path / 'data.jsonl'
  rows = [{'text': f'a {n}', 'label': '1' if n % 2 else '0'} for n in range(40)]
  if glue == 'stsb':
    rows = [row | {'label': 1.5} for row in rows]
  path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
  overrides = {
    'task.glue': glue,
    'objective.regression': regression,
    'data.format': 'jsonl',
    'data.train': str(path),
    'data.tokenizer': 'characters',
    'data.vocab_size': 'none',
    'data.end_of_text': 'true',
    'model.name': 'gpt',
    'model.preset': 'nano',
    'data.cache': str(tmp_path),
  }
  if glue == 'stsb':
    overrides['data.columns'] = 'text=text,score=label'
  config = config_file.load(
    f'{CONFIGS}/classification.py:debug', overrides, SECTIONS
  )
  with pytest.raises(UserError, match=r'config\.objective\.regression is'):
    assembly.assemble(config.to_dict())


@pytest.mark.parametrize(
  'model',
  [{'num_token_types': '2'}, {'name': 'gpt', 'preset': 'nano'}],
  ids=['bert', 'gpt'],
)
def test_a_model_tells_the_types_of_tokens_that_rows_have(model, tmp_path):
  path = tmp_path / 'data.jsonl'
  answer = {'text': 'b', 'start': 2}
  row = {'context': 'a b', 'question': 'b?', 'answers': [answer]}
  path.write_text(
    ''.join(json.dumps({**row, 'id': str(n)}) + '\n' for n in range(40))
  )
  overrides = {
    'task.mark_matches': 'true',
    'data.format': 'jsonl',
    'data.train': str(path),
    'data.validation': str(path),
    'data.vocab_size': '8',
    'data.cache': str(tmp_path),
  }
  if 'name' in model:
    overrides |= {'data.tokenizer': 'characters', 'data.vocab_size': 'none'}
    overrides |= {'data.end_of_text': 'true'}
  overrides |= {f'model.{key}': value for key, value in model.items()}
  config = config_file.load(
    f'{CONFIGS}/question_answering.py:debug', overrides, SECTIONS
  )
  with pytest.raises(UserError, match='num_token_types to 3'):
    assembly.assemble(config.to_dict())
