"""A config's text is tokenized once, and mended where it was cut short."""

import numpy as np
import pytest

from lm.data import corpora, datasets, token_store, tokenizers
from lm.types import UserError

TEXT = '\n\n'.join(f'Paragraph {i} says this.' for i in range(100)) + '\n'


@pytest.fixture
def settings(tmp_path):
  (tmp_path / 'text.txt').write_text(TEXT)
  return {
    'source': 'text',
    'path': str(tmp_path / 'text.txt'),
    'tokenizer': 'bytes',
    'length': 16,
    'cache': str(tmp_path / 'cache'),
    'workers': 1,
  }


def build(**settings) -> datasets.Dataset:
  """Both splits, tokenized."""
  dataset = datasets.build(**settings)
  assert len(dataset.train[0].tokens) and len(dataset.validation[0].tokens)
  return dataset


def kept(tmp_path) -> list[str]:
  """What is in the cache, beside the locks."""
  return sorted(path.name for path in (tmp_path / 'cache').glob('[!.]*'))


def text_of(dataset, store) -> str:
  return dataset.tokenizer.decode(store.tokens.astype(np.int32))


def test_both_splits_are_what_the_corpus_has(settings):
  dataset = build(**settings)
  corpus = corpora.build('text', settings['path'])
  end = '<|endoftext|>'
  for split, store in (
    ('train', dataset.train[0]),
    ('validation', dataset.validation[0]),
  ):
    expected = ''.join(text + end for text in corpus.documents(split))
    assert text_of(dataset, store) == expected


def test_a_second_build_finds_all_that_the_first_left(
  settings, tmp_path, monkeypatch
):
  first = build(**settings)
  before = kept(tmp_path)
  assert [name.split('-')[0] for name in before] == ['tokenizer'] + [
    'tokens'
  ] * 2
  monkeypatch.setattr(token_store, 'build', None)
  monkeypatch.setattr(tokenizers, 'train', None)
  # Nothing of these changes the tokens.
  again = build(
    **settings | {'length': 32, 'packing': 'documents', 'workers': 2}
  )
  np.testing.assert_array_equal(again.train[0].tokens, first.train[0].tokens)
  assert again.tokenizer.fingerprint() == first.tokenizer.fingerprint()
  assert kept(tmp_path) == before


@pytest.mark.parametrize(
  'change',
  [
    {'tokenizer': 'characters'},
    {'end_of_text': False},
    {'validation': 0.3},
    {'split': 'tail'},
    'the text',
  ],
)
def test_whatever_changes_the_tokens_makes_new_stores(
  settings, tmp_path, change
):
  first = build(**settings)
  if change == 'the text':
    (tmp_path / 'text.txt').write_text(TEXT + '\nOne more.\n')
    change = {}
  second = build(**settings | change)
  assert second.train[0].directory != first.train[0].directory
  assert second.validation[0].directory != first.validation[0].directory
  assert len(token_store.open(first.train[0].directory).tokens)


def test_a_store_cut_short_is_built_anew_and_said(settings, tmp_path, caplog):
  first = build(**settings)
  whole = text_of(first, first.train[0])
  path = first.train[0].directory / 'tokens.bin'
  path.write_bytes(path.read_bytes()[:100])
  again = build(**settings)
  assert text_of(again, again.train[0]) == whole
  assert 'tokens.bin is cut short: it has 100 of' in caplog.text
  assert 'built anew now' in caplog.text
  assert len(kept(tmp_path)) == 3


def test_a_tokenizer_cut_short_is_learned_anew_and_said(
  settings, tmp_path, caplog
):
  first = build(**settings)
  (path,) = (tmp_path / 'cache').glob('tokenizer-*/tokenizer.json')
  path.write_text(path.read_text()[:100])
  again = build(**settings)
  assert again.tokenizer.fingerprint() == first.tokenizer.fingerprint()
  assert 'built anew now' in caplog.text


@pytest.mark.parametrize('kind', ['bpe', 'wordpiece', 'unigram', 'characters'])
def test_tokenizers_are_learned_from_the_training_text_alone(
  settings, tmp_path, kind
):
  size = {'bpe': 280, 'wordpiece': 60, 'unigram': 130}.get(kind)
  settings |= {'split': 'tail', 'tokenizer': kind, 'vocab_size': size}
  settings['end_of_text'] = False
  first = build(**settings)
  cut = int(len(TEXT) * 0.9)
  tail = TEXT[cut:].replace('says', 'yass')
  (tmp_path / 'text.txt').write_text(TEXT[:cut] + tail)
  second = build(**settings)
  assert first.tokenizer.fingerprint() == second.tokenizer.fingerprint()
  assert second.validation[0].directory != first.validation[0].directory


def test_a_character_that_training_lacks_is_named(settings, tmp_path):
  (tmp_path / 'text.txt').write_text(TEXT + 'says Ω.')
  settings |= {'split': 'tail', 'tokenizer': 'characters'}
  with pytest.raises(UserError, match=r"'Ω' \(U\+03A9\)"):
    build(**settings)
  assert not any(name.endswith('.tmp') for name in kept(tmp_path))


def test_a_tokenizer_may_be_a_path(settings, shared, tmp_path):
  settings['tokenizer'] = str(shared / 'data' / 'tok_gpt2')
  dataset = build(**settings)
  assert dataset.tokenizer.vocab_size == 50_257
  assert dataset.train[0].tokens.dtype == np.uint16
  assert [name.split('-')[0] for name in kept(tmp_path)] == ['tokens'] * 2


def test_the_cache_is_where_the_environment_says(
  settings, tmp_path, monkeypatch
):
  monkeypatch.setenv('LM_CACHE', str(tmp_path / 'elsewhere'))
  dataset = build(**settings | {'cache': ''})
  assert dataset.train[0].directory.parent == tmp_path / 'elsewhere'
  monkeypatch.delenv('LM_CACHE')
  monkeypatch.setenv('HOME', str(tmp_path))
  dataset = build(**settings | {'cache': ''})
  assert dataset.train[0].directory.parent == tmp_path / '.cache' / 'lm'


def test_a_dataset_gives_the_examples_that_an_objective_needs(settings):
  dataset = build(**settings | {'packing': 'documents'})
  source = dataset.source('train', lambda length: length + 1, seed=0)
  examples = source.examples_at(np.arange(3))
  assert examples['tokens'].shape == (3, 17)
  assert 'segment_ids' in examples
  validation = dataset.source('validation', lambda length: length, seed=None)
  assert validation.examples_at(np.arange(1))['tokens'].shape == (1, 16)


@pytest.mark.parametrize(
  'change, message',
  [
    ({'packing': 'sorted'}, r"config\.data\.packing is 'sorted'"),
    ({'validation': 1e-9}, 'The validation split of .* is empty'),
    ({'source': 'dialogue', 'path': ''}, r"config\.data\.source is 'dialogue'"),
    ({'tokenizer': 'no/such'}, r"config\.data\.tokenizer is 'no/such'"),
    ({'vocab_size': 99}, r'config\.data\.vocab_size is 99'),
  ],
)
def test_settings_that_cannot_be_are_refused(
  settings, tmp_path, change, message
):
  with pytest.raises(UserError, match=message):
    build(**settings | change)
  if (tmp_path / 'cache').exists():
    assert not any(name.endswith('.tmp') for name in kept(tmp_path))
