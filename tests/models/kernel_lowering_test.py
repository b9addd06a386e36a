"""What a GPU or a TPU would be given, on a machine that has neither."""

import contextlib
import functools
import re

import jax
import jax.numpy as jnp
import pytest

from benchmarks.attention_agreement import settings
from lm.models import attention
from lm.models.kernels import cudnn, splash
from lm.models.kernels.case import Case
from lm.models.positions import RelativeBias
from lm.parallel import mesh as meshes

ROWS, LENGTH, HEADS, WIDTH = 8, 256, 2, 64


@pytest.fixture
def of_hopper(monkeypatch):
  """What jax asks of a GPU before it calls cuDNN, answered for a Hopper."""
  from jax._src.cudnn import fused_attention_stablehlo as asked

  for name, answer in (
    ('check_cudnn_version', lambda: 91_000),
    ('check_compute_capability', lambda least: True),
    ('is_cuda_compute_capability_equal', lambda wanted: False),
  ):
    monkeypatch.setattr(asked, name, answer)


@functools.cache
def cases():
  return settings(ROWS, LENGTH, HEADS)


def lowered(kernel, platform, mask, biased):
  """Returns the program of the gradients for a platform."""
  x = jax.ShapeDtypeStruct((ROWS, LENGTH, HEADS, WIDTH), jnp.bfloat16)
  table = jax.ShapeDtypeStruct((32, HEADS), jnp.float32)

  def loss(query, key, value, table):
    more = {'bias': RelativeBias(table, True, 128)} if biased else {}
    compute = functools.partial(kernel, **more)
    out = attention.in_bands(compute, query, key, value, mask)
    return jnp.sum(out.astype(jnp.float32) ** 2)

  step = jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3)))
  traced = step.trace(x, x, x, table)
  return traced.lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.usefixtures('of_hopper')
@pytest.mark.parametrize('on_mesh', [False, True])
@pytest.mark.parametrize('name', cases())
def test_cudnn_takes_what_it_is_given(name, on_mesh):
  mask, biased = cases()[name]
  case = Case(mask, LENGTH, LENGTH, WIDTH, 'bfloat16', biased)
  case = case._replace(platform='gpu', capability=(9, 0))
  if attention.refusal('cudnn', case):
    assert name in ('padded, bias', 'packed, bias')
    return
  context, shape = contextlib.nullcontext(), f'8x{LENGTH}x2x{WIDTH}'
  if on_mesh:  # Each device gets its rows and its head.
    context = meshes.placing(meshes.make_mesh(2, 2, 2))
    shape = f'2x{LENGTH}x1x{WIDTH}'
  with context:
    program = lowered(cudnn.cudnn, 'cuda', mask, biased)
  calls = re.findall(
    r'custom_call @__cudnn\$(\w+)\(.*: \(tensor<(\w+)x', program
  )
  assert {called for _, called in calls} == {shape}
  names = [called.replace('ScaleBias', '') for called, _ in calls]
  both = ['fmhaSoftmax', 'fmhaSoftmaxBackward']
  assert set(names) == set(both)
  assert len(names) == (4 if mask.banded is not None else 2)
  # What it knows of is not made a matrix.
  matrix = (
    biased
    or 'packed' in name
    or name in ('padded, causal', 'prefix', 'both ways')
  )
  assert ('ScaleBias' in program) == matrix


@pytest.mark.parametrize('on_mesh', [False, True])
@pytest.mark.parametrize(
  'name',
  ['all', 'causal', 'a band', 'padded', 'packed, causal', 'packed, window'],
)
def test_a_tpu_takes_splash_attention_as_it_is_given(name, on_mesh):
  mask, _ = cases()[name]
  context, shape = contextlib.nullcontext(), f'8x2x{LENGTH}x{WIDTH}'
  if on_mesh:
    context = meshes.placing(meshes.make_mesh(2, 2, 2))
    shape = f'2x1x{LENGTH}x{WIDTH}'
  with context:
    program = lowered(splash.splash, 'tpu', mask, False)
  calls = re.findall(r'custom_call @tpu_custom_call\(.*: \((.*)\) ->', program)
  assert len(calls) == (6 if mask.banded is not None else 3)
  assert all(f'tensor<{shape}xbf16>' in call for call in calls)
