"""Devices, and where on them each array lives."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec as P

from lm import models
from lm.parallel import mesh as meshes, ways
from lm.training import optimizers
from lm.training.step import init_state
from lm.types import Batch, UserError, path_of
from tests.models import tiny


@pytest.mark.parametrize(
  'asked, shape',
  [
    ({}, (8, 1, 1, 1)),
    ({'data': 8}, (8, 1, 1, 1)),
    ({'fsdp': 2, 'tensor': 2}, (2, 2, 2, 1)),
    ({'data': 1, 'fsdp': -1}, (1, 8, 1, 1)),
    ({'data': 2, 'fsdp': 1, 'tensor': -1}, (2, 1, 4, 1)),
    ({'fsdp': 2, 'sequence': 2}, (2, 2, 1, 2)),
  ],
)
def test_a_mesh_has_all_devices_in_the_shape_asked_for(asked, shape):
  mesh = meshes.make_mesh(**asked)
  assert mesh.axis_names == ('data', 'fsdp', 'tensor', 'sequence')
  assert mesh.devices.shape == shape
  assert set(mesh.devices.flat) == set(jax.devices())
  assert ways.build('mesh', **asked).mesh == mesh


@pytest.mark.parametrize(
  'asked',
  [
    {'data': 3},
    {'data': 16},
    {'data': 4, 'tensor': 1},
    {'fsdp': 3},
    {'data': -1, 'fsdp': -1},
    {'data': 0},
    {'data': -1, 'fsdp': 0},
    {'data': -2, 'fsdp': -4},
    {'data': -1, 'fsdp': -8},
    {'data': 2, 'sequence': 2},
  ],
)
def test_a_mesh_that_does_not_use_the_devices_is_refused(asked):
  with pytest.raises(UserError, match=r'the 8 devices here.*config\.parallel'):
    meshes.make_mesh(**asked)


def test_processes_that_would_read_the_same_rows_are_refused(monkeypatch):
  of_four = [types.SimpleNamespace(process_index=n // 2) for n in range(8)]
  make = lambda sizes, *_, **__: types.SimpleNamespace(
    devices=np.array(of_four).reshape(sizes)
  )
  monkeypatch.setattr(jax, 'make_mesh', make)
  for asked in ({'tensor': 4}, {'tensor': 2, 'sequence': 2}):
    with pytest.raises(UserError, match='read the same rows, but are of 2 '):
      meshes.make_mesh(**asked)


def test_a_way_to_be_parallel_that_there_is_not_is_refused():
  with pytest.raises(
    UserError, match=r'config\.parallel\.kind to one of mesh, pmap'
  ):
    ways.build('mash')


BLOCK = 'decoder/block'
# Layers are stacked on an axis before all others.
SPECS = {
  'token/embedding': P('tensor', 'fsdp'),
  'position/embedding': P(None, None),
  f'{BLOCK}/attention/query/kernel': P(None, 'fsdp', 'tensor', None),
  f'{BLOCK}/attention/query/bias': P(None, 'tensor', None),
  f'{BLOCK}/attention/key/kernel': P(None, 'fsdp', 'tensor', None),
  f'{BLOCK}/attention/key/bias': P(None, 'tensor', None),
  f'{BLOCK}/attention/value/kernel': P(None, 'fsdp', 'tensor', None),
  f'{BLOCK}/attention/value/bias': P(None, 'tensor', None),
  f'{BLOCK}/attention/out/kernel': P(None, 'tensor', None, 'fsdp'),
  f'{BLOCK}/attention/out/bias': P(None, None),
  f'{BLOCK}/mlp/up/kernel': P(None, 'fsdp', 'tensor'),
  f'{BLOCK}/mlp/up/bias': P(None, 'tensor'),
  f'{BLOCK}/mlp/down/kernel': P(None, 'tensor', 'fsdp'),
  f'{BLOCK}/mlp/down/bias': P(None, None),
  f'{BLOCK}/attention_norm/scale': P(None, None),
  f'{BLOCK}/attention_norm/bias': P(None, None),
  f'{BLOCK}/mlp_norm/scale': P(None, None),
  f'{BLOCK}/mlp_norm/bias': P(None, None),
  'decoder/final_norm/scale': P(None),
  'decoder/final_norm/bias': P(None),
}


@functools.cache
def state_of(preset, **settings):
  """The shapes of a state with moments and an average, without its memory."""
  model = models.build('gpt', preset, **settings)
  tx, _ = optimizers.build('adamw', 9, learning_rate=1e-3, skip_nonfinite=1)
  batch = Batch({'tokens': np.zeros((1, 2), np.int32)}, {}, {})
  init = functools.partial(init_state, model, tx, batch, averages=True)
  return jax.eval_shape(init, jax.random.key(0))


def specs_of(tree):
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {path_of(path): sharding.spec for path, sharding in leaves}


def test_every_tensor_of_a_gpt2_and_its_optimizer_lives_where_the_table_says():
  mesh = meshes.make_mesh(fsdp=2, tensor=2)
  state = state_of('gpt2', vocab_multiple=128)
  specs = specs_of(meshes.state_shardings(state, mesh))
  moments = 'opt_state/inner_state/1'
  for owner in ('params', 'ema', f'{moments}/mu', f'{moments}/nu'):
    for path, spec in SPECS.items():
      assert specs.pop(f'{owner}/{path}') == spec, f'{owner}/{path}'
  assert 'step' in specs and f'{moments}/count' in specs
  assert set(specs.values()) == {P()}  # What is left are counters.


def test_a_row_is_split_over_sequence_where_it_divides():
  mesh = meshes.make_mesh(data=4, sequence=2)
  spec = lambda *shape: meshes.batch_sharding(shape, mesh).spec
  assert spec(8, 6) == P(('data', 'fsdp'), 'sequence')
  assert spec(8, 5) == spec(8) == P(('data', 'fsdp'))
  rows = np.arange(32).reshape(4, 8)
  placed = meshes.to_devices({'tokens': rows}, mesh)['tokens']
  for shard in placed.addressable_shards:
    data, _, _, part = np.argwhere(mesh.devices == shard.device)[0]
    expected = rows[data : data + 1, 4 * part : 4 * part + 4]
    np.testing.assert_array_equal(shard.data, expected)
  meshes.check_length({'tokens': 6}, mesh)
  with pytest.raises(UserError, match=r'7 source_tokens .*data\.length'):
    meshes.check_length({'tokens': 6, 'source_tokens': 7}, mesh)


def test_each_device_of_the_mesh_holds_its_part_alone():
  mesh = meshes.make_mesh(data=1, fsdp=4, tensor=2)
  state = state_of('gpt2', vocab_multiple=128)
  on_mesh = meshes.on_mesh(state, mesh)
  table = on_mesh.params['token']['embedding']
  assert table.shape == (50_304, 768) and table.dtype == jnp.float32
  assert table.sharding.shard_shape(table.shape) == (25_152, 192)
  kernel = on_mesh.params['decoder']['block']['attention']['out']['kernel']
  assert kernel.sharding.shard_shape(kernel.shape) == (12, 6, 64, 192)


@pytest.mark.parametrize(
  'preset, asked, path',
  [
    (
      'gpt2',
      {'tensor': 2},
      r'params/token/embedding .* 50257 .*vocab_multiple',
    ),
    ('gpt2-xl', {'tensor': 8}, r'attention/(query|key|value)/bias .* 25 '),
  ],
)
def test_a_dimension_that_does_not_divide_is_refused_by_its_name(
  preset, asked, path
):
  settings = {'vocab_multiple': 8} if preset == 'gpt2-xl' else {}
  state = state_of(preset, **settings)
  with pytest.raises(UserError, match=path):
    meshes.state_shardings(state, meshes.make_mesh(**asked))


@pytest.mark.parametrize(
  'batch_size, microbatches, asked',
  [
    (12, 1, {}),
    (16, 4, {}),
    (4, 1, {'fsdp': 2}),
    (0, 1, {}),
    (3, 2, {'data': 1, 'tensor': 8}),
  ],
)
def test_a_batch_that_does_not_divide_is_refused(
  batch_size, microbatches, asked
):
  with pytest.raises(UserError, match=r'Set config\.batch_size to a multiple'):
    meshes.check_batch(
      batch_size, microbatches, meshes.make_mesh(**asked).shape
    )


@pytest.mark.parametrize(
  'batch_size, microbatches, asked',
  [(8, 1, {}), (32, 4, {}), (4, 1, {'tensor': 2}), (2, 2, {'tensor': 8})],
)
def test_a_batch_that_divides_is_not(batch_size, microbatches, asked):
  meshes.check_batch(batch_size, microbatches, meshes.make_mesh(**asked).shape)


def test_the_microbatches_that_would_do_are_named():
  with pytest.raises(
    UserError, match=r'multiple of 1280, or .*one of 1, 2, 4, 8\.'
  ):
    meshes.check_batch(512, 20, {'data': 1, 'fsdp': 64})


def test_a_batch_is_split_over_data_and_fsdp():
  mesh = meshes.make_mesh(fsdp=2, tensor=2)
  rows = np.arange(24).reshape(8, 3)
  placed = meshes.to_devices({'tokens': rows}, mesh)['tokens']
  np.testing.assert_array_equal(placed, rows)
  for shard in placed.addressable_shards:
    data, fsdp, *_ = np.argwhere(mesh.devices == shard.device)[0]
    first = 4 * data + 2 * fsdp
    np.testing.assert_array_equal(shard.data, rows[first : first + 2])


def test_the_same_seed_gives_the_same_parameters_on_any_mesh():
  model = tiny.gpt(vocab_multiple=2)

  def init(mesh):
    tokens = jnp.asarray(tiny.tokens())
    make = lambda: model.init(jax.random.key(7), tokens)
    shardings = meshes.state_shardings(jax.eval_shape(make), mesh)
    return jax.device_get(tiny.quick_jit(make, out_shardings=shardings)())

  one, other = init(meshes.make_mesh()), init(meshes.make_mesh(2, 2, 2))
  jax.tree.map(np.testing.assert_array_equal, one, other)


def test_activations_are_placed_only_where_a_mesh_is_in_force():
  model, params = tiny.gpt(), tiny.params_of(tiny.gpt())

  def constraints():
    run = lambda tokens: model.apply({'params': params}, tokens)
    program = jax.make_jaxpr(run)(jnp.asarray(tiny.tokens(8)))
    return str(program).count('sharding_constraint')

  assert constraints() == 0
  with meshes.placing(meshes.make_mesh()):
    # The table, what is looked up in it, and in the layers' loop.
    assert constraints() == 1 + 1 + 9
  assert constraints() == 0


def test_a_compiled_step_keeps_the_state_where_it_is_and_takes_its_place():
  mesh = meshes.make_mesh(data=2, fsdp=4)
  split = NamedSharding(mesh, P('fsdp'))
  state = {'params': jax.device_put(jnp.arange(8.0), split)}

  def step(state, amount):
    total = state['params'] + amount
    return {'params': total}, {'loss': (total.sum(), jnp.ones(()))}

  new, metrics = meshes.compile_step(step, state, mesh)(state, 1.0)
  np.testing.assert_array_equal(new['params'], np.arange(8.0) + 1)
  assert new['params'].sharding.is_equivalent_to(split, 1)
  assert metrics['loss'][0].sharding.is_fully_replicated
  assert state['params'].is_deleted()
