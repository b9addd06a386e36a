"""What the devices say to each other in a step is what its layout needs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache
from jax.sharding import NamedSharding, PartitionSpec as P

from lm.analysis import collectives
from lm.parallel import mesh as meshes
from tests.parallel import small_run

LAYERS = small_run.SIZES['model.num_layers']
NUMBERS = 1000  # Bytes: norms and metrics, a few numbers each.
KERNELS = {
  'attention/query',
  'attention/key',
  'attention/value',
  'attention/out',
  'mlp/up',
  'mlp/down',
}


def size(tree):
  return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def kernels_of(block):
  leaves = jax.tree_util.tree_leaves_with_path(block)
  return [x for path, x in leaves if path[-1].key == 'kernel']


def in_layers(found, backward):
  """Those of the loop over layers, on the way there or back."""
  inside = [one for one in found if 'decoder/while' in one.origin]
  return [one for one in inside if ('transpose(' in one.origin) == backward]


@pytest.mark.parametrize(
  'name', ['gpt.py:gpt2', pytest.param('bert.py', marks=pytest.mark.slow)]
)
def test_data_parallelism_adds_up_each_gradient_once(name):
  found = small_run.said(name=name)
  state, *_ = small_run.compiled(name=name)
  # The table embeds and scores: each use has a gradient, added up by itself.
  expected = size(state.params) + size(state.params['token'])
  assert {(one.kind, one.axes) for one in found} == {('all-reduce', ('data',))}
  assert 0 <= collectives.total(found) - expected < NUMBERS


@pytest.mark.slow
def test_a_bias_by_distance_is_added_up_as_a_matrix():
  found = small_run.said(name='t5.py')
  params = small_run.compiled(name='t5.py')[0].params
  # Encoder and decoder embed, and the decoder scores.
  expected = size(params) + 2 * size(params['token'])
  for name, length in ('encoder', 32), ('decoder', 8):
    expected -= size(params[name]['relative_bias'])
    expected += 4 * LAYERS * small_run.SIZES['model.num_heads'] * length**2
  assert {(one.kind, one.axes) for one in found} == {('all-reduce', ('data',))}
  assert 0 <= collectives.total(found) - expected < NUMBERS


def test_the_compiled_reductions_do_not_grow_with_depth():
  some, more = (
    small_run.said(model__num_layers=layers) for layers in (LAYERS, 2 * LAYERS)
  )
  assert len(some) == len(more)
  in_loop = [one for one in more if one.times > 1]
  assert [one.times for one in in_loop] == [2 * LAYERS]


def test_without_a_loop_over_layers_it_is_the_same():
  loop, unrolled = (small_run.said(model__unroll=n) for n in (1, LAYERS))
  assert collectives.total(loop) == collectives.total(unrolled)
  assert {one.times for one in unrolled} == {1}


def test_fsdp_gathers_a_layer_once_each_way_and_scatters_its_gradients_once():
  settings = {'parallel__data': 1, 'parallel__fsdp': 8}
  found, (state, *_) = (
    small_run.said(**settings),
    small_run.compiled(**settings),
  )
  assert {one.axes for one in found} == {('fsdp',)}
  block, table = state.params['decoder']['block'], size(state.params['token'])
  for backward in (False, True):
    layers = in_layers(found, backward)
    gathers = [one for one in layers if one.kind == 'all-gather']
    assert {one.times for one in gathers} == {LAYERS}
    assert len(gathers) == len(KERNELS)
    assert collectives.total(gathers) == size(kernels_of(block))
  by_kind = small_run.merged(found, lambda one: one.kind)
  # Each device keeps its part of a sum: a CPU adds up whole arrays for that,
  # where an accelerator's compiler makes reduce-scatter of it.
  assert by_kind.keys() == {'all-gather', 'all-reduce'}
  assert by_kind['all-gather'] == 2 * size(kernels_of(block)) + table
  expected = size(state.params) + table
  assert 0 <= by_kind['all-reduce'] - expected < NUMBERS


def test_fsdp_reduces_a_gradient_in_its_layer_and_keeps_a_part_of_it():
  settings = {'parallel__data': 1, 'parallel__fsdp': 8}
  [reduction] = [
    one
    for one in in_layers(small_run.said(**settings), backward=True)
    if one.kind == 'all-reduce'
  ]
  state, step, _ = small_run.compiled(**settings)
  assert reduction.times == LAYERS
  block = state.params['decoder']['block']
  assert reduction.size * LAYERS == size(block)
  # What a device holds beside its state is less than all gradients.
  held = step.memory_analysis().argument_size_in_bytes
  assert held < 0.3 * size(state)


def test_tensor_parallelism_reduces_twice_a_block_each_way():
  settings = {'parallel__data': 2, 'parallel__tensor': 4}
  found = small_run.said(**settings)
  activation = (4, 32, 64)  # Rows of a device, length, width.
  for backward in (False, True):
    layers = [
      one for one in in_layers(found, backward) if one.axes == ('tensor',)
    ]
    assert [one.kind for one in layers] == ['all-reduce'] * 2
    assert {one.times for one in layers} == {LAYERS}
    shapes = [shape for one in layers for shape in one.shapes]
    # On the way back those of query, key and value are in one.
    assert shapes == [activation] * (4 if backward else 2)
  outside = [
    one for one in found if one.axes == ('tensor',) and one.times != LAYERS
  ]
  # Looked up, and the gradient of what is scored; the rest is a few numbers
  # for each token.
  large = [one for one in outside if activation in one.shapes]
  assert len(large) == 2
  for one in outside:
    sizes = [np.prod(shape) for shape in one.shapes if shape != activation]
    assert max(sizes, default=0) <= 4 * 32 * 4


def test_each_axis_of_a_mixed_mesh_has_its_own():
  found = small_run.said(parallel__fsdp=2, parallel__tensor=2)
  by = small_run.merged(found, lambda one: (one.kind, one.axes))
  assert by.keys() == {
    ('all-gather', ('fsdp',)),
    ('all-gather', ('tensor',)),  # The best token of each part.
    ('all-reduce', ('tensor',)),
    ('all-reduce', ('fsdp',)),
    ('all-reduce', ('data',)),
    ('all-reduce', ('data', 'fsdp')),  # Of what is not divided.
  }
  assert by['all-gather', ('tensor',)] < 2 * 8 * 32 * 4 * 2


def test_a_divided_row_gathers_its_keys_and_values_alone():
  found = small_run.said(parallel__data=1, parallel__sequence=8)
  assert {one.axes for one in found} == {('sequence',)}
  keys = (8, 32, 8, 4)
  forward, backward = (in_layers(found, way) for way in (False, True))
  assert [(one.kind, one.shapes) for one in forward] == [
    ('all-gather', (keys,))
  ] * 2
  assert {one.kind for one in backward} == {'all-reduce'}
  of_keys = [one for one in backward if np.prod(one.shapes[0]) == np.prod(keys)]
  assert [len(one.shapes) for one in of_keys] == [2]
  assert {one.kind for one in found} == {'all-gather', 'all-reduce'}


@pytest.fixture
def no_cache():
  """Everything is compiled, and nothing found."""
  before = jax.config.jax_enable_compilation_cache
  jax.config.update('jax_enable_compilation_cache', False)
  compilation_cache.reset_cache()  # JAX asks but once whether there is one.
  small_run.compiled.cache_clear()
  yield
  jax.config.update('jax_enable_compilation_cache', before)
  compilation_cache.reset_cache()


MIXED = {'fsdp': 2, 'tensor': 2}
FAILURE = 'Involuntary full rematerialization'


@pytest.mark.parametrize(
  'name, sizes',
  [
    ('gpt.py:gpt2', MIXED),
    ('gpt.py:gpt2', {'tensor': 2, 'sequence': 2}),
    ('gpt.py:gpt2', {'fsdp': 2, 'sequence': 2}),
    pytest.param('bert.py', MIXED, marks=pytest.mark.slow),
    pytest.param('t5.py', MIXED, marks=pytest.mark.slow),
  ],
  ids=str,
)
def test_nothing_is_copied_because_the_compiler_found_no_way(
  name, sizes, no_cache, capfd
):
  parallel = {f'parallel__{axis}': size for axis, size in sizes.items()}
  small_run.compiled(name=name, batch_size=16, microbatches=2, **parallel)
  assert FAILURE not in capfd.readouterr().err


@pytest.mark.skipif(
  jax.__version_info__ >= (0, 11), reason='a newer compiler finds a way'
)
def test_the_compiler_says_so_where_it_finds_no_way(no_cache, capfd):
  mesh = meshes.make_mesh(**MIXED)
  where = lambda *axes: NamedSharding(mesh, P(*axes))
  table = jax.ShapeDtypeStruct((512, 64), np.float32)
  tokens = jax.ShapeDtypeStruct((8, 32), np.int32)
  jax.jit(  # Split vectors, looked up for the rows of all devices.
    lambda table, tokens: jnp.take(table, tokens, axis=0),
    in_shardings=(where('tensor', 'fsdp'), where(('data', 'fsdp'))),
    out_shardings=where(('data', 'fsdp')),
  ).lower(table, tokens).compile()
  assert FAILURE in capfd.readouterr().err


NAMED = "mesh['x'=2,'y'=1,'z'=4]"


@pytest.mark.parametrize(
  'text, expected',
  [
    ('{{0,1},{2,3}}', [[0, 1], [2, 3]]),
    ('[4,2]<=[8]', [[0, 1], [2, 3], [4, 5], [6, 7]]),
    ('[4,2]<=[2,2,2]T(2,1,0)', [[0, 4], [2, 6], [1, 5], [3, 7]]),
    ('{}', [[*range(8)]]),
    (NAMED + " {'z'}", [[0, 1, 2, 3], [4, 5, 6, 7]]),
    (NAMED + " {'x'}", [[0, 4], [1, 5], [2, 6], [3, 7]]),
    (NAMED + " {'x','z'}", [[*range(8)]]),
    (
      NAMED + ", device_ids=([4,2]T(1,0)) {'z'}",
      [[0, 2, 4, 6], [1, 3, 5, 7]],
    ),
  ],
)
def test_groups_of_devices_are_read_from_every_notation(text, expected):
  line = f'x = f32[] all-reduce(y), replica_groups={text}, to_apply=%add'
  np.testing.assert_array_equal(collectives.groups(line, 8), expected)


def test_what_is_in_a_loop_counts_as_often_as_it_runs():
  hlo = """HloModule step

%add (x: f32[], y: f32[]) -> f32[] {
  %s = f32[] add(%x, %y)
}

%body (x: (s32[], f32[4])) -> (s32[], f32[4]) {
  %r = f32[4]{0} all-reduce(%a), replica_groups=[2,2]<=[4], to_apply=%add
}

%more (x: (s32[], f32[4])) -> pred[] {
  %p = pred[] compare(%a, %b), direction=LT
}

%layers (x: f32[4]) -> f32[4] {
  %w = (s32[], f32[4]{0}) while(%t), condition=%more, body=%body, backend_config={"known_trip_count":{"n":"3"}}
}

ENTRY %main (x: f32[4]) -> f32[4] {
  %g = (bf16[2,3]{1,0}, f32[]) all-gather(%x), replica_groups={{0,2},{1,3}}, dimensions={0}
  %c = f32[4]{0} call(%x), to_apply=%layers
  %d = f32[4]{0} call(%c), to_apply=%layers
}
"""
  outer, inner = collectives.read(hlo, {'data': 2, 'tensor': 2})
  assert outer[:5] == ('all-gather', ('data',), ((2, 3), ()), 16, 1)
  assert inner[:5] == ('all-reduce', ('tensor',), ((4,),), 16, 6)
