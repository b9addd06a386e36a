"""Sources are mixed in exact shares, from any index on."""

import numpy as np
import pytest

from lm.data import datasets, mixture, sources
from lm.types import UserError
from tests.data.sources_test import make_store


def build(directory, weights, seed=0):
  """Sources whose tokens tell which they are: they count from 0 each."""
  made = []
  for number, _ in enumerate(weights):
    store = make_store(directory, [40 * (number + 1)])
    request = sources.Request(5, seed)
    made.append(sources.windows(store, request))
  return mixture.Mixture(tuple(made), mixture.shares_of(weights), 0)


@pytest.mark.parametrize(
  'weights, shares',
  [
    ((0.7, 0.3), [700, 300]),
    ((1.0, 1.0, 1.0), [334, 333, 333]),
    ((2.0, 1e-9), [999, 1]),
  ],
)
def test_shares_are_whole_and_none_is_left_out(weights, shares):
  assert mixture.shares_of(weights).tolist() == shares


def test_every_period_has_the_shares_and_every_source_its_own_order(tmp_path):
  mixed = build(tmp_path, (0.62, 0.25, 0.13))
  which, own = mixed.place(np.arange(3000))
  for period in which.reshape(3, -1):
    assert np.bincount(period).tolist() == [620, 250, 130]
  for number in range(3):
    indices = own[which == number]
    assert sorted(indices) == list(range(len(indices)))
  # Not one source after another.
  assert np.bincount(which[:100], minlength=3).min() > 3
  assert len(set(mixed.draws(np.arange(3000)))) == 3000


def test_an_example_is_that_of_its_source_whatever_the_batch(tmp_path):
  mixed = build(tmp_path, (0.5, 0.5))
  index = np.array([5, 1700, 6, 2**40])
  examples = mixed.examples_at(index)
  for row, (number, own) in enumerate(zip(*mixed.place(index))):
    alone = mixed.sources[number].examples_at(np.array([own]))
    np.testing.assert_array_equal(examples['tokens'][row], alone['tokens'][0])
    np.testing.assert_array_equal(
      mixed.examples_at(index[row : row + 1])['tokens'][0],
      examples['tokens'][row],
    )


def test_one_pass_is_one_after_another(tmp_path):
  mixed = build(tmp_path, (0.5, 0.5), seed=None)
  whole = mixture.Concatenation(mixed.sources)
  first, second = mixed.sources
  assert whole.size == first.size + second.size
  examples = whole.examples_at(np.arange(whole.size + 3))
  expected = [
    source.examples_at(np.arange(source.size))['tokens']
    for source in (first, second)
  ]
  np.testing.assert_array_equal(
    examples['tokens'][:-3], np.concatenate(expected)
  )
  assert not examples['valid'][-3:].any()


def test_a_config_mixes_corpora_that_share_a_tokenizer(tmp_path):
  (tmp_path / 'a.txt').write_text('One two three. ' * 60)
  (tmp_path / 'b.txt').write_text('Vier fünf sechs.' * 60)
  dataset = datasets.build(
    source='mixture',
    mixture=(f'text:{tmp_path}/a.txt@3', f'text:{tmp_path}/b.txt@1'),
    split='tail',
    length=8,
    tokenizer='characters',
    cache=str(tmp_path / 'cache'),
  )
  assert len(dataset.train) == 2
  source = dataset.source('train', lambda length: length, seed=0)
  tokens = source.examples_at(np.arange(1000))['tokens']
  is_german = [
    'V' in text or 'ü' in text or 'ch' in text
    for text in map(dataset.tokenizer.decode, tokens)
  ]
  assert 100 < sum(is_german) <= 250
  validation = dataset.source('validation', lambda length: length, seed=None)
  assert isinstance(validation, mixture.Concatenation)


@pytest.mark.parametrize(
  'settings, message',
  [
    ({'source': 'mixture'}, r"config\.data\.source is 'mixture'"),
    ({'source': 'text', 'mixture': ('dialogues@1',)}, 'or neither'),
    ({'source': 'mixture', 'mixture': ('dialogues',)}, 'SOURCE:PATH@WEIGHT'),
    ({'source': 'mixture', 'mixture': ('spoken@1',)}, "'spoken'"),
  ],
)
def test_what_is_no_mixture_is_refused(settings, message):
  with pytest.raises(UserError, match=message):
    datasets.build(length=8, tokenizer='bytes', **settings)


def test_a_weight_is_above_zero():
  with pytest.raises(UserError, match=r'weights of config\.data\.mixture'):
    mixture.shares_of((1.0, 0.0))
