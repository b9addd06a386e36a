"""Predict masked tokens from their context (BERT, RoBERTa)."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Int

from lm.data import randomness
from lm.objectives import masking
from lm.objectives.cross_entropy import cross_entropy
from lm.objectives.masking import Count, Masking, Spans
from lm.objectives.objective import (
  Objective,
  check_form,
  check_share,
)
from lm.types import Batch, Examples, Form, UserError, Vocabulary

PASSED_ON = ('valid', 'segment_ids', 'positions', 'token_types')


def masked_lm(
  form: Form,
  vocabulary: Vocabulary,
  *,
  mask_rate: float = 0.15,
  end_mask_rate: float | None = None,
  mask_rate_examples: int = 0,
  count: Count = 'exact',
  max_predictions: int | None = None,
  mask_share: float = 0.8,
  random_share: float = 0.1,
  spans: Spans = 'tokens',
  next_sentence: bool = False,
  z_loss: float = 0.0,
  label_smoothing: float = 0.0,
) -> Objective:
  """Returns the objective (Devlin et al. 2019, 3.1; Liu et al. 2019, 4.1).

  Args:
    form: Form of the model.
    vocabulary: Vocabulary of the tokenizer.
    mask_rate: Fraction of the tokens of a row that is predicted.
    end_mask_rate: Final mask rate of a linear schedule; None means constant.
    mask_rate_examples: Number of examples that the schedule takes.
    count: How the number of tokens is rounded: 'exact' to the nearest, as in
      BERT; 'stochastic' at random, to the rate on average, as in RoBERTa.
    max_predictions: Limit per row; None means as many as the rate can need.
    mask_share: Fraction of the predicted tokens that the mask replaces.
    random_share: Fraction of the predicted tokens that random tokens replace;
      the rest are kept.
    spans: What is masked together: single 'tokens'; whole 'words'; 'ngrams' of
      up to 3 words (ALBERT); 'spans' of up to 10 words (SpanBERT), in which
      all tokens are masked, all are random, or all are kept.
    next_sentence: Whether to predict, too, if the second text of a pair
      follows the first; needs examples of pairs.
    z_loss: For every term; see `cross_entropy`.
    label_smoothing: For every term; see `cross_entropy`.
  """
  check_form('masked_lm', form, 'causal', 'bidirectional')
  end_rate = mask_rate if end_mask_rate is None else end_mask_rate
  check_share('mask_rate', mask_rate)
  check_share('end_mask_rate', end_rate)
  check_share('label_smoothing', label_smoothing)
  _check_shares(mask_share, random_share)
  masking.check_most(max_predictions)
  if mask_rate_examples < 0:
    raise UserError(
      f'mask_rate_examples is {mask_rate_examples}, but it is how many examples'
      ' there are. Set config.objective.mask_rate_examples to 0 or more.'
    )

  def budget(index, sizes, seed):
    progress = np.minimum(index / max(1, mask_rate_examples), 1)
    rate = mask_rate + (end_rate - mask_rate) * progress
    return masking.budgets(rate, sizes, count, index, seed)

  def width(length):
    rate = max(mask_rate, end_rate)
    return masking.most(rate, length, count, max_predictions)

  mask = masking.masker(vocabulary, spans, budget, width)
  replace = replacer(vocabulary, mask_share, random_share, spans == 'spans')

  def prepare(examples, index, seed):
    chosen = mask(examples, index, seed)
    tokens = replace(examples['tokens'], chosen, index, seed)
    batch = hidden(examples, tokens, chosen)
    if next_sentence:
      _ask_for_next_sentence(examples, batch)
    return batch

  scales = {'tokens': 1.0} | ({'next_sentence': 1.0} if next_sentence else {})
  return Objective(
    prepare=prepare,
    loss=scorer(tuple(scales), z_loss, label_smoothing),
    example_length=lambda length: length,
    scales=scales,
    reads=() if spans == 'tokens' else ('word_starts',),
    marks=True,
  )


def replacer(
  vocabulary: Vocabulary,
  mask_share: float,
  random_share: float,
  by_run: bool,
) -> Callable[..., Int[np.ndarray, 'B L']]:
  """Returns `replace(tokens, chosen, index, seed)`, which makes model inputs.

  Args:
    vocabulary: Vocabulary of the tokenizer.
    mask_share: Fraction of the chosen tokens that the mask replaces.
    random_share: Fraction of the chosen tokens that random tokens replace.
    by_run: Whether all tokens of a run are treated alike.
  """
  mask_id = masking.mask_of(vocabulary)
  others = np.flatnonzero(~masking.special_table(vocabulary))

  def replace(tokens, chosen, index, seed):
    row, columns = index[:, None], np.arange(tokens.shape[1])
    decided_at = chosen.run if by_run else columns
    drawn = randomness.uniform(seed, 'replacing', row, decided_at)
    other = randomness.integers(seed, 'other', row, len(others), columns)
    seen = np.where(drawn < mask_share, mask_id, others[other])
    replaced = chosen.masked & (drawn < mask_share + random_share)
    return np.where(replaced, seen, tokens).astype(np.int32)

  return replace


def scorer(
  asked: tuple[str, ...], z_loss: float, label_smoothing: float
) -> Callable[..., tuple[dict, dict]]:
  """Returns a loss of these terms; the metrics of `tokens` have no prefix."""

  def loss(answers, targets, weights):
    terms, metrics = {}, {}
    for term in asked:
      terms[term], scored = cross_entropy(
        answers[term], targets[term], weights[term], z_loss, label_smoothing
      )
      start = '' if term == 'tokens' else f'{term}_'
      metrics |= {start + name: metric for name, metric in scored.items()}
    return terms, metrics

  return loss


def hidden(
  examples: Examples, tokens: Int[np.ndarray, 'B L'], chosen: Masking
) -> Batch:
  """Returns a batch with `tokens` as inputs and the chosen ones as targets.

  For instance:

      text      [CLS] the cat sat [SEP]     predict_at  2   0
      tokens    [CLS] the [M] sat [SEP]     targets    cat [CLS]
                                            weights     1   0
  """
  passed_on = {name: examples[name] for name in PASSED_ON if name in examples}
  return Batch(
    {'tokens': tokens, **passed_on, 'predict_at': chosen.predict_at},
    {'tokens': chosen.at(examples['tokens'])},
    {'tokens': chosen.asked},
  )


def _ask_for_next_sentence(examples: Examples, batch: Batch) -> None:
  if 'next_sentence' not in examples:
    raise UserError(
      'The examples are no pairs, so nothing can be asked about the next'
      " sentence. Set config.data.packing to 'pairs', or"
      ' config.objective.next_sentence to False.'
    )
  batch.targets['next_sentence'] = examples['next_sentence']
  real = examples['valid'].any(axis=1)
  batch.weights['next_sentence'] = real.astype(np.float32)


def _check_shares(mask_share: float, random_share: float) -> None:
  shares = (mask_share, random_share)
  if min(shares) < 0 or sum(shares) > 1 + 1e-9:
    raise UserError(
      f'mask_share is {mask_share} and random_share {random_share}, but they are'
      ' shares of the same tokens. Set config.objective.mask_share and'
      ' config.objective.random_share to at least 0, and 1 at most in all; BERT'
      ' uses 0.8 and 0.1.'
    )
