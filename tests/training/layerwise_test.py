"""A stack of layers is updated as separate layers are."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lm.parallel import mesh as meshes
from lm.training import optimizers
from lm.training.layerwise import per_layer
from lm.types import path_of
from tests.models import tiny

# Each layer's arrays, as models here have them and as they are published.
LAYER = {
  'attention/query/kernel': ((6, 2, 4), (6, 8)),
  'attention/query/bias': ((2, 4), (8,)),
  'attention/out/kernel': ((2, 4, 6), (8, 6)),
  'attention/out/bias': ((6,), (6,)),
  'mlp/up/kernel': ((6, 10), (6, 10)),
  'mlp/up/bias': ((10,), (10,)),
  'mlp/down/kernel': ((10, 6), (10, 6)),
  'mlp_norm/scale': ((6,), (6,)),
}
ALONE = {
  'token/embedding': ((14, 6), (14, 6)),
  'encoder/relative_bias': ((4, 2), (4, 2)),
  'decoder/final_norm/scale': ((6,), (6,)),
}
STACKS = {'encoder': 2, 'decoder': 3}


def draw(rng, spread):
  """Returns random arrays by path: stacked, and of separate layers."""
  stacked, separate = {}, {}
  for path, (shape, published) in ALONE.items():
    stacked[path] = rng.normal(size=shape) * spread()
    separate[path] = stacked[path].reshape(published)
  for stack, height in STACKS.items():
    for path, (shape, published) in LAYER.items():
      layers = [rng.normal(size=shape) * spread() for _ in range(height)]
      stacked[f'{stack}/block/{path}'] = np.stack(layers)
      for i, layer in enumerate(layers):
        separate[f'{stack}/{i}/{path}'] = layer.reshape(published)
  return [
    {path: jnp.asarray(x, jnp.float32) for path, x in tree.items()}
    for tree in (stacked, separate)
  ]


RNG = np.random.default_rng(0)
SPREAD = lambda: 10 ** RNG.uniform(-2, 1)  # No two layers are alike.
PARAMS = draw(RNG, SPREAD)
GRADS = [draw(RNG, SPREAD) for _ in range(5)]


def five_steps(tx, which):
  params, update = PARAMS[which], tiny.quick_jit(tx.update)
  state = tx.init(params)
  for grads in GRADS:
    updates, state = update(grads[which], state, params)
    params = optax.apply_updates(params, updates)
  return params


def difference(stacked, separate):
  """Returns the greatest difference, as a share of an array's greatest."""
  worst = 0.0
  for path, got in stacked.items():
    expected = separate.get(path)
    if expected is None:
      stack, _, rest = path.partition('/block/')
      layers = [separate[f'{stack}/{i}/{rest}'] for i in range(STACKS[stack])]
      expected = jnp.stack(layers).reshape(got.shape)
    off = jnp.abs(got - expected).max() / jnp.abs(expected).max()
    worst = max(worst, float(off))
  return worst


@pytest.mark.parametrize(
  'name, settings',
  [
    ('adamw', {}),
    ('bert_adam', {}),
    ('adafactor', {'min_dim_size_to_factor': 5}),
    ('adafactor', {'min_dim_size_to_factor': 5, 'momentum': 0.9}),
    ('adafactor', {}),
    ('lamb', {}),
    ('lion', {}),
    ('muon', {}),
    ('schedule_free', {}),
    ('sgd', {'momentum': 0.9}),
  ],
)
def test_five_steps_on_stacks_are_those_on_separate_layers(name, settings):
  tx, _ = optimizers.build(
    name,
    5,
    learning_rate=0.01,
    schedule='constant',
    weight_decay=0.1,
    **settings,
  )
  assert difference(five_steps(tx, 0), five_steps(tx, 1)) < 1e-6
  assert difference(PARAMS[0], five_steps(tx, 1)) > 1e-3  # They did move.


