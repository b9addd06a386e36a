"""Go on with a text whose beginning is seen as a whole (T5)."""

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

  Where a text is divided is uniform: both sides have one token at least. A
  decoder alone has every document of a packed row divided.

  Args:
    form: How the model reads.
    vocabulary: What its tokens are.
    prefix_visible: See `denoising`.
    z_loss: See `cross_entropy`, as for the next.
    label_smoothing: A share.
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
  """Asks each token for the next one of its document, after the prefix.

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
  """Returns the beginning of each document: one token to all but one."""
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
