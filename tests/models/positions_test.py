"""Sinusoidal and rotary positions, against their papers in plain Python."""

import cmath
import math

import jax.numpy as jnp
import numpy as np
import pytest

from lm.models import positions


@pytest.mark.parametrize('embed_dim', [2, 6, 64])
def test_waves_are_those_of_the_paper(embed_dim):
  places = [0, 1, 7, 127]
  expected = np.empty((len(places), embed_dim))
  for row, place in enumerate(places):
    for i in range(embed_dim // 2):
      angle = place / 10_000 ** (2 * i / embed_dim)
      expected[row, 2 * i] = math.sin(angle)
      expected[row, 2 * i + 1] = math.cos(angle)
  got = positions.sinusoidal(jnp.array([places]), embed_dim)
  np.testing.assert_allclose(got[0], expected, atol=2e-5)


def test_each_row_has_positions_of_its_own():
  both = positions.sinusoidal(jnp.array([[0, 1, 2], [5, 0, 1]]), 6)
  np.testing.assert_array_equal(both[0, :2], both[1, 1:])
  assert np.abs(both[0, 2] - both[1, 0]).max() > 0.1


PLACES = np.array([[0, 1, 5, 300], [2, 2, 9, 1023]])
DRAWN = np.random.default_rng(0).normal(size=(2, 4, 3, 8)).astype(np.float32)


def test_rotation_multiplies_complex_numbers():
  expected = np.empty_like(DRAWN)
  for b, l, h, i in np.ndindex(2, 4, 3, 4):
    pair = complex(DRAWN[b, l, h, i], DRAWN[b, l, h, i + 4])
    rate = 10_000 ** (-2 * i / 8)
    turned = pair * cmath.exp(1j * int(PLACES[b, l]) * rate)
    expected[b, l, h, i], expected[b, l, h, i + 4] = turned.real, turned.imag
  got = positions.rotate(jnp.asarray(DRAWN), jnp.asarray(PLACES))
  np.testing.assert_allclose(got, expected, atol=3e-4)


def test_scores_depend_on_distance_alone():
  query, key = jnp.asarray(DRAWN[:1]), jnp.asarray(DRAWN[1:])

  def scores(shift):
    places = jnp.arange(4)[None] + shift
    turned = [positions.rotate(x, places) for x in (query, key)]
    return jnp.einsum('BQHK,BTHK->BHQT', *turned)

  here, there = scores(0), scores(37)
  np.testing.assert_allclose(here, there, atol=1e-4)
  unturned = jnp.einsum('BQHK,BTHK->BHQT', query, key)
  assert np.abs(here - unturned).max() > 0.1


def test_rotation_keeps_lengths_and_the_precision_it_was_given():
  turned = positions.rotate(jnp.asarray(DRAWN), jnp.asarray(PLACES))
  np.testing.assert_allclose(
    jnp.linalg.norm(turned, axis=-1), np.linalg.norm(DRAWN, axis=-1), rtol=1e-5
  )
  half = positions.rotate(jnp.asarray(DRAWN, jnp.bfloat16), jnp.asarray(PLACES))
  assert half.dtype == jnp.bfloat16
  np.testing.assert_allclose(half.astype(jnp.float32), turned, atol=0.05)


def bucket(distance, buckets, max_distance, bidirectional):
  """The bucket of a key that follows by `distance`, number by number."""
  first = 0
  if bidirectional:
    buckets //= 2
    first = buckets if distance > 0 else 0
    distance = abs(distance)
  else:
    distance = max(-distance, 0)
  exact = buckets // 2
  if distance < exact:
    return first + distance
  share = math.log(distance / exact) / math.log(max_distance / exact)
  # At a power of two the logarithm is a whole number, give or take a rounding.
  return first + min(exact + int(share * (buckets - exact) + 1e-6), buckets - 1)


@pytest.mark.parametrize('bidirectional', [True, False])
@pytest.mark.parametrize(
  'buckets, max_distance', [(32, 128), (8, 20), (12, 64)]
)
def test_a_bias_is_that_of_the_bucket_of_the_distance(
  buckets, max_distance, bidirectional
):
  table = np.arange(2 * buckets, dtype=np.float32).reshape(buckets, 2)
  bias = positions.RelativeBias(jnp.asarray(table), bidirectional, max_distance)
  queries, keys = np.array([[3, 200], [0, 7]]), np.arange(260)[None]
  got = bias.dense(jnp.asarray(queries), jnp.asarray(keys))
  for row, slots in enumerate(queries):
    for i, query in enumerate(slots):
      for key in range(260):
        number = bucket(key - query, buckets, max_distance, bidirectional)
        assert got[row, :, i, key].tolist() == table[number].tolist()
