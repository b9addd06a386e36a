"""Continue a text from a prefix that is fully visible (T5)."""

import functools

import numpy as np
from jaxtyping import Bool, Int

from lm.data import randomness
from lm.objectives.causal_lm import shift
from lm.objectives.denoising import Corruption, Texts, denoising, scorer
from lm.objectives.objective import Objective, PromptForm
from lm.types import Batch, Examples, Form, Vocabulary


def prefix_lm(
  form: Form,
  vocabulary: Vocabulary,
  *,
  prefix_visible: bool = True,
  z_loss: float = 0.0,
  label_smoothing: float = 0.0,
) -> Objective:
  """Returns the objective (Raffel et al. 2020, 3.2.3; Liu et al. 2018).

  A text is split uniformly at random, with at least one token on either side.
  For a decoder alone, every document of a packed row is split.

  Args:
    form: Form of the model.
    vocabulary: Vocabulary of the tokenizer.
    prefix_visible: See `denoising`.
    z_loss: See `cross_entropy`.
    label_smoothing: See `cross_entropy`.
  """

  if form == 'causal':
    return Objective(
      prepare=functools.partial(in_one_row, prefix_visible=prefix_visible),
      loss=scorer(vocabulary, z_loss, label_smoothing),
      example_length=lambda length: length + 1,
      scales={'tokens': 1.0},
      prompt_form=PromptForm(visible=prefix_visible),
    )

  def corrupt(tokens, valid, index, seed):
    before = prefix({'valid': valid}, index, seed)
    return Texts(tokens, valid & before, tokens, valid & ~before)

  return denoising(
    'prefix_lm',
    form,
    vocabulary,
    Corruption(corrupt, lambda length: (length, length)),
    prefix_visible,
    z_loss,
    label_smoothing,
  )


def in_one_row(
  examples: Examples,
  index: Int[np.ndarray, 'B'],
  seed: int,
  prefix_visible: bool,
) -> Batch:
  """Returns a batch of next-token targets after the prefix of each document.

  For instance:

      tokens   5 6 7 8 9     targets  6 7 8 9 4
      prefix   1 1 1 0 0     weights  0 0 1 1 1
  """
  before = prefix(examples, index, seed)
  batch = shift(examples)
  if prefix_visible:
    batch.inputs['prefix'] = before[:, :-1]
  batch.weights['tokens'] *= ~before[:, 1:]
  return batch


def prefix(
  examples: Examples, index: Int[np.ndarray, 'B'], seed: int
) -> Bool[np.ndarray, 'B L']:
  """Returns a mask of the prefix of each document: one token to all but one."""
  valid = examples['valid']
  document = examples.get('segment_ids', valid.astype(np.int32))
  place = examples.get('positions', np.arange(valid.shape[1]))
  row = np.arange(len(valid))[:, None]
  sizes = np.zeros((len(valid), document.max(initial=0) + 1), np.int64)
  np.add.at(sizes, (row, document), 1)
  choices = sizes[row, document] - 1
  split = 1 + randomness.integers(
    seed, 'prefix', index[:, None], choices, document
  )
  return valid & (place < split)
