"""Fill in tokens that were taken out one by one (T5)."""

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

  Each token is noise or not, whatever the others are; those that stand together
  have one sentinel. Noise stays in the text where the target is full, which is
  4 standard deviations away, or the sentinels are used up.

  Args:
    form: How the model reads.
    vocabulary: What its tokens are.
    noise_density: The share of the tokens that are taken out.
    prefix_visible: See `denoising`.
    z_loss: See `cross_entropy`, as for the next.
    label_smoothing: A share.
  """
  check_share('noise_density', noise_density)
  sentinels = np.array(vocabulary.sentinel_ids, np.int32)

  def widths(length):
    mean = length * noise_density * (2 - noise_density)  # Tokens and marks.
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
