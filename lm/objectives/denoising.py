"""Sequence-to-sequence denoising, for a T5 or a decoder alone.

The objectives differ in how they corrupt a text. The rest is shared here: the
rows of a batch, their fixed widths and the loss.
"""

import bisect
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Int

from lm.objectives import masking, rows
from lm.objectives.cross_entropy import cross_entropy
from lm.objectives.objective import (
  Objective,
  PromptForm,
  check_form,
  check_share,
)
from lm.types import Batch, Form, UserError, Vocabulary

# Upper bound in the search for the length of text that fills a row.
MAX_LENGTH = 1 << 24


class Texts(NamedTuple):
  """Sources and targets, before the tokens that are not kept are removed."""

  source: Int[np.ndarray, 'B N']
  in_source: Bool[np.ndarray, 'B N']
  target: Int[np.ndarray, 'B M']
  in_target: Bool[np.ndarray, 'B M']


class Rows(NamedTuple):
  """Sources and targets with end tokens, and their sizes.

  Attributes:
    source: Source tokens, with padding after the end.
    source_sizes: Number of source tokens, end token included.
    target: Target tokens, with padding after the end.
    target_sizes: Number of target tokens, end token included; 0 for no target.
  """

  source: Int[np.ndarray, 'B S']
  source_sizes: Int[np.ndarray, 'B']
  target: Int[np.ndarray, 'B T']
  target_sizes: Int[np.ndarray, 'B']


class Corruption(NamedTuple):
  """How an objective corrupts a text.

  Attributes:
    corrupt: `(tokens, valid, index, seed) -> Texts`.
    widths: Maps the length of a text to the maximum lengths of source and
      target, end tokens included.
    check: Raises UserError if a text of this length cannot be corrupted.
  """

  corrupt: Callable[..., Texts]
  widths: Callable[[int], tuple[int, int]]
  check: Callable[[int], None] = lambda length: None


def denoising(
  name: str,
  form: Form,
  vocabulary: Vocabulary,
  corruption: Corruption,
  prefix_visible: bool,
  z_loss: float,
  label_smoothing: float,
) -> Objective:
  """Returns the objective of that name.

  Args:
    name: Its name in configs.
    form: Form of the model.
    vocabulary: Vocabulary of the tokenizer.
    corruption: How texts are corrupted.
    prefix_visible: Whether a decoder alone, which has source and target in one
      row, attends bidirectionally within the source.
    z_loss: See `cross_entropy`.
    label_smoothing: See `cross_entropy`.
  """
  check_form(name, form, 'encoder_decoder', 'causal')
  end_id = end_of(vocabulary)
  pad_id = vocabulary.pad_id or 0

  def prepare(examples, index, seed):
    tokens, valid = examples['tokens'], examples['valid']
    corruption.check(tokens.shape[1])
    texts = corruption.corrupt(tokens, valid, index, seed)
    pair = finish(texts, corruption.widths(tokens.shape[1]), end_id, pad_id)
    if form == 'encoder_decoder':
      return two_rows(pair, vocabulary.start_id)
    return one_row(pair, pad_id, prefix_visible)

  def example_length(length):
    def needed(size):
      source, target = corruption.widths(size)
      return source if form == 'encoder_decoder' else source + target - 1

    longest = bisect.bisect_right(range(MAX_LENGTH), length, 2, key=needed) - 1
    if longest < 2:
      raise UserError(
        f'A row of {length} tokens has no room for two of the text, so there is'
        ' nothing to hide. Set config.data.length higher.'
      )
    corruption.check(longest)
    return longest

  return Objective(
    prepare=prepare,
    loss=scorer(vocabulary, z_loss, label_smoothing),
    example_length=example_length,
    scales={'tokens': 1.0},
    prompt_form=PromptForm(True, prefix_visible and form == 'causal'),
  )


def finish(
  texts: Texts, widths: tuple[int, int], end_id: int, pad_id: int
) -> Rows:
  """Removes what is not kept, and adds end tokens; empty targets get size 0."""

  def ended(values, kept, width):
    row, sizes = rows.compact(values.astype(np.int32), kept, width, pad_id)
    row[np.arange(len(row)), sizes] = end_id
    return row, sizes + 1

  source, source_sizes = ended(texts.source, texts.in_source, widths[0])
  target, target_sizes = ended(texts.target, texts.in_target, widths[1])
  target_sizes[target_sizes == 1] = 0
  return Rows(source, source_sizes, target, target_sizes)


def two_rows(pair: Rows, start_id: int) -> Batch:
  """Returns a batch for an encoder and a decoder.

  For instance:

      source  5 <0> 8 </s>    decoder input   <pad> <0> 6  7
                              targets          <0>   6  7 </s>
  """
  read = np.full_like(pair.target, start_id)
  read[:, 1:] = pair.target[:, :-1]
  inputs = {
    'source_tokens': pair.source,
    'source_valid': _within(pair.source, pair.source_sizes),
    'tokens': read,
  }
  asked = _within(pair.target, pair.target_sizes)
  return _asking(inputs, pair.target, asked)


def one_row(pair: Rows, pad_id: int, prefix_visible: bool) -> Batch:
  """Returns a batch for a decoder alone: the target follows the source.

  For instance:

      tokens   5 <0> 8 </s> <0> 6  7
      prefix   1  1  1  1    0  0  0     if `prefix_visible`
      targets             <0> 6 7 </s>
  """
  both = np.concatenate([pair.source, pair.target], axis=1)
  kept = [
    _within(pair.source, pair.source_sizes),
    _within(pair.target, pair.target_sizes),
  ]
  kept = np.concatenate(kept, axis=1)
  row, sizes = rows.compact(both, kept, both.shape[1], pad_id)
  place = np.arange(row.shape[1] - 1)
  inputs = {'tokens': row[:, :-1]}
  source_sizes = pair.source_sizes[:, None]
  if prefix_visible:
    inputs['prefix'] = place < source_sizes
  asked = (place + 1 >= source_sizes) & (place + 1 < sizes[:, None])
  return _asking(inputs, row[:, 1:], asked)


def scorer(
  vocabulary: Vocabulary, z_loss: float, label_smoothing: float
) -> Callable[..., tuple[dict, dict]]:
  """Returns the loss; its `text_loss` excludes sentinels and special tokens."""
  check_share('label_smoothing', label_smoothing)
  is_text = ~masking.special_table(vocabulary)

  def loss(answers, targets, weights):
    of_text = jnp.asarray(is_text)[targets['tokens']]
    term, metrics = cross_entropy(
      answers['tokens'],
      targets['tokens'],
      weights['tokens'],
      z_loss,
      label_smoothing,
      parts={'text_loss': weights['tokens'] * of_text},
    )
    return {'tokens': term}, metrics

  return loss


def end_of(vocabulary: Vocabulary) -> int:
  """Returns the token that ends a text."""
  for id in (vocabulary.eos_id, vocabulary.sep_id):
    if id is not None:
      return id
  raise UserError(
    'The tokenizer has no token that ends a text, so a decoder could not tell'
    " when it is done. Set config.data.tokenizer to 'unigram' or 'bpe', or"
    ' config.data.end_of_text to True.'
  )


def _within(row, sizes):
  return np.arange(row.shape[1]) < sizes[:, None]


def _asking(inputs, targets, asked):
  weights = {'tokens': asked.astype(np.float32)}
  return Batch(inputs, {'tokens': targets}, weights)
