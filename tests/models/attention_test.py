"""Which kernel computes attention, and that each reads what the plain one does."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import logging

from benchmarks.attention_agreement import TOLERANCE, agreement
from lm.models import attention, masks
from lm.models.kernels import case as cases
from lm.models.kernels.case import Case
from lm.models.positions import RelativeBias
from lm.parallel import mesh as meshes
from lm.types import UserError
from tests.models import tiny

UNORDERED = {'all', 'padded', 'holed', 'packed'}
SPLASH = UNORDERED | {'causal', 'window', 'no band', 'a band'}
SPLASH |= {'padded, causal', 'packed, causal', 'packed, window'}
CUDNN = SPLASH | {'prefix', 'both ways', 'all, bias', 'causal, bias'}
CUDNN |= {'window, bias'}
ALL = CUDNN | {'padded, bias', 'packed, bias'}


def assert_agrees(kernel, which, dtype='float32', **sizes):
  errors = agreement(kernel, dtype, jit=tiny.quick_jit, **sizes)
  assert set(errors) == which
  assert max(errors.values()) <= TOLERANCE[dtype], errors
  assert max(errors.values()) > 0  # It is another way to compute it.


def test_chunks_read_what_the_plain_kernel_does():
  # Two chunks and a part of one.
  assert_agrees('chunked', ALL, length=300, head_dim=8)


def test_chunks_read_a_source_of_another_length():
  assert_agrees('chunked', UNORDERED, length=150, keys=70, head_dim=8)


def test_cudnn_is_told_what_the_plain_kernel_is():
  assert_agrees('cudnn', CUDNN, length=64, head_dim=8)
  assert_agrees('cudnn', UNORDERED, length=30, keys=22, head_dim=8)


@pytest.mark.slow
def test_splash_reads_what_the_plain_kernel_does():
  assert_agrees('splash', SPLASH)
  assert_agrees('splash', UNORDERED, length=128, keys=256)


@pytest.mark.slow
@pytest.mark.parametrize('kernel', ['cudnn', 'splash'])
def test_fused_kernels_are_near_in_bfloat16(kernel):
  some = {'all', 'window', 'padded', 'packed, causal'}
  assert_agrees(kernel, some, 'bfloat16', length=128, only=some)


@pytest.mark.gpu
def test_cudnn_on_a_gpu_reads_what_the_plain_kernel_does():
  if cases.capability() is None:
    pytest.skip('needs an NVIDIA GPU, which is not on this machine')
  assert_agrees('cudnn', CUDNN, 'bfloat16', length=512)
  assert_agrees('cudnn', UNORDERED, 'bfloat16', length=256, keys=512)


@pytest.mark.slow
@pytest.mark.parametrize(
  'kernel, which',
  [
    ('splash', {'causal', 'a band', 'holed', 'packed, causal'}),
    (
      'cudnn',
      {'causal, bias', 'a band', 'holed', 'packed, causal', 'both ways'},
    ),
  ],
)
@pytest.mark.parametrize('rows', [8, 2])  # Two do not divide by four devices.
def test_devices_share_rows_and_heads_of_a_fused_kernel(kernel, which, rows):
  with meshes.placing(meshes.make_mesh(2, 2, 2)):
    assert_agrees(kernel, which, rows=rows, length=128, only=which)


@pytest.mark.slow
def test_no_device_asks_another_for_rows_or_heads():
  mesh = meshes.make_mesh(2, 2, 2)
  split = jax.NamedSharding(mesh, jax.P(meshes.ROWS, None, 'tensor'))
  x = jax.ShapeDtypeStruct((8, 128, 2, 64), jnp.float32, sharding=split)

  def loss(query, key, value):
    compute = functools.partial(attention.splash.splash, interpret=True)
    return jnp.sum(compute(query, key, value, masks.causal()) ** 2)

  with meshes.placing(mesh):
    step = tiny.quick_jit(jax.grad(loss, argnums=(0, 1, 2)))
    text = step.lower(x, x, x).compile().as_text()
  assert 'all-gather' not in text and 'all-to-all' not in text


@functools.cache
def memory(kernel, length):
  """Returns bytes of a way there and back, with the bias of a T5."""
  x = jax.ShapeDtypeStruct((1, length, 4, 16), jnp.float32)
  table = jax.ShapeDtypeStruct((32, 4), jnp.float32)

  def loss(query, key, value, table):
    bias, mask = RelativeBias(table, False, 128), masks.causal()
    out = attention.attend(query, key, value, mask, bias=bias, kernel=kernel)
    return jnp.sum(out**2)

  step = jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3))).lower(x, x, x, table)
  return step.compile().memory_analysis().temp_size_in_bytes


def test_chunks_need_memory_that_grows_with_the_length_alone():
  for shorter, longer in ((1024, 2048), (2048, 4096)):
    assert memory('chunked', longer) < 2.2 * memory('chunked', shorter)
  assert memory('plain', 2048) > 3.5 * memory('plain', 1024)
  assert memory('chunked', 4096) < 0.2 * memory('plain', 2048)


SHORT = Case(masks.causal(), 512, 512, 64, 'bfloat16')
GPU = SHORT._replace(platform='gpu', capability=(8, 0))
TPU = SHORT._replace(platform='tpu')
LONG = {'num_queries': 4096, 'num_keys': 4096}
VALID = jnp.ones((2, 512), bool)


@pytest.mark.parametrize(
  'case, expected',
  [
    (SHORT, 'plain'),
    (SHORT._replace(**LONG), 'chunked'),
    (SHORT._replace(**LONG, drops=True), 'plain'),
    (SHORT._replace(num_queries=1, num_keys=4096, cached=True), 'plain'),
    (SHORT._replace(**LONG, cached=True), 'chunked'),
    (GPU, 'cudnn'),
    (GPU._replace(mask=masks.valid(VALID)), 'cudnn'),
    (GPU._replace(mask=masks.same_segment(VALID.astype(int))), 'cudnn'),
    (GPU._replace(mask=masks.window(20)), 'cudnn'),
    (GPU._replace(num_queries=511, num_keys=511), 'cudnn'),
    (GPU._replace(biased=True), 'cudnn'),
    (GPU._replace(head_dim=256, capability=(9, 0)), 'cudnn'),
    (GPU._replace(head_dim=256), 'plain'),
    (GPU._replace(head_dim=60), 'plain'),
    (GPU._replace(dtype='float32'), 'plain'),
    (GPU._replace(dtype='float32', **LONG), 'chunked'),
    (GPU._replace(capability=(7, 5)), 'plain'),
    (GPU._replace(capability=None), 'plain'),  # Of another make.
    (GPU._replace(biased=True, mask=masks.valid(VALID)), 'plain'),
    (GPU._replace(biased=True, num_keys=511), 'plain'),
    (GPU._replace(mask=masks.prefix(VALID), num_keys=511), 'plain'),
    (GPU._replace(drops=True), 'plain'),
    (GPU._replace(cached=True), 'plain'),
    (TPU, 'splash'),
    (TPU._replace(dtype='float32', head_dim=128), 'splash'),
    (TPU._replace(mask=masks.valid(VALID)), 'splash'),
    (TPU._replace(mask=masks.window(20)), 'splash'),
    (TPU._replace(head_dim=96), 'plain'),
    (TPU._replace(num_keys=500), 'plain'),
    (TPU._replace(biased=True), 'plain'),
    (TPU._replace(biased=True, **LONG), 'chunked'),
    (TPU._replace(mask=masks.causal() & masks.prefix(VALID)), 'plain'),
    (TPU._replace(mask=masks.direction('forward_backward', 4)), 'plain'),
    (TPU._replace(drops=True), 'plain'),
  ],
)
def test_a_kernel_is_chosen_for_what_it_can(case, expected):
  name, why = attention.choose('auto', case)
  assert name == expected
  assert why
  for named in ('plain', 'chunked', 'cudnn', 'splash'):
    if attention.refusal(named, case) is None and not case.cached:
      assert attention.choose(named, case)[0] == named


@pytest.mark.parametrize(
  'kernel, case, why',
  [
    ('cudnn', SHORT, 'needs an NVIDIA GPU'),
    ('cudnn', GPU._replace(dtype='float32'), 'not in float32'),
    ('cudnn', GPU._replace(head_dim=136), 'up to 128, and not 136'),
    ('splash', SHORT, 'of the kind cpu'),
    ('splash', TPU._replace(num_keys=500), '512 queries of 500 keys'),
    ('chunked', SHORT._replace(drops=True), 'config.model.attention_dropout'),
  ],
)
def test_a_kernel_that_is_named_and_cannot_is_an_error(kernel, case, why):
  with pytest.raises(UserError, match=why) as error:
    attention.choose(kernel, case)
  assert f'kernel is {kernel!r}' in str(error.value)
  assert 'config.model.kernel' in str(error.value)


def test_a_model_whose_kernel_cannot_says_so_before_it_is_compiled():
  model = tiny.gpt(kernel='cudnn')
  tokens = jnp.asarray(tiny.tokens())
  params = tiny.params_of(model)  # What makes parameters needs no kernel.
  with pytest.raises(UserError, match='needs an NVIDIA GPU'):
    jax.eval_shape(model.apply, {'params': params}, tokens)


def test_a_kernel_that_drops_nothing_serves_to_evaluate_and_not_to_train():
  model = tiny.gpt(kernel='chunked', attention_dropout=0.1)
  params, tokens = tiny.params_of(model), jnp.asarray(tiny.tokens())
  got = tiny.apply(model, params, tokens=tokens)
  expected = tiny.apply(tiny.gpt(), params, tokens=tokens)
  np.testing.assert_allclose(got, expected, atol=1e-5)
  rngs = {'dropout': jax.random.key(0)}
  with pytest.raises(UserError, match='attention_dropout is 0'):
    jax.eval_shape(model.apply, {'params': params}, tokens, rngs=rngs)


@pytest.mark.slow
@pytest.mark.parametrize('kernel', ['cudnn', 'splash'])
def test_a_model_on_a_mesh_computes_the_same_by_a_fused_kernel(
  kernel, monkeypatch
):
  own = getattr(attention, kernel)
  way = {'splash': {'interpret': True}, 'cudnn': {'implementation': 'xla'}}
  compute = functools.partial(getattr(own, kernel), **way[kernel])
  monkeypatch.setattr(own, kernel, compute)
  monkeypatch.setitem(attention.REFUSALS, kernel, lambda case: None)
  sizes = {'max_len': 128, 'head_dim': 64, 'embed_dim': 8, 'vocab_size': 16}
  tokens = jnp.asarray(tiny.tokens(8, 128))
  segments = jnp.asarray(np.repeat([[1, 1, 2, 3]] * 8, 32, axis=1))

  def grads(kernel):
    more = {'kernel': kernel, 'local_window': 20, 'remat': 'dots'}
    model = tiny.gpt(**sizes, **more)

    def loss(params):
      inputs = {'tokens': tokens, 'segment_ids': segments}
      return jnp.mean(model.apply({'params': params}, **inputs) ** 2)

    params = tiny.params_for(model, tokens=tokens)
    return tiny.quick_jit(jax.grad(loss))(params)

  expected = grads('plain')
  with meshes.placing(meshes.make_mesh(2, 2, 2)):
    got = grads(kernel)
  for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(expected)):
    scale = float(jnp.abs(other).max())
    np.testing.assert_allclose(one, other, atol=1e-5 * scale + 1e-8)


def test_the_choice_is_said_once(monkeypatch):
  said = []
  monkeypatch.setattr(logging, 'info', lambda text, *of: said.append(text % of))
  attention._say.cache_clear()
  x = jnp.ones((1, 4, 2, 8))
  for _ in range(2):
    attention.attend(x, x, x, masks.causal(), kernel='auto')
  assert said == [
    'Attention is computed by the plain kernel: rows have under 2048 tokens.'
  ]


def test_of_a_row_without_tokens_all_kernels_read_something_finite():
  x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 128, 2, 64)))
  valid = jnp.asarray([[False] * 128, [True] * 128])
  kernels = (
    functools.partial(attention.cudnn.cudnn, implementation='xla'),
    functools.partial(attention.splash.splash, interpret=True),
    attention.chunked,
  )

  @functools.partial(jax.jit, static_argnums=0)
  @functools.partial(jax.grad, argnums=1)
  def grad(compute, x):
    return jnp.sum(compute(x, x, x, masks.valid(valid)) ** 2)

  for compute in kernels:
    assert jnp.isfinite(grad(compute, x)).all()
