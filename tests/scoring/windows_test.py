"""A sliding window scores every token once, with enough in view."""

import math

import numpy as np
import pytest

from lm.scoring import windows
from lm.types import UserError
from tests.scoring.naive import log_probs, trained


@pytest.mark.parametrize(
  'size, length, stride, expected',
  [
    # Begins, first scores, ends.
    (9, 4, 2, [(0, 0, 4), (2, 4, 6), (4, 6, 8), (5, 8, 9)]),
    # The example of lm-evaluation-harness: no token is in view twice, but that
    # the last window is full.
    (10, 4, 4, [(0, 0, 4), (4, 4, 8), (6, 8, 10)]),
    (6, 4, 1, [(0, 0, 4), (1, 4, 5), (2, 5, 6)]),
    (4, 4, 2, [(0, 0, 4)]),
    (3, 4, 2, [(0, 0, 3)]),
    (5, 4, 4, [(0, 0, 4), (1, 4, 5)]),
    (1, 1, 1, [(0, 0, 1)]),
  ],
)
def test_the_windows_are_literally_these(size, length, stride, expected):
  assert windows.table(size, length, stride).tolist() == [*map(list, expected)]


def test_every_token_is_scored_once_with_enough_in_view():
  for length in (1, 3, 8):
    for stride in range(1, length + 1):
      for size in range(1, 30):
        scored = []
        for begin, first, end in windows.table(size, length, stride).tolist():
          assert 0 <= begin <= first < end <= size and end - begin <= length
          # Token i is answered where i - 1 is read: from `begin` on it sees
          # i - begin tokens, and what stands before the text is one.
          for token in range(first, end):
            seen = token - begin + 1
            assert seen >= min(token + 1, length - stride + 1)
          scored += range(first, end)
        assert scored == [*range(size)]


TEXTS = ('the cat sat on the mat and ran to the man.', 'A dog', 'é')


def naive_nats(one, length, stride):
  """Goes from token to token, and finds for each what is in view."""
  total, counts = 0.0, []
  for text in TEXTS:
    tokens = [one.tokenizer.eos_id, *one.tokenizer.encode(text).tolist()]
    last = len(tokens) - 1
    end = min(length, last)
    for place in range(1, len(tokens)):
      if place > end:  # The window moves on, and stays within the text.
        end = min(end + stride, last)
      begin = max(0, end - length)
      total -= log_probs(one, tokens[begin:place])[-1, tokens[place]]
    counts.append(last)
  return total, counts


@pytest.mark.parametrize('length, stride', [(8, 8), (8, 3), (48, 24)])
def test_the_sums_are_those_of_one_token_at_a_time(length, stride):
  one = trained('gpt')
  found = windows.likelihoods(*one, TEXTS, length=length, stride=stride)
  nats, counts = naive_nats(one, length, stride)
  assert -found.log_probs.sum() == pytest.approx(nats, abs=1e-3)
  assert found.num_tokens.tolist() == counts
  assert found.num_bytes.tolist() == [len(text.encode()) for text in TEXTS]
  assert found.num_words.tolist() == [11, 2, 1]
  measures = windows.perplexity(found)
  tokens, size = sum(counts), len(''.join(TEXTS).encode())
  assert measures['loss'] == pytest.approx(nats / tokens, rel=1e-5)
  assert measures['perplexity'] == pytest.approx(
    math.exp(nats / tokens), rel=1e-4
  )
  assert math.log(measures['perplexity_per_word']) == pytest.approx(
    nats / 14, rel=1e-5
  )
  assert measures['bits_per_byte'] == pytest.approx(
    nats / math.log(2) / size, rel=1e-5
  )
  assert (measures['tokens'], measures['bytes']) == (tokens, size)
  assert (measures['words'], measures['documents']) == (14, 3)


def test_without_a_token_to_begin_after_the_first_is_not_scored():
  one = trained('gpt', end=False)
  found = windows.likelihoods(*one, ['the dog'])
  tokens = one.tokenizer.encode('the dog').tolist()
  expected = sum(
    log_probs(one, tokens[:place])[-1, tokens[place]]
    for place in range(1, len(tokens))
  )
  assert found.log_probs[0] == pytest.approx(expected, abs=1e-4)
  assert found.num_tokens[0] == len(tokens) - 1
  first = one.tokenizer.decode(tokens[:1])
  assert found.num_bytes[0] == len('the dog') - len(first)
  with pytest.raises(UserError, match=r'Document 1 is .* Leave it out'):
    windows.likelihoods(*one, ['the dog', 't'])


def test_a_decoder_reads_after_an_empty_source():
  one = trained('t5')
  found = windows.likelihoods(*one, ['A dog'], 'target')
  tokens = one.tokenizer.encode('A dog').tolist()
  read = [one.tokenizer.pad_id, *tokens[:-1]]
  answers = log_probs(one, read, [one.tokenizer.eos_id])
  expected = answers[np.arange(len(tokens)), tokens].sum()
  assert found.log_probs[0] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
  'options, message',
  [
    ({'length': 49}, 'length of a window is 49, .* reads 48'),
    ({'length': 0}, 'length of a window is 0'),
    ({'length': 8, 'stride': 9}, 'stride is 9, .* never be scored'),
    ({'stride': 0}, 'stride is 0'),
    ({'form': 'pll'}, 'no perplexity'),
  ],
)
def test_windows_that_skip_tokens_are_refused(options, message):
  with pytest.raises(UserError, match=message):
    windows.likelihoods(*trained('gpt'), TEXTS, **options)


def test_what_is_not_set_is_the_models_length_and_half_of_it():
  assert windows.resolve(48, None, None) == (48, 24)
  assert windows.resolve(48, 9, None) == (9, 4)
  assert windows.resolve(1, None, None) == (1, 1)


def test_a_perplexity_past_the_largest_float_is_infinite():
  one = np.ones(1, np.int64)
  found = windows.Likelihoods(np.array([-1e4]), one, one, one, one)
  assert windows.perplexity(found)['perplexity'] == math.inf
  assert windows.perplexity(found)['loss'] == 1e4
