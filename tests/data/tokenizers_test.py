"""One tokenizer, whichever its kind."""

import functools

import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st

from lm.data import tokenizers
from lm.types import UserError

TEXT = """\
The cat sat on the mat, and the hat sat on the cat. It's the cat's hat!
Who'll say that they've 123 hats -- or 4567 mats?  The weather, whether or not.
我们今天去公园看花，花很好看。明天我们再去公园好吗？好的，我们明天去！
"""
SIZES = {'bpe': 300, 'roberta': 300, 'wordpiece': 95, 'unigram': 165}


@functools.cache
def trained(kind: str) -> tokenizers.Tokenizer:
  return tokenizers.train(kind, [TEXT], SIZES.get(kind))


@given(st.text())
@example('你好，世界！ \u3000 花')
@example('e\u0301 👩‍👩‍👧 🇨🇭 \x00 \ufeff \U0010ffff')
@example('  a \n\n\t b \r\n ')
@example('a<|endoftext|>b')
@settings(deadline=None)
def test_any_text_survives_a_round_trip(text):
  for kind in ('bytes', 'bpe'):
    tokenizer = trained(kind)
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == text
    size = len(text.replace('<|endoftext|>', '').encode())
    assert tokenizer.bytes_of_id[tokens].sum() == size


@given(st.text(sorted(set(TEXT))))
@settings(deadline=None)
def test_text_of_known_characters_survives_a_round_trip(text):
  for kind in ('characters', 'unigram'):
    tokenizer = trained(kind)
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(st.text().filter(lambda text: '[' not in text and '<' not in text))
@example('  ﬁ ½ \u3000 … 你e\u0301')
@settings(deadline=None)
def test_the_bytes_of_the_tokens_are_those_of_the_text(text):
  for kind in ('bpe', 'bytes', 'wordpiece', 'unigram'):
    tokenizer = trained(kind)
    (encoding,) = tokenizer.encode_batch([text])
    lengths = tokenizer.byte_lengths(text, encoding)
    assert len(lengths) == len(encoding.ids)
    assert lengths.sum() == (len(text.encode()) if len(lengths) else 0)


@pytest.mark.parametrize(
  'kind, text, pieces, lengths, starts',
  [
    (
      'wordpiece',
      "It's  我们 xhats.",
      ['It', "'", 's', '我', '们', '[UNK]', '.'],
      [2, 1, 1, 5, 3, 6, 1],
      [1, 1, 1, 1, 1, 1, 1],
    ),
    (
      'wordpiece',
      'mats[SEP]hat',
      ['mat', '##s', '[SEP]', 'hat'],
      [3, 1, 0, 3],
      [1, 0, 1, 1],
    ),
    (
      'characters',
      'It 我\nt',
      ['I', 't', ' ', '我', '\n', 't'],
      [1, 1, 1, 3, 1, 1],
      [1, 0, 1, 0, 1, 1],
    ),
    (
      'bytes',
      'a 花<|endoftext|>b',
      ['a', 'Ġ', 'è', 'Ĭ', '±', '<|endoftext|>', 'b'],
      [1, 1, 1, 1, 1, 0, 1],
      [1, 1, 0, 0, 0, 1, 1],
    ),
    (
      'bpe',
      'the hat\nsat',
      ['the', 'Ġhat', 'Ċ', 's', 'at'],
      [3, 4, 1, 1, 2],
      [1, 1, 1, 1, 0],
    ),
    (
      'unigram',
      ' the 去<extra_id_0>',
      ['▁the', '▁', '去', '<extra_id_0>'],
      [4, 1, 3, 0],
      [1, 1, 0, 1],
    ),
  ],
)
def test_each_token_tells_its_bytes_and_whether_it_begins_a_word(
  kind, text, pieces, lengths, starts
):
  tokenizer = trained(kind)
  (encoding,) = tokenizer.encode_batch([text])
  assert encoding.tokens == pieces
  assert tokenizer.byte_lengths(text, encoding).tolist() == lengths
  np.testing.assert_array_equal(
    tokenizer.word_starts(np.array(encoding.ids)), starts
  )


@pytest.mark.parametrize('kind', tokenizers.KINDS)
def test_a_batch_is_encoded_as_its_texts_are_with_offsets_or_without(kind):
  tokenizer = trained(kind)
  texts = TEXT.splitlines()
  expected = [tokenizer.encode(text).tolist() for text in texts]
  for offsets in (True, False):
    encodings = tokenizer.encode_batch(texts, offsets=offsets)
    assert [encoding.ids for encoding in encodings] == expected


