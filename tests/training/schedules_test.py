"""Schedules go through the rates that their papers say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lm.training import optimizers
from lm.types import UserError

HALF = 0.5**0.5

# Of a run of 8 steps, 2 of them warm-up, from 0.6: the rates at 0, 1, 2, ...
SCHEDULES = [
  ('constant', {}, [0.2, 0.4, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6]),
  ('linear', {}, [0.2, 0.4, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0]),
  (
    'linear',
    {'end_learning_rate': 0.3},
    [0.2, 0.4, 0.6, 0.55, 0.5, 0.45, 0.4, 0.35, 0.3, 0.3],
  ),
  (
    'linear',
    {'warmup_steps': 0},
    [0.6, 0.525, 0.45, 0.375, 0.3, 0.225, 0.15, 0.075, 0.0],
  ),
  (
    'cosine',  # Of 0, 30, 60, ... degrees.
    {'end_learning_rate': 0.1},
    [0.2, 0.4, 0.6, 0.35 + 0.125 * 3**0.5, 0.475, 0.35, 0.225]
    + [0.35 - 0.125 * 3**0.5, 0.1, 0.1],
  ),
  (
    'inverse_sqrt',
    {},
    [0.2, 0.4, 0.6, 0.6 * (2 / 3) ** 0.5, 0.6 * HALF]
    + [0.6 * 0.4**0.5, 0.6 / 3**0.5, 0.6 * (2 / 7) ** 0.5, 0.3],
  ),
  ('inverse_sqrt', {'warmup_steps': 0}, [0.6, 0.6 * HALF, 0.6 / 3**0.5, 0.3]),
  (
    'warmup_stable_decay',
    {'decay_steps': 3},
    [0.2, 0.4, 0.6, 0.6, 0.6, 0.6, 0.4, 0.2, 0.0, 0.0],
  ),
  (
    'warmup_stable_decay',  # A tenth of the steps, and one at least.
    {'end_learning_rate': 0.3},
    [0.2, 0.4, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.3, 0.3],
  ),
  (  # There is no ramp.
    'rsqrt',
    {},
    [0.6, 0.6, 0.6, 0.6 * (2 / 3) ** 0.5, 0.6 * HALF, 0.6 * 0.4**0.5],
  ),
  ('rsqrt', {'warmup_steps': 0}, [0.6, 0.6, 0.6 * HALF, 0.6 / 3**0.5, 0.3]),
  ('rsqrt', {'warmup_steps': 9}, [0.6] * 10),  # Longer than the run.
]


@pytest.mark.parametrize('schedule, changes, rates', SCHEDULES)
def test_a_schedule_goes_through_these_rates(schedule, changes, rates):
  settings = {'learning_rate': 0.6, 'warmup_steps': 2} | changes
  _, rate = optimizers.build('sgd', 8, schedule=schedule, **settings)
  got = jax.jit(jax.vmap(rate))(jnp.arange(len(rates)))
  np.testing.assert_allclose(got, rates, atol=1e-6)


@pytest.mark.parametrize(
  'step, rate',
  [
    (0, 0.01),
    (9_999, 0.01),
    (10_000, 0.01),
    (40_000, 0.005),
    (1_000_000, 0.001),
  ],
)
def test_rsqrt_is_that_of_t5(step, rate):
  _, schedule = optimizers.build(
    'adafactor',
    1_000_000,
    schedule='rsqrt',
    learning_rate=0.01,
    warmup_steps=10_000,
  )
  np.testing.assert_allclose(schedule(step), rate, rtol=1e-6)


@pytest.mark.parametrize(
  'arguments, message',
  [
    ({'schedule': 'cosin'}, 'config.optimizer.schedule to one of cosine'),
    ({'warmup_steps': 8}, 'Set config.optimizer.warmup_steps under'),
    ({'warmup_steps': -1}, 'warmup_steps is -1, .* config.optimizer.warmup_s'),
    (
      {'warmup_steps': -1, 'schedule': 'rsqrt'},
      'warmup_steps is -1, .* config.optimizer.warmup_steps to 0 or more',
    ),
    ({'decay_steps': -1}, 'decay_steps is -1, .* config.optimizer.decay_steps'),
    ({'learning_rate': 0.0}, 'learning_rate above 0'),
    ({'end_learning_rate': 1.0}, 'end_learning_rate up to learning_rate'),
    ({'end_learning_rate': -0.1}, 'schedule from 0.6 to -0.1'),
  ],
)
def test_what_cannot_be_followed_is_refused(arguments, message):
  settings = {'learning_rate': 0.6} | arguments
  with pytest.raises(UserError, match=message):
    optimizers.build('adamw', num_steps=8, **settings)
