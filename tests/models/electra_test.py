"""A generator that draws, and a discriminator that reads what it drew."""

import jax
import jax.numpy as jnp
import numpy as np

from lm import models
from tests.models import tiny

MASKED = np.array([[0, 1, 0, 0, 1, 0, 0, 0], [0, 0, 0, 1, 0, 0, 0, 0]], bool)
PREDICT_AT = np.array([[1, 4], [3, 0]])  # The last fills the row up.


def setting():
  model = models.build('electra', 'small', **tiny.SIZES, generator_size=0.5)
  inputs = {
    'tokens': tiny.tokens(),
    'masked': MASKED,
    'predict_at': PREDICT_AT,
  }
  inputs = jax.tree.map(jnp.asarray, inputs)
  return model, tiny.params_for(model, **inputs), inputs


def answers(model, params, inputs, seed=0):
  return model.apply(
    {'params': params},
    **inputs,
    rngs={'sample': jax.random.key(seed)},
    method='answer',
  )


def test_only_what_is_hidden_is_drawn_anew():
  model, params, inputs = setting()
  draw = tiny.quick_jit(lambda seed: answers(model, params, inputs, seed))
  drawn = np.array([draw(seed)['corrupted'] for seed in range(8)])
  assert (drawn == np.asarray(inputs['tokens']))[:, ~MASKED].all()
  assert len({tuple(row) for row in drawn[:, MASKED]}) > 1
  np.testing.assert_array_equal(draw(3)['corrupted'], drawn[3])


def test_the_discriminator_reads_what_was_drawn_and_teaches_nothing_of_it():
  model, params, inputs = setting()

  def score(params):
    return jnp.sum(answers(model, params, inputs)['replaced'] ** 2)

  grads = tiny.quick_jit(jax.grad(score))(params)
  assert all((leaf == 0).all() for leaf in jax.tree.leaves(grads['generator']))
  assert np.abs(grads['encoder']['block']['mlp']['up']['kernel']).max() > 0

  made = tiny.quick_jit(lambda: answers(model, params, inputs))()
  plain = tiny.quick_jit(
    lambda tokens: answers(model, params, {'tokens': tokens})
  )(made['corrupted'])
  np.testing.assert_allclose(made['replaced'], plain['replaced'], atol=1e-5)


def test_the_generator_is_a_share_of_the_discriminator():
  _, params, _ = setting()
  shape = lambda stack: params[stack]['block']['attention']['query']['kernel']
  assert shape('encoder').shape == (2, 6, 2, 4)
  assert shape('generator').shape == (2, 4, 1, 4)
