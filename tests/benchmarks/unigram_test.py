"""The loss of counted words is what counting them by hand gives."""

import collections
import math
import pathlib

import pytest

from benchmarks import unigram
from experiments import config_file
from lm.training.sections import SECTIONS

GPT = pathlib.Path(__file__).parents[2] / 'configs' / 'gpt.py'
# Three times as many a as b in training, and as many in validation; c is new.
TRAIN, VALIDATION = 'aaab' * 100, 'ab' * 48 + 'abca'


def test_it_is_the_cross_entropy_of_the_training_bytes(tmp_path):
  (tmp_path / 'text.txt').write_text(TRAIN + VALIDATION)
  config = config_file.load(
    f'{GPT}:debug',
    {
      'data.source': 'text',
      'data.path': str(tmp_path / 'text.txt'),
      'data.split': 'tail',
      'data.cache': str(tmp_path / 'cache'),
      'data.length': 16,
    },
    SECTIONS,
  )
  found = unigram.cross_entropy(config.to_dict())
  # The first is not asked for, and the end of the text is no text. Every byte
  # there is has been seen once more than it has.
  seen = collections.Counter(TRAIN)
  nats = {
    byte: -math.log((seen[byte] + 1) / (len(TRAIN) + 256)) for byte in 'abc'
  }
  asked = VALIDATION[1:]
  assert found['tokens'] == len(asked)
  expected = sum(nats[byte] for byte in asked) / len(asked)
  assert found['unigram_loss'] == pytest.approx(expected, rel=1e-5)
