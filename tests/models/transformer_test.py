"""Precision, dropout and the loop over layers."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lm.models import layers
from lm.types import product
from tests.models import tiny


def test_half_precision_is_for_products_alone():
  model, tokens = tiny.gpt(dtype='bfloat16'), tiny.tokens()
  dtypes = {leaf.dtype for leaf in jax.tree.leaves(tiny.params_of(model))}
  assert dtypes == {jnp.dtype('float32')}
  got, expected = tiny.logits(model, tokens), tiny.logits(tiny.gpt(), tokens)
  assert got.dtype == np.float32
  assert 1e-4 < np.abs(got - expected).max() < 0.1 * np.abs(expected).max()


def test_statistics_softmax_scores_and_logits_are_in_single_precision():
  model = tiny.gpt(dtype='bfloat16')

  def run(params):
    return model.apply({'params': params}, jnp.asarray(tiny.tokens()))

  program = str(jax.make_jaxpr(run)(tiny.params_of(model)))
  half = set(re.findall(r':bf16\[\S*\] = (\w+)', program))
  assert 'add' in half
  assert not {'exp', 'rsqrt', 'reduce_sum', 'reduce_max'} & half
  # A product in single precision is for speed, if half of it is kept.
  made = re.findall(r'(\w+):f32\[(\S*)\] = dot_general', program)
  cut = re.findall(
    r'convert_element_type\[\s*new_dtype=bfloat16[^]]*\] (\w+)', program
  )
  into_single = [shape for name, shape in made if name not in cut]
  assert into_single == ['2,2,8,8', '2,8,13']  # Scores and logits.
  assert len(made) == len(into_single) + 6  # Of the linear layers.


@pytest.mark.parametrize('changes', [{}, {'local_window': 2}])
def test_the_loop_over_layers_may_be_unrolled(changes):
  loop, unrolled = (tiny.gpt(unroll=n, **changes) for n in (1, None))
  expected = tiny.logits(loop, tiny.tokens())
  got = tiny.logits(unrolled, tiny.tokens(), params=tiny.params_of(loop))
  largest = np.abs(expected).max()
  np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6 * largest)


@functools.partial(tiny.quick_jit, static_argnums=0)
def with_dropout(model, params, tokens, seed):
  """Returns logits, and what came out of every place that drops."""
  logits, state = model.apply(
    {'params': params},
    tokens,
    rngs={'dropout': jax.random.key(seed)},
    capture_intermediates=lambda module, _: isinstance(module, layers.Dropout),
    mutable=['intermediates'],
  )
  return logits, state['intermediates']


RATES = {
  'embedding_dropout': 0.25,
  'attention_dropout': 0.25,
  'residual_dropout': 0.25,
}


def test_dropout_is_on_exactly_when_a_key_is_given():
  model, tokens = tiny.gpt(**RATES), tiny.tokens()
  params = tiny.params_of(model)
  off, plain = tiny.logits(model, tokens), tiny.logits(tiny.gpt(), tokens)
  np.testing.assert_array_equal(off, plain)
  first, again, other = (
    with_dropout(model, params, tokens, seed)[0] for seed in (1, 1, 2)
  )
  np.testing.assert_array_equal(first, again)
  assert np.abs(first - off).max() > 1e-2
  assert np.abs(first - other).max() > 1e-2


def test_every_place_and_layer_drops_by_a_mask_of_its_own():
  model, tokens = tiny.gpt(**RATES), tiny.tokens(16, 12)
  _, seen = with_dropout(model, tiny.params_of(model), tokens, seed=0)
  block = seen['decoder']['block']
  masks = [
    np.asarray(value) != 0
    for value in (
      seen['dropout']['__call__'][0],
      *block['attention_dropout']['__call__'][0],
      *block['mlp_dropout']['__call__'][0],
    )
  ]
  assert len(masks) == 5 and {mask.shape for mask in masks} == {(16, 12, 6)}
  for number, mask in enumerate(masks):
    assert abs(mask.mean() - 0.75) < 0.06  # 1152 draws: 5 deviations.
    for other in masks[:number]:  # Independent: both are kept 9 times in 16.
      assert abs((mask & other).mean() - 0.5625) < 0.07
  weights = np.asarray(block['attention']['dropout']['__call__'][0])
  assert weights.shape == (2, 16, 2, 12, 12)
  lower = np.tril(np.ones((12, 12), bool))
  assert abs((weights != 0)[..., lower].mean() - 0.75) < 0.03
  first, second = weights[..., lower] != 0
  assert abs((first & second).mean() - 0.5625) < 0.04


@pytest.mark.parametrize('rate', [0.01, 0.1, 0.2, 0.5])
def test_dropout_keeps_what_is_expected_and_drops_at_its_rate(rate):
  rngs = {'dropout': jax.random.key(0)}
  kept = layers.Dropout(rate).apply({}, jnp.ones((500, 400)), rngs=rngs)
  zero, scaled = np.unique(kept)
  assert zero == 0
  assert scaled == pytest.approx(1 / (1 - rate), rel=0.02 * rate / (1 - rate))
  deviation = (rate * (1 - rate) / kept.size) ** 0.5
  dropped = np.mean(np.asarray(kept) == 0)
  assert abs(dropped - rate) < 0.02 * rate + 5 * deviation
  # The mean stays, up to the noise of the draws.
  assert abs(np.mean(kept) - 1) < 5 * deviation / (1 - rate)


def test_random_bits_are_balanced_and_tell_nothing_of_each_other():
  bits = layers.random_bits(jax.random.key(3), (4, 256, 256))
  words = np.asarray(bits)
  ones = np.unpackbits(words.view(np.uint8)).reshape(*words.shape, 32)
  deviation = 0.5 / (words.size**0.5)
  assert (abs(ones.mean(axis=(0, 1, 2)) - 0.5) < 5 * deviation).all()
  # Of neighbours in each direction, and of matrices, half of the bits differ.
  for axis in range(3):
    first, second = np.split(np.take(ones, [0, 1], axis), 2, axis)
    differ = (first != second).mean()
    assert abs(differ - 0.5) < 5 * 0.5 / first.size**0.5
  # No two keys share a sequence at another place.
  other = np.asarray(layers.random_bits(jax.random.key(4), (4, 256, 256)))
  assert len(np.intersect1d(words, other)) < 5 * words.size**2 / 2**32
  # Every place that is dropped says nothing of the next one.
  dropped = (words < 2**32 // 10).reshape(4, -1)
  both = (dropped[:, 1:] & dropped[:, :-1]).mean()
  assert abs(both - 0.01) < 5 * (0.01 / words.size) ** 0.5


def test_random_bits_are_the_same_on_a_mesh():
  mesh = jax.make_mesh((2, 4), ('a', 'b'), (jax.sharding.AxisType.Auto,) * 2)
  whole = layers.random_bits(jax.random.key(3), (4, 6, 8))
  shared = jax.jit(
    lambda key: layers.random_bits(key, (4, 6, 8)),
    out_shardings=jax.sharding.NamedSharding(
      mesh, jax.sharding.PartitionSpec('a', None, 'b')
    ),
  )(jax.random.key(3))
  np.testing.assert_array_equal(whole, shared)


def test_no_dropout_draws_nothing():
  rngs = {'dropout': jax.random.key(0)}
  x = jnp.ones(3)
  assert layers.Dropout(0.0).apply({}, x, rngs=rngs) is x


@pytest.mark.parametrize('shape', [(2, 3, 4), (2, 3, 1)])
def test_gradients_of_a_product_are_made_in_its_dtype(shape):
  rng = np.random.default_rng(0)
  x, y = (jnp.asarray(rng.normal(size=shape), jnp.float32) for _ in range(2))
  spec = 'BLK,BTK->BLT'

  def total(product, x, y):
    return jnp.sum(jnp.sin(product(spec, x, y)))

  wanted = jax.grad(total, (1, 2))(jnp.einsum, x, y)
  got = jax.grad(total, (1, 2))(product, x, y)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), got, wanted
  )
  half = [jnp.asarray(a, jnp.bfloat16) for a in (x, y)]
  way = jax.make_jaxpr(jax.grad(functools.partial(total, product), (0, 1)))
  dots = re.findall(r':(\w+)\[\S*\] = dot_general', str(way(*half)))
  assert dots[0] == 'f32' and {*dots[1:]} == {'bf16'}
