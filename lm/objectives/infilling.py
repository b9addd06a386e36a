"""Write a text again of which spans are masked, none saying its length (BART)."""

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
    form: How the model reads.
    vocabulary: What its tokens are; a sentinel masks where no other token does.
    noise_density: The share of the tokens that are masked.
    mean_span: Of the lengths of the spans, which are Poisson distributed; one
      of length 0 puts a mask between two tokens.
    prefix_visible: See `denoising`.
    z_loss: See `cross_entropy`, as for the next.
    label_smoothing: A share.
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
  """Returns lengths that add up to `total` in each row, and how many there are.

  They are drawn until they suffice, and the last is cut. There are no more of
  them than tokens in all, so that no row grows, and if these do not suffice,
  which is so for the shortest only, the last is longer.
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
  """Returns each row with a mask in the place of each span, and its extent.

  Masks and the tokens that stay are put in a random order, all being equally
  likely; each mask then stands for the tokens that are its span's.

  Args:
    tokens: The text.
    sizes: How many tokens each row has, on the left.
    spans: How many of them each mask hides.
    counts: How many masks each row has.
    mask_id: What masks.
    index: Of the examples.
    seed: Of the run.
  """
  slot = np.arange(tokens.shape[1])
  width = sizes - spans.sum(axis=1) + counts
  inside = slot < width[:, None]
  scores = randomness.uniform(seed, 'infilling places', index[:, None], slot)
  masked = rows.choose(np.where(inside, scores, np.inf), counts)
  number = np.maximum(np.cumsum(masked, axis=1) - 1, 0)
  hidden = np.where(masked, np.take_along_axis(spans, number, axis=1), 1)
  first = np.cumsum(hidden, axis=1) - hidden  # Of the tokens at each slot.
  text = np.take_along_axis(tokens, np.minimum(first, slot[-1]), axis=1)
  return np.where(masked, mask_id, text), inside


def _poisson_cdf(mean):
  values = np.arange(math.ceil(mean + 12 * math.sqrt(mean)) + 12)
  factorials = np.array([math.lgamma(value + 1) for value in values])
  return np.cumsum(np.exp(values * math.log(mean) - mean - factorials))
