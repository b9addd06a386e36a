"""Layers of a stack learn at rates of their own, or not at all, or later."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lm.training import groups, optimizers
from lm.types import UserError, path_of
from tests.models import tiny
from tests.training.layerwise_test import (
  GRADS,
  PARAMS,
  STACKS,
  difference,
  five_steps,
)
from tests.training.optimizers_test import params_of

STACKED, SEPARATE = PARAMS
DECAY = 0.5


def distance(path):
  """Counts by hand how far below the heads a separate array is."""
  by_name = {
    'token/embedding': 4,  # Below the three layers of the decoder.
    'encoder/relative_bias': 2,  # With the first of the encoder.
    'decoder/final_norm/scale': 0,
  }
  if path in by_name:
    return by_name[path]
  stack, layer, *_ = path.split('/')
  return STACKS[stack] - int(layer)


def build(name, **settings):
  return optimizers.build(
    name,
    5,
    learning_rate=0.01,
    schedule='constant',
    weight_decay=0.1,
    **settings,
  )[0]


@pytest.mark.parametrize(
  'name, settings',
  [
    ('adamw', {}),
    ('adafactor', {'min_dim_size_to_factor': 5}),
    ('lamb', {}),
    ('lion', {}),
    ('muon', {}),
    ('schedule_free', {}),
    ('sgd', {'momentum': 0.9}),
  ],
)
def test_a_decay_by_layer_gives_each_separate_layer_its_rate(name, settings):
  tx = build(name, layer_decay=DECAY, **settings)
  rates = tuple(f'^{path}$={DECAY ** distance(path)}' for path in SEPARATE)
  expected = five_steps(build(name, rates=rates, **settings), 1)
  assert difference(five_steps(tx, 0), expected) < 1e-6
  plain = five_steps(build(name, **settings), 1)
  assert difference(five_steps(tx, 0), plain) > 1e-3


def test_a_layer_that_learns_slower_is_one_of_adamw_with_that_rate():
  tx = build('adamw', layer_decay=DECAY, clip_norm=0.0)
  expected = {}
  for path, param in SEPARATE.items():
    rate = 0.01 * DECAY ** distance(path)
    decays = path.split('/')[-1] in ('kernel', 'embedding')
    own = optax.adamw(rate, weight_decay=0.1 if decays else 0.0)
    state = own.init(param)
    for _, grads in GRADS:
      update, state = own.update(grads[path], state, param)
      param = param + update
    expected[path] = param
  assert difference(five_steps(tx, 0), expected) < 1e-6


@pytest.mark.parametrize('unfreeze_steps', [1, 2])
def test_each_layer_begins_later_than_the_one_above(unfreeze_steps):
  tx = build('adamw', unfreeze_steps=unfreeze_steps, clip_norm=0.0)
  own = optax.adamw(0.01, weight_decay=0.1, mask=optimizers.labels(
    optimizers.MATRICES, True, False
  ))  # fmt: skip
  params, expected = PARAMS
  state, states = tx.init(params), own.init(expected)
  update = tiny.quick_jit(tx.update)
  for step, (grads, of_separate) in enumerate(GRADS):
    updates, state = update(grads, state, params)
    params = optax.apply_updates(params, updates)
    updates, states = own.update(of_separate, states, expected)
    expected = {
      path: param + (step >= unfreeze_steps * distance(path)) * updates[path]
      for path, param in expected.items()
    }
    assert difference(params, expected) < 1e-6
    for path, param in params.items():
      if '/block/' not in path:
        begun = step >= unfreeze_steps * distance(path)
        assert begun or (param == STACKED[path]).all()
        continue
      stack, _, rest = path.partition('/block/')
      for layer in range(STACKS[stack]):
        begun = step >= unfreeze_steps * distance(f'{stack}/{layer}/{rest}')
        same = (param[layer] == STACKED[path][layer]).all()
        assert same != begun, (path, layer, step)


@pytest.mark.parametrize('name', ['adamw', 'adafactor', 'lamb', 'muon'])
def test_one_layer_of_a_stack_can_stay_as_it_is(name):
  rates = ('^(token|decoder/block/[01])/=0', 'encoder/block/1/mlp/=0.5')
  tx = build(name, rates=rates, layer_decay=DECAY)
  got = five_steps(tx, 0)
  separate = {path: DECAY ** distance(path) for path in SEPARATE}
  for path in separate:
    if path.startswith(('token/', 'decoder/0/', 'decoder/1/')):
      separate[path] = 0.0
    elif path.startswith('encoder/1/mlp/'):
      separate[path] = 0.5 * DECAY
  by_hand = tuple(f'^{path}$={factor}' for path, factor in separate.items())
  expected = five_steps(build(name, rates=by_hand), 1)
  assert difference(got, expected) < 1e-6
  for path, param in got.items():
    if path.startswith('token/'):
      np.testing.assert_array_equal(param, STACKED[path])
    if path.startswith('decoder/block/'):
      np.testing.assert_array_equal(param[:2], STACKED[path][:2])
      assert (param[2] != STACKED[path][2]).any()


def test_what_stays_has_neither_state_nor_decay_and_counts_in_no_norm():
  rates = ('^(token|encoder)/=0',)
  tx = build('adamw', rates=rates, clip_norm=0.5)
  moving = {path for path in STACKED if path.startswith('decoder/')}
  size = sum(STACKED[path].size for path in moving)
  state = jax.eval_shape(tx.init, STACKED)
  held = sum(leaf.size for leaf in jax.tree.leaves(state) if leaf.ndim)
  assert held == 2 * size  # Of Adam.
  got = five_steps(tx, 0)
  for path in STACKED.keys() - moving:
    np.testing.assert_array_equal(got[path], STACKED[path])
  alone = {path: STACKED[path] for path in moving}
  tx = build('adamw', clip_norm=0.5)
  state = tx.init(alone)
  for grads, _ in GRADS:
    updates, state = tx.update({p: grads[p] for p in moving}, state, alone)
    alone = optax.apply_updates(alone, updates)
  for path in moving:
    np.testing.assert_allclose(got[path], alone[path], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
  'frozen, below',
  [
    ('^decoder/', 4),  # The embeddings stay below layers that do not move.
    ('^encoder/', 4),
  ],
)
def test_layers_count_whether_they_move_or_not(frozen, below):
  tx = build('sgd', rates=(f'{frozen}=0',), layer_decay=DECAY, clip_norm=0.0)
  plain = build('sgd', clip_norm=0.0)
  grads = GRADS[0][0]
  got, _ = tx.update(grads, tx.init(STACKED), STACKED)
  whole, _ = plain.update(grads, plain.init(STACKED), STACKED)
  np.testing.assert_allclose(
    got['token/embedding'],
    DECAY**below * whole['token/embedding'],
    rtol=1e-6,
  )


@pytest.mark.parametrize(
  'family, preset, bottom, above',
  [
    ('gpt', 'gpt2', {'token', 'position'}, {'decoder/final_norm'}),
    (
      'bert',
      'base',
      {'token', 'position', 'token_type', 'embedding_norm'},
      {'transform', 'transform_norm', 'output_bias'},
    ),
    (
      't5',
      'v1.1-small',
      {'token'},
      {'output', 'encoder/final_norm', 'decoder/final_norm'},
    ),
  ],
)
def test_all_that_is_no_layer_lies_below_or_above(
  family, preset, bottom, above
):
  params = params_of(family, preset)
  leaves = jax.tree_util.tree_leaves_with_path(params)
  shapes = {path_of(keys): leaf.shape for keys, leaf in leaves}
  found = groups.below_top(params)
  height = shapes['encoder/block/mlp/up/kernel' if family != 'gpt' else
                  'decoder/block/mlp/up/kernel'][0]  # fmt: skip
  places = {}
  for path, below in found.items():
    if '/block/' in path:
      np.testing.assert_array_equal(below.ravel(), np.arange(height, 0, -1))
      assert below.ndim == len(shapes[path])
    else:
      name = path.rsplit('/', 1)[0]
      places.setdefault(int(below), set()).add(name)
  expected = {height + 1: bottom, 0: above}
  if family == 't5':
    expected[height] = {'encoder', 'decoder'}  # Their biases by distance.
  assert places == expected


@pytest.mark.parametrize(
  'settings, message',
  [
    (
      {'layer_decay': 1.5},
      'layer_decay is 1.5, .*config.optimizer.layer_decay',
    ),
    (
      {'layer_decay': 0.0},
      'layer_decay is 0.0, .*config.optimizer.layer_decay',
    ),
    (
      {'unfreeze_steps': -1},
      'unfreeze_steps is -1, .*config.optimizer.unfreeze',
    ),
  ],
)
def test_what_is_no_decay_by_layer_is_refused(settings, message):
  with pytest.raises(UserError, match=message):
    build('adamw', **settings)


def test_an_optimizer_without_groups_keeps_the_state_that_it_had():
  plain, grouped = build('adamw'), build('adamw', layer_decay=1.0)
  states = [jax.eval_shape(tx.init, STACKED) for tx in (plain, grouped)]
  assert jax.tree.structure(states[0]) == jax.tree.structure(states[1])
  scaled = jax.eval_shape(build('adamw', layer_decay=0.9).init, STACKED)
  sizes = [sum(leaf.size for leaf in jax.tree.leaves(s)) for s in states]
  assert sum(leaf.size for leaf in jax.tree.leaves(scaled)) == sizes[0]


def test_slices_learn_at_their_rates_where_arrays_are_in_bfloat16():
  tx = build('sgd', layer_decay=DECAY, clip_norm=0.0)
  params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), STACKED)
  updates, _ = tx.update(params, tx.init(params), params)
  assert all(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(updates))
