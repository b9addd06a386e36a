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


def test_memory_is_that_of_one_block():
  vocab_size, tokens, width = 4096, 512, 16
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

  scores = 4 * tokens * vocab_size
  assert peak(1) >= scores
  assert peak(16) <= 0.25 * scores


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
