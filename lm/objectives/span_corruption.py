"""Fill in the spans that were removed from a text (T5)."""

import numpy as np

from lm.objectives import noise
from lm.objectives.denoising import Corruption, denoising
from lm.objectives.objective import Objective, check_share
from lm.types import Form, Vocabulary


def span_corruption(
  form: Form,
  vocabulary: Vocabulary,
  *,
  noise_density: float = 0.15,
  mean_span: float = 3.0,
  prefix_visible: bool = True,
  z_loss: float = 0.0,
  label_smoothing: float = 0.0,
) -> Objective:
  """Returns the objective (Raffel et al. 2020, 3.1.4).

  Args:
    form: Form of the model.
    vocabulary: Vocabulary of the tokenizer.
    noise_density: Fraction of the tokens that is removed.
    mean_span: Mean length of a removed span.
    prefix_visible: See `denoising`.
    z_loss: See `cross_entropy`.
    label_smoothing: See `cross_entropy`.
  """
  check_share('noise_density', noise_density)
  noise.check_span('mean_span', mean_span)
  shares = noise.Spans(noise_density, mean_span)
  sentinels = np.array(vocabulary.sentinel_ids, np.int32)

  def corrupt(tokens, valid, index, seed):
    chosen = noise.in_spans(shares, valid, index, seed)
    return noise.corrupt(tokens, chosen, valid, sentinels)

  def check(length):
    noise.check_sentinels(vocabulary, shares.most(length))

  return denoising(
    'span_corruption',
    form,
    vocabulary,
    Corruption(corrupt, shares.widths, check),
    prefix_visible,
    z_loss,
    label_smoothing,
  )
