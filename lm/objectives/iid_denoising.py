"""Fill in tokens that were removed independently of each other (T5)."""

import math

import numpy as np

from lm.data import randomness
from lm.objectives import noise
from lm.objectives.denoising import Corruption, denoising
from lm.objectives.objective import Objective, check_share
from lm.types import Form, Vocabulary


def iid_denoising(
  form: Form,
  vocabulary: Vocabulary,
  *,
  noise_density: float = 0.15,
  prefix_visible: bool = True,
  z_loss: float = 0.0,
  label_smoothing: float = 0.0,
) -> Objective:
  """Returns the objective (Raffel et al. 2020, 3.3.2).

  Each token is noise independently of the others; adjacent noise tokens share a
  sentinel. Noise stays in the text once the target is full, 4 standard
  deviations above the mean, or the sentinels are used up.

  Args:
    form: Form of the model.
    vocabulary: Vocabulary of the tokenizer.
    noise_density: Fraction of the tokens that is removed.
    prefix_visible: See `denoising`.
    z_loss: See `cross_entropy`.
    label_smoothing: See `cross_entropy`.
  """
  check_share('noise_density', noise_density)
  sentinels = np.array(vocabulary.sentinel_ids, np.int32)

  def widths(length):
    mean = length * noise_density * (2 - noise_density)  # Sentinels included.
    room = math.ceil(mean + 4 * math.sqrt(2 * mean))
    return length + 1, min(max(room, 2), length + 1) + 1

  def corrupt(tokens, valid, index, seed):
    length = tokens.shape[1]
    columns = np.arange(length)
    drawn = randomness.uniform(seed, 'iid noise', index[:, None], columns)
    chosen = valid & (drawn < noise_density)
    room = widths(length)[1] - 1
    chosen = noise.that_fits(chosen, room, len(sentinels))
    return noise.corrupt(tokens, chosen, valid, sentinels)

  def check(length):
    noise.check_sentinels(vocabulary, 1)

  return denoising(
    'iid_denoising',
    form,
    vocabulary,
    Corruption(corrupt, widths, check),
    prefix_visible,
    z_loss,
    label_smoothing,
  )
