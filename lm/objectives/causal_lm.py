"""Predict each token from those before it (GPT)."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from lm.objectives.objective import Objective, cross_entropy
from lm.types import Batch, Examples, UserError


def causal_lm(z_loss: float = 0.0, label_smoothing: float = 0.0) -> Objective:
  """Returns the objective; see `cross_entropy` for its arguments."""
  if not 0 <= label_smoothing < 1:
    raise UserError(
      f'label_smoothing is {label_smoothing}, but it is a share. Set'
      ' config.objective.label_smoothing to at least 0 and under 1.'
    )

  def loss(answers, targets, weights):
    term, metrics = cross_entropy(
      answers['tokens'],
      targets['tokens'],
      weights['tokens'],
      z_loss,
      label_smoothing,
    )
    bits = metrics['loss'][0] / math.log(2)
    metrics['bits_per_byte'] = (bits, jnp.sum(weights['bytes']))
    return {'tokens': term}, metrics

  return Objective(
    prepare=shift,
    loss=loss,
    example_length=lambda length: length + 1,
    scales={'tokens': 1.0},
  )


def shift(examples: Examples, index: Int[np.ndarray, 'B'], seed: int) -> Batch:
  """Asks each token for the next one of its document.

  tokens       5 6 7 8 9 0        inputs   5 6 7 8 9     targets  6 7 8 9 0
  segment_ids  1 1 1 2 2 0        segments 1 1 1 2 2     weights  1 1 0 1 0

  A token is not asked for the first one of the next document, nor for padding.
  """
  del index, seed  # Nothing is random.
  now, following = slice(0, -1), slice(1, None)
  asked = examples['valid'][:, following]
  inputs = {'tokens': examples['tokens'][:, now]}
  if 'segment_ids' in examples:
    segments = examples['segment_ids']
    asked = asked & (segments[:, now] == segments[:, following])
    inputs['segment_ids'] = segments[:, now]
    inputs['positions'] = examples['positions'][:, now]
  targets = examples['tokens'][:, following]
  weights = {
    'tokens': asked.astype(np.float32),
    'bytes': (asked * examples['bytes'][:, following]).astype(np.float32),
  }
  return Batch(inputs, {'tokens': targets}, weights)
