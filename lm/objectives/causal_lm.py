"""Predict each token from those before it (GPT)."""

import math

import jax.numpy as jnp
import numpy as np

from lm.objectives.cross_entropy import cross_entropy
from lm.objectives.objective import (
  Objective,
  check_form,
  check_share,
)
from lm.types import Batch, Examples, Form, Vocabulary


def causal_lm(
  form: Form,
  vocabulary: Vocabulary,
  *,
  z_loss: float = 0.0,
  label_smoothing: float = 0.0,
) -> Objective:
  """Returns the objective.

  A T5's decoder has the same targets as a GPT; its source is a constant token.

  Args:
    form: Form of the model.
    vocabulary: Vocabulary of the tokenizer.
    z_loss: See `cross_entropy`.
    label_smoothing: See `cross_entropy`.
  """
  check_form('causal_lm', form, 'causal', 'encoder_decoder')
  check_share('label_smoothing', label_smoothing)
  nothing = vocabulary.start_id
  if vocabulary.eos_id is not None:
    nothing = vocabulary.eos_id

  def prepare(examples, index, seed):
    batch = shift(examples)
    size = batch.weights['tokens'] * examples['bytes'][:, 1:]
    batch.weights['bytes'] = size.astype(np.float32)
    if form == 'causal':
      return batch
    shape = (len(index), 1)
    source = {
      'source_tokens': np.full(shape, nothing, np.int32),
      'source_valid': np.ones(shape, bool),
    }
    return batch._replace(inputs={**source, **batch.inputs})

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
    prepare=prepare,
    loss=loss,
    example_length=lambda length: length + 1,
    scales={'tokens': 1.0},
    reads=('bytes',),
  )


def shift(examples: Examples) -> Batch:
  """Returns a batch in which each token's target is the next of its document.

      tokens       5 6 7 8 9 0        inputs   5 6 7 8 9     targets  6 7 8 9 0
      segment_ids  1 1 1 2 2 0        segments 1 1 1 2 2     weights  1 1 0 1 0

  The first token of the next document and padding are not predicted.
  """
  now, following = slice(0, -1), slice(1, None)
  asked = examples['valid'][:, following]
  inputs = {'tokens': examples['tokens'][:, now]}
  if 'segment_ids' in examples:
    segments = examples['segment_ids']
    asked = asked & (segments[:, now] == segments[:, following])
    inputs['segment_ids'] = segments[:, now]
    inputs['positions'] = examples['positions'][:, now]
  targets = examples['tokens'][:, following]
  return Batch(
    inputs, {'tokens': targets}, {'tokens': asked.astype(np.float32)}
  )
