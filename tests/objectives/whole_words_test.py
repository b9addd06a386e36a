"""Segmented Chinese, from its file to the masks of whole words."""

import itertools
import json
import pathlib

import numpy as np

from experiments import config_file
from lm.training.assembly import assemble, feed
from lm.training.sections import SECTIONS

BERT = pathlib.Path(__file__).parents[2] / 'configs' / 'bert.py'
WORDS = ['他', '我们', '喜欢', '语言模型', '人工智能', '是', '好', '助手']


def segmented():
  """Yields documents in which words are divided by spaces."""
  rng = np.random.default_rng(0)
  for _ in range(200):
    yield ' '.join(rng.choice(WORDS, 12)) + ' 。'


def test_a_word_of_segmented_chinese_is_masked_whole_or_not_at_all(tmp_path):
  path = tmp_path / 'text.jsonl'
  documents = [json.dumps({'text': text}) for text in segmented()]
  path.write_text('\n'.join(documents), 'utf-8')
  config = config_file.load(
    f'{BERT}:debug',
    {
      'data.source': 'jsonl',
      'data.path': str(path),
      'data.cache': str(tmp_path / 'cache'),
      'data.packing': 'sentences',
      'data.words': 'spaces',
      'data.vocab_size': 23,
      'data.length': 64,
      'objective.next_sentence': False,
      'objective.spans': 'words',
      'objective.mask_rate': 0.3,
    },
    SECTIONS,
  )
  parts = assemble(config.to_dict())
  batch_at, _ = feed(parts, 'train', 64)
  batch = batch_at(0)
  tokenizer = parts.dataset.tokenizer
  whole = 0
  for row, tokens in enumerate(batch.inputs['tokens']):
    asked = batch.weights['tokens'][row] > 0
    places = batch.inputs['predict_at'][row][asked].tolist()
    tokens = tokens.copy()
    tokens[places] = batch.targets['tokens'][row][asked]
    text = [tokenizer.decode([int(id)]) for id in tokens]
    for _, run in itertools.groupby(
      enumerate(places), lambda pair: pair[1] - pair[0]
    ):
      masked = [place for _, place in run]
      said = ''.join(text[place] for place in masked)
      assert is_of_words(said), said
      whole += len(masked) > 1
  assert whole > 50


def is_of_words(text):
  """Whether `text` is nothing but whole words."""
  if not text:
    return True
  return any(
    is_of_words(text[len(word) :])
    for word in [*WORDS, '。']
    if text.startswith(word)
  )
