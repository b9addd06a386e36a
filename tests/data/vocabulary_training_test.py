"""Vocabularies learned from text."""

import itertools
import json
import os
import pathlib
import subprocess
import sys
from collections import Counter

import pytest

from lm.data import tokenizers
from lm.types import UserError
from tests.data import byte_pairs

TEXT = """\
The cat sat on the mat, and the hat sat on the cat. It's the cat's hat!
Who'll say that they've 123 hats -- or 4567 mats?  aaaaaaa aaaa aaa ------- ---
The other weather: whether they gather together or rather not, brother.
我们今天去公园看花，花很好看。明天我们再去公园好吗？好的，我们明天去！
你喜欢猫还是狗？我喜欢猫，也喜欢狗。Café, naïve, 😀 and é are text too.
"""


def learned_merges(
  tokenizer: tokenizers.Tokenizer,
) -> list[tuple[bytes, bytes]]:
  merges = json.loads(tokenizer.pipeline.to_str())['model']['merges']
  return [tuple(map(byte_pairs.as_bytes, pair)) for pair in merges]


def assert_every_merge_is_a_most_frequent_pair(text: str, vocab_size: int):
  tokenizer = tokenizers.train('bpe', [text], vocab_size)
  merges = learned_merges(tokenizer)
  assert len(merges) == vocab_size - 256 - 1
  words = {
    tuple(bytes([byte]) for byte in word): count
    for word, count in byte_pairs.words(text).items()
  }
  counts = Counter()
  for tokens, count in words.items():
    counts.update(pairs(tokens, count))
  for step, pair in enumerate(merges):
    assert counts[pair] == max(counts.values()), (step, pair)
    for tokens in [w for w in words if pair in itertools.pairwise(w)]:
      count = words.pop(tokens)
      counts.subtract(pairs(tokens, count))
      tokens = byte_pairs.join(tokens, pair)
      counts.update(pairs(tokens, count))
      words[tokens] = count


def pairs(tokens: tuple[bytes, ...], count: int) -> Counter:
  once = Counter(itertools.pairwise(tokens))
  return Counter({pair: count * times for pair, times in once.items()})


def test_every_merge_joins_a_most_frequent_pair():
  assert_every_merge_is_a_most_frequent_pair(TEXT * 3, 256 + 1 + 150)


def test_every_merge_of_the_reference_corpus_joins_a_most_frequent_pair(shared):
  path = shared / 'data/bpe_train_reference/corpus.en'
  assert_every_merge_is_a_most_frequent_pair(path.read_text('utf-8'), 500)


@pytest.mark.parametrize(
  'kind, vocab_size',
  [('bpe', 300), ('roberta', 300), ('wordpiece', 140), ('unigram', 195)],
)
def test_a_vocabulary_has_the_size_asked_for(kind, vocab_size):
  tokenizer = tokenizers.train(kind, TEXT.splitlines(), vocab_size)
  assert tokenizer.vocab_size == vocab_size
  assert tokenizer.pipeline.get_vocab_size() == vocab_size
  assert tokenizer.kind == kind


def test_wordpiece_knows_every_character_and_keeps_its_case():
  tokenizer = tokenizers.train('wordpiece', [TEXT], 140)
  tokens = tokenizer.encode(TEXT)
  assert tokenizer.unk_id == 1
  assert 1 not in tokens
  assert tokenizer.decode(tokens).startswith('The cat sat on the mat, and')
  assert tokenizer.encode('The').tolist() != tokenizer.encode('the').tolist()
  assert tokenizer.encode('猫', special_tokens=True).tolist() == [
    tokenizer.cls_id,
    tokenizer.pipeline.token_to_id('猫'),
    tokenizer.sep_id,
  ]


def test_unigram_is_laid_out_as_t5s_and_loses_nothing_of_the_text():
  tokenizer = tokenizers.train('unigram', [TEXT], 195)
  name = tokenizer.pipeline.id_to_token
  assert [name(i) for i in range(3)] == ['<pad>', '</s>', '<unk>']
  assert [name(i) for i in range(95, 195)] == [
    f'<extra_id_{i}>' for i in reversed(range(100))
  ]
  text = f'  {TEXT}\n\n the\n'
  assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize('kind', ['characters', 'bytes', 'bpe'])
