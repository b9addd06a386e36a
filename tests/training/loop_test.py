"""A run learns, and what a user does wrong costs nothing but a message."""

import json
import logging
import pathlib

import numpy as np
import pytest

from experiments import config_file
from lm.generation import text as texts
from lm.objectives.objective import PromptForm
from lm.training import (
  assembly,
  checkpoint_files,
  loop,
  run_log,
  workdir as workdirs,
)
from lm.training.sections import SECTIONS, Log
from lm.types import UserError

CONFIG = f'{pathlib.Path(__file__).parents[2]}/configs/gpt.py:debug'
TINY = {
  'num_steps': 6,
  'batch_size': 8,
  'model.num_layers': 1,
  'model.num_heads': 2,
  'model.head_dim': 8,
  'model.embed_dim': 16,
  'model.mlp_dim': 32,
  'model.max_len': 32,
  'data.length': 32,
  'eval.every': 3,
  'eval.batch_size': 64,
  'checkpoint.every': 3,
  'log.every': 1,
  'optimizer.warmup_steps': 2,
}


def configure(cache, **overrides):
  named = {key.replace('__', '.'): value for key, value in overrides.items()}
  everything = TINY | {'data.cache': str(cache)} | named
  return config_file.load(CONFIG, everything, SECTIONS).to_dict()


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
  return tmp_path_factory.mktemp('cache')


@pytest.fixture(scope='module')
def done(tmp_path_factory, cache):
  workdir = tmp_path_factory.mktemp('done')
  return workdir, loop.train(configure(cache), workdir)


def test_a_run_leaves_what_interfaces_promise(done):
  workdir, scores = done
  names = {path.name for path in workdir.iterdir()}
  assert names >= {
    'config.json',
    'environment.json',
    'metrics.jsonl',
    'checkpoints',
    'tokenizer',
    'plots',
    'samples.jsonl',
    'tensorboard',
  }
  assert (workdir / 'plots/loss.png').read_bytes()[:4] == b'\x89PNG'
  lines = run_log.read(workdir / 'metrics.jsonl')
  trained = [line for line in lines if line['split'] == 'train']
  evaluated = [line for line in lines if line['split'] == 'eval']
  assert [line['step'] for line in trained] == [1, 2, 3, 4, 5, 6]
  assert [line['step'] for line in evaluated] == [3, 6]
  assert trained[-1].keys() >= {
    'loss',
    'tokens_per_second',
    'learning_rate',
    'grad_norm',
  }
  # Bytes are tokens here, but for those that end a document and have none.
  bits = evaluated[-1]['loss'] / np.log(2)
  assert bits <= evaluated[-1]['bits_per_byte'] < 1.05 * bits
  assert trained[-1]['loss'] < trained[0]['loss']
  assert scores['loss'] == evaluated[-1]['loss']


def test_the_same_command_again_does_nothing_and_says_the_same(done, cache):
  workdir, scores = done
  before = (workdir / 'metrics.jsonl').read_bytes()
  assert loop.train(configure(cache), workdir) == scores
  assert (workdir / 'metrics.jsonl').read_bytes() == before


def test_the_stored_config_is_whole_and_checked(done, cache, caplog):
  workdir, _ = done
  stored = json.loads((workdir / 'config.json').read_text())
  assert stored['model']['vocab_size'] == 257
  assert stored['optimizer']['clip_norm'] == 1.0
  workdirs.check(workdir, configure(cache))
  workdirs.check(workdir, configure(cache, num_steps=9, eval__every=1))
  assert 'num_steps was 6 and is 9 now' in caplog.text
  with pytest.raises(UserError, match=r'optimizer.b2: 0.99 -> 0.5'):
    workdirs.check(workdir, configure(cache, optimizer__b2=0.5))
  workdirs.check(workdir, configure(cache, optimizer__b2=0.5), ['optimizer'])


def test_a_branch_starts_with_the_state_of_another_run(done, cache, tmp_path):
  origin, _ = done
  config = configure(
    cache,
    start_from=f'{origin}@3',
    num_steps=5,
    optimizer__schedule='linear',
  )
  loop.train(config, tmp_path)
  lines = run_log.read(tmp_path / 'metrics.jsonl')
  assert [row['step'] for row in lines if row['split'] == 'train'] == [4, 5]
  theirs = run_log.read(origin / 'metrics.jsonl')
  fourth = lambda rows: next(r['loss'] for r in rows if r['step'] == 4)
  assert fourth(lines) == fourth(theirs)  # The same state and the same batch.
  with pytest.raises(UserError, match=r'no checkpoint in .*nowhere'):
    loop.train(configure(cache, start_from='nowhere'), tmp_path / 'other')


def test_a_run_begins_with_short_steps(cache, tmp_path):
  loop.train(configure(cache, short_steps=4, short_length=8), tmp_path)
  lines = run_log.read(tmp_path / 'metrics.jsonl')
  tokens = [
    round(line['tokens_per_second'] * line['seconds'])
    for line in lines
    if line['split'] == 'train' and 'seconds' in line
  ]
  assert tokens == [64, 64, 64, 256, 256]  # The first step is not timed.


def test_samples_are_made_as_the_objective_shows_a_prompt(cache, monkeypatch):
  asked = []

  def stream(*args, **options):
    asked.append(options['prompt_form'])
    yield [texts.Reply('', 0, 'stop')]

  monkeypatch.setattr(texts, 'stream', stream)
  for name in ('causal_lm', 'prefix_lm'):
    parts = assembly.assemble(configure(cache, objective__name=name))
    loop.continue_text(parts, {}, Log(sample_prompt='a'))
  assert asked == [PromptForm(), PromptForm(visible=True)]


