"""Restore the order of a text's shuffled tokens (T5)."""

import numpy as np

from lm.data import randomness
from lm.objectives.denoising import Corruption, Texts, denoising
from lm.objectives.objective import Objective
from lm.types import Form, Vocabulary


def deshuffling(
  form: Form,
  vocabulary: Vocabulary,
  *,
  prefix_visible: bool = True,
  z_loss: float = 0.0,
  label_smoothing: float = 0.0,
) -> Objective:
  """Returns the objective (Raffel et al. 2020, 3.3.1; Liu et al. 2019).

  Args:
    form: Form of the model.
    vocabulary: Vocabulary of the tokenizer.
    prefix_visible: See `denoising`.
    z_loss: See `cross_entropy`.
    label_smoothing: See `cross_entropy`.
  """

  def corrupt(tokens, valid, index, seed):
    columns = np.arange(tokens.shape[1])
    scores = randomness.uniform(seed, 'deshuffling', index[:, None], columns)
    order = np.argsort(np.where(valid, scores, np.inf), axis=1)
    shuffled = np.take_along_axis(tokens, order, axis=1)
    return Texts(shuffled, valid, tokens, valid)

  return denoising(
    'deshuffling',
    form,
    vocabulary,
    Corruption(corrupt, lambda length: (length + 1, length + 1)),
    prefix_visible,
    z_loss,
    label_smoothing,
  )