def test_a_written_end_of_text_is_the_token_and_not_learned_from(kind):
  size = 260 if kind == 'bpe' else None
  text = 'abc abc<|endoftext|>abc abc<|endoftext|>abc abc'
  marked = tokenizers.train(kind, [text], size)
  plain = tokenizers.train(kind, text.split('<|endoftext|>'), size)
  assert marked.fingerprint() == plain.fingerprint()
  assert marked.eos_id == marked.vocab_size - 1
  assert marked.encode('c<|endoftext|>')[-1] == marked.eos_id


@pytest.mark.parametrize('kind', ['bpe', 'wordpiece', 'unigram'])
def test_a_short_text_has_a_smaller_vocabulary_and_says_so(kind, caplog):
  tokenizer = tokenizers.train(kind, TEXT.splitlines(), 9999)
  assert 100 < tokenizer.vocab_size < 600
  assert tokenizer.decode(tokenizer.encode('the cat')) == 'the cat'
  assert f'no more than {tokenizer.vocab_size} pieces' in caplog.text


@pytest.mark.parametrize(
  'kind, text, vocab_size, message',
  [
    ('bpe', TEXT, 256, 'config.data.vocab_size is 256, but .* 257'),
    ('bpe', TEXT, None, 'config.data.vocab_size is None'),
    ('wordpiece', TEXT, 50, r'vocab_size is 50, but .* \d+ pieces alone'),
    ('unigram', TEXT, 150, r'vocab_size is 150, but .* at least \d+ pieces'),
    ('unigram', '', 195, 'is empty'),
    ('characters', '', None, 'is empty'),
    ('characters', 'abc', 5, 'vocab_size is 5, but the tokenizer has 4'),
    ('bytes', 'abc', 256, 'vocab_size is 256, but the tokenizer has 257'),
    ('wordpice', 'abc', 5, "config.data.tokenizer is 'wordpice'"),
  ],
)
def test_what_cannot_be_learned_is_told_by_its_config_key(
  kind, text, vocab_size, message
):
  with pytest.raises(UserError, match=message):
    tokenizers.train(kind, [text], vocab_size)


def test_the_sizes_that_an_error_names_can_be_learned():
  for kind, asked in [('wordpiece', 50), ('unigram', 150)]:
    with pytest.raises(UserError) as error:
      tokenizers.train(kind, [TEXT], asked)
    size = int(str(error.value).split(' pieces')[0].split()[-1])
    assert tokenizers.train(kind, [TEXT], size).vocab_size == size


LEARN = """
from lm.data import tokenizers
from tests.data.vocabulary_training_test import TEXT
sizes = {'bpe': 350, 'roberta': 350, 'wordpiece': 200, 'unigram': 215}
for kind, size in sizes.items():
  print(tokenizers.train(kind, (TEXT + TEXT[::-1],), size).fingerprint())
"""


@pytest.mark.processes
def test_the_same_text_gives_the_same_vocabulary_in_any_process():
  outputs = [
    subprocess.run(
      [sys.executable, '-c', LEARN],
      env=os.environ | {'PYTHONHASHSEED': seed, 'RAYON_NUM_THREADS': threads},
      cwd=pathlib.Path(__file__).parents[2],
      capture_output=True,
      text=True,
      check=True,
    ).stdout.split()
    for seed, threads in [('1', '1'), ('2', '2'), ('3', '5')]
  ]
  assert outputs[0] == outputs[1] == outputs[2]
  assert len({*outputs[0]}) == 4


def test_marks_of_a_trained_roberta_have_the_published_ids():
  tokenizer = tokenizers.train('roberta', [TEXT], 300)
  ids = tokenizer.encode('to be', special_tokens=True).tolist()
  assert (ids[0], ids[-1]) == (0, 2)
  assert (tokenizer.bos_id, tokenizer.pad_id, tokenizer.unk_id) == (0, 1, 3)
  assert tokenizer.mask_id == tokenizer.vocab_size - 1 == 299
  assert tokenizer.encode('<mask>').tolist() == [299]
  assert tokenizer.decode(ids[1:-1]) == 'to be'
