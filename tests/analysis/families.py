"""A tiny model of each family, with what it reads."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.models import tiny

SOURCE = tiny.tokens(2, 7, seed=5)
VALID = np.arange(7)[None] < np.array([[7], [4]])
ENCODER_DECODER = {
  'source_tokens': SOURCE,
  'source_valid': VALID,
  'tokens': tiny.tokens(2, 5),
}
ENCODER = {'tokens': SOURCE, 'valid': VALID}
# Each family, what it is given, and the stack that answers.
NAMES = {
  'gpt': (('gpt', 'gpt2'), {'tokens': tiny.tokens()}, 'decoder'),
  'bert': (('bert', 'tiny'), ENCODER, 'encoder'),
  'roberta': (('roberta', 'base'), ENCODER, 'encoder'),
  't5-tied': (('t5', 'small'), ENCODER_DECODER, 'decoder'),
  't5': (('t5', 'v1.1-small'), ENCODER_DECODER, 'decoder'),
  'electra': (
    ('electra', 'small'),
    {'tokens': SOURCE, 'valid': VALID, 'masked': SOURCE > 6},
    'generator',
  ),
  'transformer': (('transformer', 'base'), ENCODER_DECODER, 'decoder'),
}


@functools.cache
def family(name):
  """Returns a model of the family, its parameters, inputs, and main stack."""
  (architecture, preset), inputs, stack = NAMES[name]
  inputs = jax.tree.map(jnp.asarray, inputs)
  model = tiny.build(architecture, preset, num_layers=3)
  if architecture == 't5':
    model = model.clone(num_decoder_layers=3)
  return model, tiny.params_for(model, **inputs), inputs, stack


def of_tokens(answers: Any) -> np.ndarray:
  """Returns the scores of tokens, whatever else is answered."""
  return np.asarray(answers['tokens'] if isinstance(answers, dict) else answers)


def logits(model, params, inputs):
  """Returns what the model says of tokens, compiled once."""
  return of_tokens(tiny.apply(model, params, **inputs))


def assert_near(got, expected):
  """Raises unless all are within 1e-5 of the largest of them."""
  largest = np.abs(expected).max()
  np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * largest)
