"""A metric's name tells whether more of it is better."""

import pytest

from lm.analysis.directions import higher_is_better


@pytest.mark.parametrize(
  'metric',
  [
    'accuracy', 'next_sentence_accuracy', 'f1', 'f1_LOSSES', 'macro_f1', 'bleu',
    'rougeLsum', 'exact_match', 'HasAns_f1', 'pearson', 'distinct_2',
    'tokens_per_second', 'glossary',
  ],
)  # fmt: skip
def test_more_is_better(metric):
  assert higher_is_better(metric)


@pytest.mark.parametrize(
  'metric',
  [
    'loss', 'text_loss', 'replaced_loss', 'eval/loss', 'loss.mean',
    'bits_per_byte', 'validation_bits_per_byte', 'nats_per_token', 'perplexity',
    'perplexity_per_word', 'word_perplexity', 'word_error_rate', 'missing',
    'lost_to_length', 'seconds_per_step',
  ],
)  # fmt: skip
def test_less_is_better(metric):
  assert not higher_is_better(metric)
