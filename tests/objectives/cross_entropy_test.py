"""Scores made block by block are the scores made at once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lm.objectives.cross_entropy import cross_entropy, score
from lm.parallel import mesh as meshes
from lm.types import Projection
from tests.models import tiny

WIDTH, SIZE, ROWS = 8, 29, 32  # Three rows pad the table.


def setting(shape=(2, 5), dtype='float32', seed=0):
  rng = np.random.default_rng(seed)
  draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
  given = {
    'features': 2 * draw(*shape, WIDTH),
    'table': draw(ROWS, WIDTH),
    'bias': draw(ROWS),
  }
  targets = jnp.asarray(rng.integers(0, SIZE, shape, np.int32))
  weights = jnp.asarray(rng.uniform(size=shape), jnp.float32)
  given['features'] = given['features'].astype(dtype)
  return given, targets, weights


@functools.cache
def scored(blocks):
  """Returns the term, its gradients and the metrics, compiled."""

  def loss(given, targets, weights):
    answer = Projection(**given, vocab_size=SIZE, blocks=blocks)
    return cross_entropy(answer, targets, weights, 0.1, 0.2)

  return tiny.quick_jit(jax.value_and_grad(loss, has_aux=True))


@pytest.mark.parametrize('blocks', [2, 3, 7, 29])
@pytest.mark.parametrize('bias', [True, False])
def test_loss_metrics_and_gradients_are_those_of_all_at_once(blocks, bias):
  given, targets, weights = setting()
  if not bias:
    del given['bias']
  one, some = (scored(n)(given, targets, weights) for n in (1, blocks))
  for whole, part in zip(jax.tree.leaves(one), jax.tree.leaves(some)):
    scale = max(1.0, float(jnp.abs(whole).max()))
    np.testing.assert_allclose(part / scale, whole / scale, atol=1e-6)


def test_of_equal_scores_the_first_is_the_best_in_any_blocks():
  features = jnp.ones((1, 2, 1))
  table = jnp.asarray([[0.0], [3.0], [1.0], [3.0], [3.0]])
  targets = jnp.asarray([[1, 3]])
  for blocks in range(1, 6):
    answer = Projection(features, table, vocab_size=5, blocks=blocks)
    assert score(answer, targets).best.tolist() == [[1, 1]]


def test_in_bfloat16_the_gradients_are_as_near_to_those_in_float32():
  given, targets, weights = setting((4, 16))
  exact = scored(1)(given, targets, weights)[1]
  given, _, _ = setting((4, 16), 'bfloat16')
  for blocks in (1, 4):
    grads = scored(blocks)(given, targets, weights)[1]
    for name, grad in grads.items():
      error = jnp.abs(grad.astype(jnp.float32) - exact[name]).max()
      assert error <= 0.02 * jnp.abs(exact[name]).max(), (blocks, name)


@functools.cache
def of_gpt2():
  """Returns 64 targets among GPT-2's padded 50 304 rows."""
  rng = np.random.default_rng(0)
  features = rng.normal(0, 2, (2, 32, 32))
  table, bias = rng.normal(0, 0.3, (50_304, 32)), rng.normal(size=50_304)
  targets = rng.integers(0, 50_257, (2, 32), np.int32)
  weights = rng.uniform(size=(2, 32))
  return features, table, bias, targets, weights


