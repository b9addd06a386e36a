"""Read one text and write another: a T5, or a decoder alone.

The objectives that do this differ in what they make of a text; all else, the
rows of the batch, their fixed widths and the loss, is here.
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

# Where the search for how much text fills a row ends.
MAX_LENGTH = 1 << 24


class Texts(NamedTuple):
  """What is read and what is written, each with gaps that are yet to close."""

  source: Int[np.ndarray, 'B N']
  in_source: Bool[np.ndarray, 'B N']
  target: Int[np.ndarray, 'B M']
  in_target: Bool[np.ndarray, 'B M']


class Rows(NamedTuple):
  """A source and a target that end, and how many tokens each has.

  Attributes:
    source: What is read; after its end, padding.
    source_sizes: With the token that ends it.
    target: What is written.
    target_sizes: With the token that ends it; 0 where nothing is asked for.
  """

  source: Int[np.ndarray, 'B S']
  source_sizes: Int[np.ndarray, 'B']
  target: Int[np.ndarray, 'B T']
  target_sizes: Int[np.ndarray, 'B']


class Corruption(NamedTuple):
  """What an objective makes of a text.

  Attributes:
    corrupt: `(tokens, valid, index, seed) -> Texts`.
    widths: The most tokens that a text of so many has as source and as target,
      with those that end them.
    check: Of the same length; raises UserError if it cannot be done.
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
    name: As a config calls it.
    form: How the model reads.
    vocabulary: What its tokens are.
    corruption: What is made of a text.
    prefix_visible: Whether all of the source is seen by all of it, in a decoder
      that has both in one row.
    z_loss: See `cross_entropy`, as for the next.
    label_smoothing: A share.
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
  """Closes the gaps, and ends both texts; an empty target asks for nothing."""

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

      source  5 <0> 8 </s>    decoder reads  <pad> <0> 6  7
                              and is asked    <0>   6  7 </s>
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
  """Returns a batch for a decoder: what it is to write follows what it reads.

  For instance:

      tokens   5 <0> 8 </s> <0> 6  7
      prefix   1  1  1  1    0  0  0     of all that it may see at once
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
  """Returns the loss; its `text_loss` is without sentinels and ends."""
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
