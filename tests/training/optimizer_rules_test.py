"""LAMB, Lion, Muon, Sophia and schedule-free, and rates by pattern."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lm.training import optimizers
from lm.types import UserError
from tests.training.step_test import GOOD, OTHER, follow

STEPS = 6
RNG = np.random.default_rng(0)
# One layer that is no stack, so that optax's own optimizers fit it.
SHAPES = {
  'token/embedding': (7, 4),
  'decoder/0/mlp/up/kernel': (4, 6),
  'decoder/0/mlp/down/kernel': (6, 4),
  'decoder/0/mlp/up/bias': (6,),
}
PARAMS, *GRADS = (
  {path: jnp.asarray(RNG.normal(size=shape)) for path, shape in SHAPES.items()}
  for _ in range(STEPS + 1)
)


def ours(name, rates=(), schedule='constant', **settings):
  return optimizers.build(
    name,
    STEPS,
    learning_rate=0.02,
    schedule=schedule,
    clip_norm=0.0,
    rates=rates,
    **settings,
  )[0]


def descend(tx):
  params, state = PARAMS, tx.init(PARAMS)
  for grads in GRADS:
    updates, state = tx.update(grads, state, params)
    params = optax.apply_updates(params, updates)
  return params, state


def assert_equal(got, expected):
  for path, leaf in expected.items():
    np.testing.assert_allclose(got[path], leaf, rtol=2e-5, atol=1e-6)


MATRIX = {path: not path.endswith('bias') for path in SHAPES}


@pytest.mark.parametrize(
  ('name', 'theirs'),
  [
    ('lion', optax.lion(0.02, weight_decay=0.1, mask=MATRIX)),
    ('lamb', optax.lamb(0.02, weight_decay=0.1, mask=MATRIX)),
    (
      'schedule_free',
      optax.contrib.schedule_free(
        optax.adamw(0.02, b1=0.0, weight_decay=0.1, mask=MATRIX), 0.02
      ),
    ),
  ],
)
def test_a_rule_is_that_of_optax(name, theirs):
  assert_equal(descend(ours(name, weight_decay=0.1))[0], descend(theirs)[0])


def test_muon_makes_hidden_matrices_orthogonal_and_leaves_adam_the_rest():
  got, _ = descend(ours('muon', weight_decay=0.1))
  adam, _ = descend(ours('adamw', b2=0.95, weight_decay=0.1))
  hidden = {path for path in SHAPES if 'kernel' in path}
  assert_equal(got, {path: adam[path] for path in SHAPES.keys() - hidden})
  tx = ours('muon')
  updates, _ = tx.update(GRADS[0], tx.init(PARAMS), PARAMS)
  for path in hidden:
    sizes = np.linalg.svd(updates[path], compute_uv=False)
    # Newton and Schulz bring them near one, not to it.
    np.testing.assert_allclose(
      sizes, 0.02 * 0.2 * max(SHAPES[path]) ** 0.5, rtol=0.35
    )


# Of sum w (s x - y)^2 / sum w, the second derivative is 2 sum w x^2 / sum w.
CURVATURE = 2 * 15 / 4 + 0.5 * 2 * 11 / 3
BEST = (2 * -3 / 4 + 0.5 * 2 * 6 / 3) / CURVATURE
OF_FIRST_HALF = 2 * (2 * 2 / 4 + 0.5 * 2 * 2 / 3)  # Rows 0 and 2, twice.


@pytest.mark.parametrize(
  ('microbatches', 'curvature'), [(1, CURVATURE), (2, OF_FIRST_HALF)]
)
def test_sophia_divides_by_the_curvature_and_clips(microbatches, curvature):
  tx, _ = optimizers.build(
    'sophia',
    9,
    learning_rate=1.0,
    schedule='constant',
    clip_norm=0.0,
    b1=0.0,
    b2=0.0,
    gamma=1.0,
    interval=1,
  )
  states = follow(tx, [GOOD] * 3, microbatches=microbatches)
  slopes = [float(state.params['slope']) for state in states]
  # Nothing is known of the curvature at first: a whole step, downhill.
  assert slopes[:2] == [1.0, 0.0]
  nu = optax.tree.get(states[1].opt_state, 'nu')['slope']
  np.testing.assert_allclose(nu, curvature, rtol=1e-5)
  step = CURVATURE / curvature * (BEST - slopes[1])
  np.testing.assert_allclose(slopes[2], step, rtol=1e-4)


def test_what_is_evaluated_of_schedule_free_is_its_average():
  average = optimizers.average('schedule_free', 0.0)
  tx = ours('schedule_free')
  params, state = descend(tx)
  got = average(params, state, None)
  total = jax.tree.map(jnp.zeros_like, PARAMS)
  at, state = PARAMS, tx.init(PARAMS)
  for grads in GRADS:
    updates, state = tx.update(grads, state, at)
    at = optax.apply_updates(at, updates)
    total = jax.tree.map(jnp.add, total, optax.tree.get(state, 'z'))
  assert_equal(got, jax.tree.map(lambda x: x / STEPS, total))
  with pytest.raises(UserError, match='ema_decay to 0'):
    optimizers.average('schedule_free', 0.9)


def test_an_average_of_the_step_is_that_of_the_optimizer():
  tx = ours('schedule_free')
  average = optimizers.average('schedule_free', 0.0)
  states = follow(tx, [GOOD, OTHER, GOOD], average=average)
  for state in states[1:]:
    expected = average(state.params, state.opt_state, None)
    np.testing.assert_array_equal(state.ema['slope'], expected['slope'])
  assert states[-1].ema['slope'] != states[-1].params['slope']


NAMES = [*optimizers.OPTIMIZERS.keys() - {'sophia'}]


@pytest.mark.parametrize('name', sorted(NAMES))
def test_rates_are_factors_by_pattern_and_0_leaves_a_parameter_alone(name):
  rates = ('embedding$=0', '/up/=0.5', 'up/kernel$=9')
  plain, some = ours(name), ours(name, rates)
  state = some.init(PARAMS)
  kept = {leaf.shape for leaf in jax.tree.leaves(state)}
  assert SHAPES['token/embedding'] not in kept  # Nor is anything kept of it.
  whole, _ = plain.update(GRADS[0], plain.init(PARAMS), PARAMS)
  got, _ = some.update(GRADS[0], state, PARAMS)
  factors = dict(zip(SHAPES, (0.0, 0.5, 1.0, 0.5)))
  assert_equal(got, {p: factors[p] * whole[p] for p in SHAPES})


def test_sophia_looks_at_the_curvature_of_what_moves_alone():
  def curvature(direction):
    direction = optimizers.filled(direction, PARAMS)
    seen.append(direction)
    return jax.tree.map(lambda x: 3 * x, direction)

  seen = []
  tx = ours('sophia', ('embedding$=0',), interval=1, b2=0.0)

  @jax.jit
  def update():
    state = tx.init(PARAMS)
    _, state = tx.update(GRADS[0], state, PARAMS, curvature=curvature)
    return state

  state = update()
  found = jax.tree.leaves(optax.tree.get(state, 'nu'))
  assert {leaf.shape for leaf in found} == {*SHAPES.values()} - {(7, 4)}
  assert all((leaf == 3).all() for leaf in found)
  assert {*seen[0]} == {*SHAPES}


@pytest.mark.parametrize('told', ['embedding', 'a=b', '(=1', 'x=-1'])
def test_a_rate_that_says_nothing_is_refused(told):
  with pytest.raises(UserError, match='PATTERN=FACTOR'):
    ours('adamw', (told,))
