"""Reconstruct a text from masked spans of unknown length (BART)."""

import math

import numpy as np
from jaxtyping import Bool, Int

from lm.data import randomness
from lm.objectives import masking, noise, rows
from lm.objectives.denoising import Corruption, Texts, denoising
from lm.objectives.objective import Objective, check_share
from lm.types import Form, Vocabulary


def infilling(
  form: Form,
  vocabulary: Vocabulary,
  *,
  noise_density: float = 0.3,
  mean_span: float = 3.0,
  prefix_visible: bool = True,
  z_loss: float = 0.0,
  label_smoothing: float = 0.0,
) -> Objective:
  """Returns the objective (Lewis et al. 2020, 2.2).

  Args:
    form: Form of the model.
    vocabulary: Vocabulary; a sentinel masks if there is no mask token.
    noise_density: Fraction of the tokens that is masked.
    mean_span: Mean length of spans, which is Poisson distributed; a span of
      length 0 inserts a mask between two tokens.
    prefix_visible: See `denoising`.
    z_loss: See `cross_entropy`.
    label_smoothing: See `cross_entropy`.
  """
  check_share('noise_density', noise_density)
  noise.check_span('mean_span', mean_span)
  mask_id = masking.mask_of(vocabulary)

  def corrupt(tokens, valid, index, seed):
    sizes = valid.sum(axis=1)
    hidden = np.round(sizes * noise_density).astype(np.int64)
    spans, counts = poisson_spans(hidden, mean_span, index, seed)
    source = place(tokens, sizes, spans, counts, mask_id, index, seed)
    return Texts(*source, tokens, valid)

  return denoising(
    'infilling',
    form,
    vocabulary,
    Corruption(corrupt, lambda length: (length + 1, length + 1)),
    prefix_visible,
    z_loss,
    label_smoothing,
  )


def poisson_spans(
  total: Int[np.ndarray, 'B'],
  mean: float,
  index: Int[np.ndarray, 'B'],
  seed: int,
) -> tuple[Int[np.ndarray, 'B M'], Int[np.ndarray, 'B']]:
  """Returns span lengths that add up to `total` in each row, and their number.

  They are drawn until they suffice, and the last is cut. There are at most
  `total` spans, so that no row grows; if these do not suffice, which happens
  only in the shortest rows, the last is longer.
  """
  most = max(1, int(total.max(initial=1)))
  number = np.arange(most)
  drawn = randomness.uniform(seed, 'infilling spans', index[:, None], number)
  lengths = np.searchsorted(_poisson_cdf(mean), drawn, 'right')
  ends = np.minimum(np.cumsum(lengths, axis=1), total[:, None])
  ends = np.where(number < total[:, None] - 1, ends, total[:, None])
  spans = np.diff(ends, axis=1, prepend=0)
  before = ends - spans
  counts = np.sum(before < total[:, None], axis=1)
  return spans, counts


def place(
  tokens: Int[np.ndarray, 'B L'],
  sizes: Int[np.ndarray, 'B'],
  spans: Int[np.ndarray, 'B M'],
  counts: Int[np.ndarray, 'B'],
  mask_id: int,
  index: Int[np.ndarray, 'B'],
  seed: int,
) -> tuple[Int[np.ndarray, 'B L'], Bool[np.ndarray, 'B L']]:
  """Returns each row with its spans replaced by masks, and its extent.

  Masks and kept tokens are interleaved uniformly at random; each mask then
  stands for the tokens of its span.

  Args:
    tokens: The text.
    sizes: Number of tokens in each row, on the left.
    spans: Number of tokens that each mask hides.
    counts: Number of masks in each row.
    mask_id: The mask token.
    index: Indices of the examples.
    seed: Seed of the run.
  """
  slot = np.arange(tokens.shape[1])
  width = sizes - spans.sum(axis=1) + counts
  inside = slot < width[:, None]
  scores = randomness.uniform(seed, 'infilling places', index[:, None], slot)
  masked = rows.choose(np.where(inside, scores, np.inf), counts)
  number = np.maximum(np.cumsum(masked, axis=1) - 1, 0)
  hidden = np.where(masked, np.take_along_axis(spans, number, axis=1), 1)
  first = np.cumsum(hidden, axis=1) - hidden  # First token of each slot.
  text = np.take_along_axis(tokens, np.minimum(first, slot[-1]), axis=1)
  return np.where(masked, mask_id, text), inside


def _poisson_cdf(mean):
  values = np.arange(math.ceil(mean + 12 * math.sqrt(mean)) + 12)
  factorials = np.array([math.lgamma(value + 1) for value in values])
  return np.cumsum(np.exp(values * math.log(mean) - mean - factorials))
