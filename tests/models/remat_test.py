"""What a layer does not keep of its way there is made anew, and is the same."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lm.models import layers
from lm.parallel import mesh as meshes
from lm.types import UserError
from tests.models import tiny

DEEP = {
  'num_layers': 6,
  'max_len': 64,
  'embed_dim': 16,
  'mlp_dim': 64,
  'head_dim': 8,
  'residual_dropout': 0.2,
}
SIZED = {
  'vocab_size': 512,
  'max_len': 256,
  'num_layers': 4,
  'num_heads': 4,
  'head_dim': 64,
  'embed_dim': 256,
  'mlp_dim': 1024,
}


def way_back(model, tokens):
  """Returns the loss and the gradients of a model, to be compiled."""

  def loss(params):
    rngs = {'dropout': jax.random.key(0)}
    return jnp.mean(model.apply({'params': params}, tokens, rngs=rngs) ** 2)

  return jax.value_and_grad(loss)


@functools.cache
def deep(remat, **changes):
  """Returns what a deep GPT gives, and the bytes that it takes."""
  model = tiny.gpt(**DEEP, remat=remat, **changes)
  tokens = jnp.asarray(tiny.tokens(4, 64))
  params = tiny.params_for(model, tokens=tokens)
  step = tiny.quick_jit(way_back(model, tokens)).lower(params).compile()
  return step(params), step.memory_analysis().temp_size_in_bytes


def assert_same(got, expected):
  for leaf, whole in zip(jax.tree.leaves(got), jax.tree.leaves(expected)):
    scale = float(jnp.abs(whole).max())
    # That of a bias of keys is 0, but for rounding.
    np.testing.assert_allclose(leaf, whole, rtol=0, atol=1e-6 * scale + 1e-7)


@pytest.mark.parametrize('remat', ['dots', 'offload', 'full'])
def test_loss_and_gradients_are_what_they_were_and_take_less_memory(remat):
  expected, most = deep('none')
  got, least = deep(remat)
  assert_same(got, expected)
  assert least < {'full': 0.4, 'dots': 0.7, 'offload': 0.7}[remat] * most


def test_on_a_cpu_what_is_made_anew_is_made_in_a_loop():
  assert deep('full', unroll=None)[1] == deep('full')[1]


def test_the_less_is_kept_the_less_memory_is_taken():
  tokens = jnp.zeros((8, 256), jnp.int32)

  def memory(remat):
    model = tiny.gpt(**SIZED, remat=remat)
    init = functools.partial(model.init, jax.random.key(0))
    params = jax.eval_shape(init, tokens)['params']
    step = jax.jit(way_back(model, tokens)).lower(params).compile()
    return step.memory_analysis().temp_size_in_bytes

  everything, products, nothing = map(memory, ('none', 'dots', 'full'))
  assert products < 0.5 * everything
  assert nothing < 0.9 * products


@pytest.mark.slow
@pytest.mark.parametrize('remat', ['dots', 'offload', 'full'])
def test_on_a_mesh_it_is_the_same(remat):
  sizes = DEEP | {'num_layers': 2, 'max_len': 16}
  tokens = jnp.asarray(tiny.tokens(8, 16))

  def grads(remat):
    model = tiny.gpt(**sizes, remat=remat)
    params = tiny.params_for(model, tokens=tokens)
    return tiny.quick_jit(way_back(model, tokens))(params)

  with meshes.placing(meshes.make_mesh(2, 2, 2)):
    assert_same(grads(remat), grads('none'))


def test_without_memory_of_the_host_nothing_can_be_kept_there(monkeypatch):
  monkeypatch.setattr(layers, '_has_host_memory', lambda: False)
  with pytest.raises(UserError, match=r"config\.model\.remat.*'dots'"):
    tiny.gpt(**DEEP, remat='offload').init(
      jax.random.key(0), jnp.asarray(tiny.tokens())
    )