def test_a_branch_with_no_steps_left_is_refused(done, cache, tmp_path):
  config = configure(cache, start_from=str(done[0]), num_steps=6)
  with pytest.raises(UserError, match='nothing left of 6 steps'):
    loop.train(config, tmp_path)
  assert not (tmp_path / 'config.json').exists()


def test_a_run_whose_text_has_changed_is_not_gone_on_with(cache, tmp_path):
  path = tmp_path / 'text'
  settings = {'data__tokenizer': 'characters', 'data__split': 'tail'}
  for text in (PROSE, PROSE.replace(b'world', b'World')):
    config = configure(cache, **text_file(write(path, text), **settings))
    if text is PROSE:
      loop.train(config | {'num_steps': 3}, tmp_path / 'run')
  before = (tmp_path / 'run/config.json').read_bytes()
  with pytest.raises(UserError, match='The text has changed'):
    loop.train(config, tmp_path / 'run')
  assert (tmp_path / 'run/config.json').read_bytes() == before


def write(path, data: bytes) -> str:
  path.write_bytes(data)
  return str(path)


def text_file(path, **overrides):
  return {'data__source': 'text', 'data__path': path, **overrides}


PROSE = b'All the world is a stage, and all of us are merely players.\n\n' * 99


@pytest.mark.parametrize(
  ('make', 'message'),
  [
    (lambda d: text_file(str(d / 'none.txt')), r'none\.txt'),
    (lambda d: text_file(write(d / 'a', b'')), 'empty'),
    (
      lambda d: text_file(
        write(d / 'a', b'ab\n\ncd\n'), data__split='tail', data__validation=0.5
      ),
      'config.data.length',
    ),
    (lambda d: text_file(write(d / 'a', b'ab\nc\xff\n' + PROSE)), 'line 2'),
    (lambda d: {'batch_size': 12}, r'12 .*8 devices.* multiple of 8'),
    (lambda d: {'batch_size': 8, 'microbatches': 3}, 'multiple of 24'),
    (lambda d: {'eval__batch_size': 9}, 'config.eval.batch_size'),
    (lambda d: {'microbatches': 0}, 'config.microbatches'),
    (
      lambda d: {'data__end_of_text': False, 'log__sample_every': 2},
      'config.log.sample_prompt',
    ),
    (lambda d: {'model__vocab_size': 256}, r'256 .* 257'),
    (lambda d: {'data__length': 33}, '33 .* 32'),
    (lambda d: {'parallel__data': 3}, 'config.parallel'),
    (lambda d: {'model__learning_rate': 1.0}, 'optimizer.learning_rate'),
    (lambda d: {'num_step': 3}, 'config.num_steps'),
    (lambda d: {'objective__name': 'casual_lm'}, 'causal_lm'),
    (lambda d: {'optimizer__schedule': 'cosin'}, 'cosine'),
    (lambda d: {'optimizer__warmup_steps': 6}, 'warmup_steps'),
    (lambda d: {'data__tokenizer': str(d / 'none')}, 'none'),
  ],
)
def test_a_mistake_is_named_before_anything_compiles(
  make, message, cache, tmp_path, monkeypatch
):
  monkeypatch.setattr(loop, 'begin', lambda *_: pytest.fail('It began.'))
  with pytest.raises(UserError, match=message):
    loop.train(configure(cache, **make(tmp_path)), tmp_path / 'run')


def test_a_run_that_diverges_stops_and_keeps_the_batch(cache, tmp_path):
  config = configure(
    cache, optimizer__learning_rate=1e30, optimizer__end_learning_rate=0.0
  )
  with pytest.raises(UserError, match=r'not finite at step 2\b'):
    loop.train(config, tmp_path)
  batch = np.load(tmp_path / 'nonfinite_batch_2.npz')
  assert batch['inputs/tokens'].shape == (8, 32)
  assert checkpoint_files.steps(tmp_path / 'checkpoints') == []


def test_a_run_skips_as_many_steps_as_it_may(cache, tmp_path):
  config = configure(
    cache,
    optimizer__learning_rate=1e30,
    optimizer__end_learning_rate=0.0,
    skip_nonfinite=2,
  )
  with pytest.raises(UserError, match=r'not finite at step 4\b'):
    loop.train(config, tmp_path)
  lines = run_log.read(tmp_path / 'metrics.jsonl')
  assert [row['loss'] is None for row in lines if row['split'] == 'train'] == [
    False,
    True,
    True,
  ]


def test_what_is_damaged_is_said_and_the_newest_intact_is_used(
  cache, tmp_path, caplog
):
  loop.train(configure(cache), tmp_path)
  before = run_log.read(tmp_path / 'metrics.jsonl')
  newest = max((tmp_path / 'checkpoints/6').rglob('*'), key=_size)
  newest.write_bytes(newest.read_bytes()[:-1])
  store = max(cache.glob('tokens-*/tokens.bin'), key=_size)
  store.write_bytes(store.read_bytes()[:-2])
  with caplog.at_level(logging.WARNING):
    loop.train(configure(cache), tmp_path)
  said = caplog.text
  assert newest.name in said or '6' in said
  assert store.parent.name in said
  assert [row['loss'] for row in run_log.read(tmp_path / 'metrics.jsonl')] == [
    row['loss'] for row in before
  ]


def _size(path):
  return path.stat().st_size if path.is_file() else 0
