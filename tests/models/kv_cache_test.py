"""Decoding with a cache answers as a full pass does."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lm.generation import layers
from lm.models import kv_cache
from tests.models import tiny


@functools.partial(tiny.quick_jit, static_argnums=0)
def decode(model, variables, **inputs):
  return model.apply(variables, **inputs, mutable=['cache'])


@pytest.mark.parametrize(
  'changes', [{}, {'position': 'rotary', 'local_window': 2}]
)
def test_cached_decoding_gives_the_logits_of_a_full_pass_in_ragged_rows(
  changes,
):
  model, tokens = tiny.gpt(**changes), tiny.tokens(3, 12)
  full = tiny.logits(model, tokens)
  params = {'params': tiny.params_of(model)}

  lengths, rows = np.array([5, 1, 3]), np.arange(3)
  valid = np.arange(5) < lengths[:, None]
  # What stands on the padding must not matter, so it is left there.
  got, cache = decode(model, params, tokens=tokens[:, :5], valid=valid)
  for row, length in enumerate(lengths):
    np.testing.assert_allclose(got[row, :length], full[row, :length], atol=1e-5)
  for slots in lengths + np.arange(7)[:, None]:
    following = tokens[rows, slots][:, None]
    got, cache = decode(model, params | cache, tokens=following)
    np.testing.assert_allclose(got[:, 0], full[rows, slots], atol=1e-5)
  np.testing.assert_array_equal(cache['cache']['index'], lengths + 7)


def test_who_does_not_decode_makes_no_cache():
  tokens = jnp.asarray(tiny.tokens())
  shapes = jax.eval_shape(tiny.gpt().init, jax.random.key(0), tokens)
  assert set(shapes) == {'params'}


@pytest.mark.parametrize('apart', [False, True], ids=['stacked', 'apart'])
def test_rows_of_a_cache_are_repeated_and_change_places(apart):
  model, tokens = tiny.gpt(), tiny.tokens(4, 7)
  params = {'params': tiny.params_of(model)}
  _, cache = decode(model, params, tokens=tokens[:, :6])
  if apart:
    cache = layers.split(cache)
  twice = kv_cache.repeat(cache, 2)
  assert layers.join(twice)['cache']['index'].shape == (8,)
  rows = np.array([7, 0, 3, 5, 2, 2, 1, 6])
  moved = layers.join(kv_cache.reorder(twice, jnp.asarray(rows)))
  following = tokens[rows // 2][:, 6:]
  got, _ = decode(model, params | moved, tokens=following)
  full = tiny.logits(model, tokens)
  np.testing.assert_allclose(got[:, 0], full[rows // 2, 6], atol=1e-5)
