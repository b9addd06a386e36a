"""Which tokens to mask, for models that predict them in place."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from lm.data import randomness
from lm.objectives import rows
from lm.types import Examples, UserError, Vocabulary

Count = Literal['exact', 'stochastic']
Spans = Literal['tokens', 'words', 'ngrams', 'spans']

# The probability of runs of 1, 2, 3, ... words. In ALBERT (Lan et al. 2020,
# 3.1) it is proportional to 1/n; in SpanBERT (Joshi et al. 2020, 3.1) it is
# geometric with p = 0.2, up to 10, so that the mean is 3.8.
NUM_WORDS = {
  'words': np.ones(1),
  'ngrams': np.array([6, 3, 2]) / 11,
  'spans': 0.8 ** np.arange(10) / np.sum(0.8 ** np.arange(10)),
}


class Masking(NamedTuple):
  """The tokens to predict.

  Attributes:
    masked: Whether each token is to be predicted.
    run: The run of its row that each of these tokens belongs to.
    predict_at: Their positions in ascending order, padded with 0.
    asked: 1 for these positions, 0 for padding.
  """

  masked: Bool[np.ndarray, 'B L']
  run: Int[np.ndarray, 'B L']
  predict_at: Int[np.ndarray, 'B P']
  asked: Float[np.ndarray, 'B P']

  def at(self, tokens: Int[np.ndarray, 'B L']) -> Int[np.ndarray, 'B P']:
    """Returns the tokens at the positions to predict."""
    return np.take_along_axis(tokens, self.predict_at, axis=1)


def most(
  rate: float, length: int, count: Count, max_predictions: int | None
) -> int:
  """Returns the maximum number of masked tokens in a row of `length`."""
  needed = {'exact': np.round, 'stochastic': np.ceil}[count](rate * length)
  if max_predictions is not None:
    needed = min(needed, max_predictions)
  return max(1, int(needed))


def check_most(max_predictions: int | None) -> None:
  """Raises UserError if nothing could be predicted."""
  if max_predictions is not None and max_predictions < 1:
    raise UserError(
      f'max_predictions is {max_predictions}, so nothing would be asked for. Set'
      ' config.objective.max_predictions to 1 or more; BERT uses 20 of 128.'
    )


def budgets(
  rate: Float[np.ndarray, 'B'] | float,
  sizes: Int[np.ndarray, 'B'],
  count: Count,
  index: Int[np.ndarray, 'B'],
  seed: int,
) -> Int[np.ndarray, 'B']:
  """Returns how many tokens to mask in rows of these sizes.

  Sizes include special tokens. BERT ('exact') rounds, to at least one. RoBERTa
  ('stochastic') rounds up at random, so that the rate holds on average.
  """
  if count == 'stochastic':
    drawn = randomness.uniform(seed, 'mask count', index)
    return (rate * sizes + drawn).astype(np.int64)
  return np.maximum(np.round(rate * sizes), 1).astype(np.int64)


def special_table(vocabulary: Vocabulary) -> Bool[np.ndarray, 'V']:
  """Returns for each id whether it is special, and so is never masked."""
  table = np.zeros(vocabulary.size, bool)
  table[[*vocabulary.special_ids, *vocabulary.sentinel_ids]] = True
  return table


def mask_of(vocabulary: Vocabulary) -> int:
  """Returns the mask token, or the first sentinel if there is none."""
  if vocabulary.mask_id is not None:
    return vocabulary.mask_id
  if vocabulary.sentinel_ids:
    return vocabulary.sentinel_ids[0]
  raise UserError(
    'The tokenizer has no token that hides others. Set config.data.tokenizer'
    " to 'wordpiece' or 'unigram', or to a published one of BERT, RoBERTa or T5."
  )


def masker(
  vocabulary: Vocabulary,
  spans: Spans,
  budget: Callable[..., Int[np.ndarray, 'B']],
  width: Callable[[int], int],
) -> Callable[..., Masking]:
  """Returns `mask(examples, index, seed) -> Masking`.

  Args:
    vocabulary: Vocabulary of the tokenizer.
    spans: What is masked together; see `masked_lm`.
    budget: Maps (index, sizes of the rows, seed) to the tokens to mask in each.
    width: Maps the length of the rows to the maximum of that number.
  """

  special = special_table(vocabulary)

  def mask(
    examples: Examples, index: Int[np.ndarray, 'B'], seed: int
  ) -> Masking:
    tokens, valid = examples['tokens'], examples['valid']
    num_slots = min(width(tokens.shape[1]), tokens.shape[1])
    free = valid & ~special[tokens]
    left = budget(index, valid.sum(axis=1), seed)
    left = np.minimum(np.minimum(left, free.sum(axis=1)), num_slots)
    columns = np.broadcast_to(np.arange(tokens.shape[1]), tokens.shape)
    scores = randomness.uniform(seed, 'masking', index[:, None], columns)
    if spans == 'tokens':
      masked = rows.choose(np.where(free, scores, np.inf), left)
      run = columns
    else:
      drawn = randomness.uniform(seed, 'masked words', index[:, None], columns)
      longest = np.searchsorted(
        np.cumsum(NUM_WORDS[spans])[:-1], drawn, 'right'
      )
      run = runs_of_words(
        word_numbers(examples, free), free, scores, longest + 1, left
      )
      masked = run >= 0
    predict_at, counts = rows.compact(columns, masked, num_slots)
    asked = np.arange(num_slots) < counts[:, None]
    return Masking(
      masked, run, predict_at.astype(np.int32), asked.astype(np.float32)
    )

  return mask


def word_numbers(
  examples: Examples, free: Bool[np.ndarray, 'B L']
) -> Int[np.ndarray, 'B L']:
  """Numbers words from 0; special tokens are words, and documents share none.

  For instance:

      tokens       [CLS] un ##believ ##able !  [SEP]
      word_starts    0    1    0       0    1    0
      numbers        0    1    1       1    2    3
  """
  starts = examples['word_starts'].copy()
  starts[:, 1:] |= ~free[:, 1:] | ~free[:, :-1]
  if 'segment_ids' in examples:
    segments = examples['segment_ids']
    starts[:, 1:] |= segments[:, 1:] != segments[:, :-1]
  starts[:, 0] = True
  return np.cumsum(starts, axis=1) - 1


def runs_of_words(
  words: Int[np.ndarray, 'B L'],
  free: Bool[np.ndarray, 'B L'],
  scores: Float[np.ndarray, 'B L'],
  longest: Int[np.ndarray, 'B L'],
  left: Int[np.ndarray, 'B'],
) -> Int[np.ndarray, 'B L']:
  """Returns the run of words that masks each token, or -1 if none does.

  Words are visited in random order, each with the words that follow it, as many
  as were drawn, are still free and fit the budget. So a word is masked whole or
  not at all, and one that is too long is skipped, as in BERT.

  Args:
    words: The word number of each token.
    free: Tokens that may be masked.
    scores: By word number: words with the lowest scores are visited first.
    longest: By word number: length, in words, of a run that starts there.
    left: Number of tokens that may be masked.
  """
  num_rows, length = words.shape
  row = np.arange(num_rows)[:, None]
  # Padded, so that a run can look past the end of the row.
  reach = np.arange(longest.max(initial=1))
  sizes = np.zeros((num_rows, length + len(reach)), np.int64)
  np.add.at(sizes, (row, words), free)
  run_of_word = np.full(sizes.shape, -1)
  order = np.argsort(np.where(sizes[:, :length] > 0, scores, np.inf), axis=1)
  for turn in range(length):
    if not left.any():
      break
    first = order[:, turn]
    run = first[:, None] + reach
    size, taken = sizes[row, run], run_of_word[row, run]
    fits = (reach < longest[row, first[:, None]]) & (size > 0) & (taken < 0)
    fits &= np.cumsum(size, axis=1) <= left[:, None]
    fits = np.logical_and.accumulate(fits, axis=1)
    left = left - np.sum(size * fits, axis=1)
    run_of_word[row, run] = np.where(fits, turn, taken)
  return np.where(free, run_of_word[row, words], -1)