@pytest.mark.parametrize('kind', tokenizers.KINDS)
def test_a_saved_tokenizer_is_loaded_as_the_same(kind, tmp_path):
  tokenizer = trained(kind)
  tokenizer.save(tmp_path / 'tokenizer')
  again = tokenizers.load(tmp_path / 'tokenizer')
  assert again.fingerprint() == tokenizer.fingerprint()
  assert again.kind == kind
  assert again.special_ids == tokenizer.special_ids
  assert again.encode(TEXT).tolist() == tokenizer.encode(TEXT).tolist()


def test_tokenizers_that_differ_have_other_fingerprints():
  texts = ([TEXT], [TEXT + 'z'], ['abc'])
  many = [tokenizers.train('characters', text) for text in texts]
  many += [tokenizers.train('characters', [TEXT], end_of_text=False)]
  many += [trained(kind) for kind in tokenizers.KINDS if kind != 'characters']
  assert len({one.fingerprint() for one in many}) == len(many)


def test_characters_are_numbered_in_their_order_as_nanogpt_does(shared):
  path = shared / 'data/tinyshakespeare/input.txt'
  text = path.read_text('utf-8')
  tokenizer = tokenizers.train('characters', [text], end_of_text=False)
  assert tokenizer.vocab_size == 65
  assert tokenizer.eos_id is None
  assert tokenizer.special_ids == frozenset()
  # As the nanoGPT lecture prints them.
  assert tokenizer.encode('hii there').tolist() == [
    *(46, 47, 47, 1, 58, 46, 43, 56, 43)
  ]
  assert tokenizer.decode(tokenizer.encode(text)) == text


def test_bytes_are_their_own_ids():
  tokens = trained('bytes').encode('a 你\n')
  assert tokens.tolist() == list('a 你\n'.encode())
  assert trained('bytes').vocab_size == 257


def test_an_unknown_character_is_named():
  tokenizer = tokenizers.train('characters', ['abc'])
  assert tokenizer.encode('ab<|endoftext|>').tolist() == [0, 1, 3]
  for text in ('abçc', '<|endoftext|>|'):
    with pytest.raises(UserError, match=r"'[ç|]' \(U\+00(E7|7C)\)"):
      tokenizer.encode_batch(['abc', text])


def test_special_tokens_are_written_out_or_left_away():
  tokenizer = trained('wordpiece')
  tokens = tokenizer.encode('the mat', special_tokens=True)
  assert tokenizer.decode(tokens) == '[CLS] the mat [SEP]'
  assert tokenizer.decode(tokens, special_tokens=False) == 'the mat'
  assert tokenizer.decode([]) == ''


def test_a_config_names_a_kind_or_a_path(tmp_path):
  trained('unigram').save(tmp_path)
  built = tokenizers.build(str(tmp_path), [], vocab_size=165)
  assert built.fingerprint() == trained('unigram').fingerprint()
  built = tokenizers.build('bpe', [TEXT], vocab_size=300)
  assert built.fingerprint() == trained('bpe').fingerprint()
  with pytest.raises(UserError, match=r'vocab_size is 99, but .* has 165'):
    tokenizers.build(str(tmp_path), [], vocab_size=99)
  with pytest.raises(UserError, match="'bep', which is neither a kind"):
    tokenizers.build('bep', [TEXT], vocab_size=300)


@pytest.mark.peers
@pytest.mark.parametrize('kind', tokenizers.KINDS)
def test_transformers_loads_what_was_saved(kind, tmp_path):
  import transformers

  tokenizer = trained(kind)
  tokenizer.save(tmp_path)
  theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
  assert len(theirs) == tokenizer.vocab_size
  for role in ('bos', 'eos', 'pad', 'unk', 'mask', 'cls', 'sep'):
    id = getattr(tokenizer, f'{role}_id')
    assert getattr(theirs, f'{role}_token_id') == id, role
  ids = tokenizer.encode(TEXT, special_tokens=True).tolist()
  assert theirs(TEXT)['input_ids'] == ids
  assert theirs.decode(ids) == tokenizer.decode(ids)
  assert ('token_type_ids' in theirs(TEXT)) == (kind == 'wordpiece')