@functools.cache
def in_float64(z_loss, smoothing):
  """Returns the term, the loss and the gradients, by numpy."""
  features, table, bias, targets, weights = (
    x.astype(np.float32).astype(np.float64) if x.dtype == np.float64 else x
    for x in of_gpt2()
  )
  real = slice(50_257)
  scores = features @ table[real].T + bias[real]
  log_z = np.log(np.sum(np.exp(scores), axis=-1))
  of_target = np.take_along_axis(scores, targets[..., None], -1)[..., 0]
  nats, spread = log_z - of_target, log_z - scores.mean(-1)
  term = (1 - smoothing) * nats + smoothing * spread + z_loss * log_z**2
  share = np.exp(scores - log_z[..., None])
  wanted = np.full(scores.shape, smoothing / scores.shape[-1])
  rows, columns = np.indices(targets.shape)
  wanted[rows, columns, targets] += 1 - smoothing
  back = share - wanted + 2 * z_loss * log_z[..., None] * share
  back *= weights[..., None]
  of_table, of_bias = np.zeros_like(table), np.zeros_like(bias)
  of_table[real] = np.einsum('BLV,BLD->VD', back, features)
  of_bias[real] = back.sum(axis=(0, 1))
  grads = {'features': back @ table[real], 'table': of_table, 'bias': of_bias}
  return np.sum(term * weights), np.sum(nats * weights), grads


@pytest.mark.parametrize('blocks', [1, 3, 16])
@pytest.mark.parametrize('z_loss, smoothing', [(0.0, 0.0), (1e-3, 0.1)])
def test_a_large_vocabulary_is_scored_as_in_float64(blocks, z_loss, smoothing):
  *given, targets, weights = of_gpt2()
  names = ('features', 'table', 'bias')
  given = {name: jnp.asarray(x, jnp.float32) for name, x in zip(names, given)}

  @functools.partial(jax.value_and_grad, has_aux=True)
  def loss(given):
    answer = Projection(**given, vocab_size=50_257, blocks=blocks)
    weight = jnp.asarray(weights, jnp.float32)
    wanted = jnp.asarray(targets)
    return cross_entropy(answer, wanted, weight, z_loss, smoothing)

  (term, metrics), grads = jax.jit(loss)(given)
  expected, nats, expected_grads = in_float64(z_loss, smoothing)
  np.testing.assert_allclose(term, expected, rtol=1e-6)
  np.testing.assert_allclose(metrics['loss'][0], nats, rtol=1e-6)
  for name, grad in grads.items():
    scale = np.abs(expected_grads[name]).max()
    error = np.abs(grad - expected_grads[name]).max()
    assert error <= 1e-6 * scale, name


def test_memory_is_that_of_one_block_and_of_the_gradient():
  vocab_size, tokens, width = 50_304, 256, 64
  shapes = jax.ShapeDtypeStruct
  given = {
    'features': shapes((1, tokens, width), jnp.float32),
    'table': shapes((vocab_size, width), jnp.float32),
  }
  rest = shapes((1, tokens), jnp.int32), shapes((1, tokens), jnp.float32)

  def peak(blocks):
    def loss(given, targets, weights):
      answer = Projection(**given, vocab_size=vocab_size, blocks=blocks)
      return cross_entropy(answer, targets, weights)[0]

    step = jax.jit(jax.grad(loss)).lower(given, *rest).compile()
    return step.memory_analysis().temp_size_in_bytes

  scores, of_table = 4 * tokens * vocab_size, 4 * vocab_size * width
  assert peak(1) >= scores
  for blocks in (4, 16, 64):
    assert peak(blocks) <= of_table + 3 * scores / blocks


@pytest.mark.parametrize('sizes', [(8, 1, 1), (1, 4, 2), (2, 1, 4)])
def test_a_divided_table_gives_the_same(sizes):
  given, targets, weights = setting((8, 3))
  one = scored(1)(given, targets, weights)
  mesh = meshes.make_mesh(*sizes)
  rows, table = (
    meshes.batch_sharding((8,), mesh),
    {'token': {'embedding': given['table']}},
  )
  where = meshes.state_shardings(table, mesh)['token']['embedding']
  given = {
    'features': jax.device_put(given['features'], rows),
    'table': jax.device_put(given['table'], where),
    'bias': given['bias'],
  }
  targets, weights = (jax.device_put(x, rows) for x in (targets, weights))
  some = scored(4)(given, targets, weights)
  for whole, part in zip(jax.tree.leaves(one), jax.tree.leaves(some)):
    np.testing.assert_allclose(part, whole, rtol=1e-5, atol=1e-5)