STEP = optax.scale(-0.01)
OF_ARRAYS = {
  'adafactor': optax.chain(
    optax.scale_by_factored_rms(min_dim_size_to_factor=5),
    optax.clip_by_block_rms(1.0),
    optax.scale_by_param_block_rms(),
    STEP,
  ),
  'lamb': optax.chain(
    optax.scale_by_adam(), optax.scale_by_trust_ratio(), STEP
  ),
  'of some arrays': optax.chain(
    optax.masked(
      optax.scale_by_factored_rms(min_dim_size_to_factor=5),
      lambda params: {path: path.endswith('kernel') for path in params},
    ),
    STEP,
  ),
}


@pytest.mark.parametrize('name', OF_ARRAYS)
def test_any_transformation_can_be_taken_to_layers(name):
  tx = OF_ARRAYS[name]
  expected = five_steps(tx, 1)
  assert difference(five_steps(per_layer(tx), 0), expected) < 1e-6
  assert difference(five_steps(tx, 0), expected) > 1e-3  # Unaware.


BLOCK = 'decoder/block'


def test_a_transformation_sees_the_published_matrices():
  seen = {}

  def init(params):
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
      seen[path_of(path)] = leaf.shape
    return optax.EmptyState()

  params = tiny.params_of(tiny.gpt(num_layers=3))
  per_layer(optax.GradientTransformation(init, None)).init(params)
  heads = [f'{BLOCK}/attention/{name}' for name in ('query', 'key', 'value')]
  norms = [f'{BLOCK}/attention_norm', f'{BLOCK}/mlp_norm', 'decoder/final_norm']
  assert seen == {
    'token/embedding': (13, 6),
    'position/embedding': (12, 6),
    **{f'{head}/kernel': (6, 8) for head in heads},
    **{f'{head}/bias': (8,) for head in heads},
    f'{BLOCK}/attention/out/kernel': (8, 6),
    f'{BLOCK}/attention/out/bias': (6,),
    f'{BLOCK}/mlp/up/kernel': (6, 10),
    f'{BLOCK}/mlp/up/bias': (10,),
    f'{BLOCK}/mlp/down/kernel': (10, 6),
    f'{BLOCK}/mlp/down/bias': (6,),
    **{f'{norm}/{name}': (6,) for norm in norms for name in ('scale', 'bias')},
  }


def by_path(tree):
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {path_of(keys): leaf for keys, leaf in leaves}


@pytest.mark.parametrize(
  'name, settings, likes',
  [
    ('adamw', {}, 2),
    ('bert_adam', {}, 2),
    ('adafactor', {}, 1),
    ('adafactor', {'momentum': 0.9, 'min_dim_size_to_factor': 5}, 1),
    ('lamb', {}, 2),
    ('lion', {}, 1),
    ('muon', {}, 1),
    ('sophia', {}, 2),
    ('schedule_free', {}, 2),
  ],
)
def test_statistics_are_split_as_their_parameters_or_not(name, settings, likes):
  mesh = meshes.make_mesh(fsdp=2, tensor=2)
  tx, _ = optimizers.build(name, 5, learning_rate=0.01, **settings)
  state = jax.eval_shape(tx.init, PARAMS[0])
  arrays = by_path(state)
  specs = by_path(meshes.state_shardings(state, mesh))
  params = by_path(meshes.state_shardings(PARAMS[0], mesh))
  for path, param in params.items():
    shape = PARAMS[0][path].shape
    same = {p for p in arrays if p.endswith(path) and arrays[p].shape == shape}
    assert len(same) >= likes, path
    for p in same:
      assert specs.pop(p).spec == param.spec, p
  assert all(not any(sharding.spec) for sharding in specs.values())


def test_adafactor_takes_the_same_step_on_a_mesh():
  mesh = meshes.make_mesh(fsdp=2, tensor=2)
  tx, _ = optimizers.build(
    'adafactor', 5, learning_rate=0.01, min_dim_size_to_factor=5
  )
  state = jax.jit(tx.init)(PARAMS[0])
  trees = (GRADS[0][0], state, PARAMS[0])
  spread = jax.device_put(trees, meshes.state_shardings(trees, mesh))
  update = tiny.quick_jit(tx.update)
  got = by_path(update(*spread))
  for path, expected in by_path(update(*trees)).items():
    np.testing.assert_allclose(got[path], expected, rtol=1e-5, atol=1e-7)
