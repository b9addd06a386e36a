"""Choosing a token, against numpy and transformers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lm.generation import sampling
from lm.types import UserError

ROWS = np.random.default_rng(0).normal(0, 3, (5, 23)).astype(np.float32)
ROWS[0, [3, 8, 9]] = ROWS[0].max()  # Equals, also at the border.
ROWS[1] = 0.5
LOGITS = jnp.asarray(ROWS)


def top_k_in_numpy(row, k):
  """Written from the definition: as good as the k-th best."""
  border = sorted(row, reverse=True)[min(k, len(row)) - 1]
  return np.array([x if x >= border else -np.inf for x in row])


def top_p_in_numpy(row, p):
  """Written from the definition: add the best ones until they are enough."""
  probabilities = np.exp(row.astype(np.float64) - row.max())
  probabilities /= probabilities.sum()
  total, border = 0.0, np.inf
  for token in sorted(range(len(row)), key=lambda t: -row[t]):
    border = min(border, row[token])
    total += probabilities[token]
    if total >= p:
      break
  return np.where(row >= border, row, -np.inf)


@pytest.mark.parametrize('k', [1, 2, 5, 23, 100])
def test_top_k_keeps_the_k_best(k):
  expected = [top_k_in_numpy(row, k) for row in ROWS]
  np.testing.assert_array_equal(sampling.keep_top_k(LOGITS, k), expected)


@pytest.mark.parametrize('p', [1e-6, 0.3, 0.77, 0.95, 0.9999])
def test_top_p_keeps_the_fewest_tokens_that_have_the_probability(p):
  expected = [top_p_in_numpy(row, p) for row in ROWS]
  np.testing.assert_array_equal(sampling.keep_top_p(LOGITS, p), expected)


def test_the_examples_of_the_docstrings_are_true():
  inf = np.inf
  logits = jnp.array([[1.0, 4.0, 2.0, 3.0]])
  np.testing.assert_array_equal(
    sampling.keep_top_k(logits, 2), [[-inf, 4.0, -inf, 3.0]]
  )
  logits = jnp.log(jnp.array([[0.1, 0.5, 0.1, 0.3]]))
  kept = np.exp(sampling.keep_top_p(logits, 0.6))
  np.testing.assert_allclose(kept, [[0, 0.5, 0, 0.3]], rtol=1e-6)


def keys(seed, rows, position=0):
  return sampling.row_keys(
    jax.random.key(seed), jnp.arange(rows), jnp.full(rows, position)
  )


def test_tokens_are_drawn_as_often_as_they_are_probable():
  rules = sampling.settings(temperature=1.5, top_k=6, top_p=0.9)
  row, draws = ROWS[2], 20_000
  narrowed = top_p_in_numpy(top_k_in_numpy(row / np.float32(1.5), 6), 0.9)
  probabilities = np.exp(narrowed - narrowed.max())
  probabilities /= probabilities.sum()
  logits = jnp.broadcast_to(row, (draws, len(row)))
  drawn = sampling.choose(logits, keys(0, draws), rules)
  counts = np.bincount(drawn, minlength=len(row))
  assert 1 < np.count_nonzero(probabilities) < 6
  sigma = np.sqrt(draws * probabilities * (1 - probabilities))
  assert np.all(np.abs(counts - draws * probabilities) <= 4 * sigma)


def test_temperature_zero_takes_the_first_of_the_best():
  assert sampling.settings(temperature=0.0, top_k=3) == sampling.GREEDY
  chosen = sampling.choose(LOGITS, keys(0, 5), sampling.GREEDY)
  np.testing.assert_array_equal(chosen, np.argmax(ROWS, axis=-1))


def test_a_draw_depends_on_seed_row_and_position_alone():
  logits = jnp.zeros((6, 1000))
  rules = sampling.settings()
  draw = lambda rows, **of: np.asarray(
    sampling.choose(logits[:rows], keys(rows=rows, **of), rules)
  )
  six = draw(6, seed=0)
  assert len(set(six)) > 3
  np.testing.assert_array_equal(draw(2, seed=0), six[:2])
  assert np.any(draw(6, seed=1) != six)
  assert np.any(draw(6, seed=0, position=1) != six)


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'temperature': -0.1}, 'temperature is -0.1'),
    ({'temperature': float('nan')}, 'temperature is nan'),
    ({'top_k': 0}, 'top_k is 0'),
    ({'top_p': 0.0}, r'top_p is 0\.0'),
    ({'top_p': 40.0}, r'top_p is 40\.0'),
  ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
  with pytest.raises(UserError, match=message):
    sampling.settings(**settings)


@pytest.mark.peers
@pytest.mark.parametrize(
  ('temperature', 'top_k', 'top_p'),
  [(0.7, None, None), (1.0, 4, None), (1.0, None, 0.6), (1.9, 9, 0.8)],
)
def test_the_choice_is_as_narrow_as_that_of_transformers(
  temperature, top_k, top_p
):
  import torch
  import transformers

  rows = torch.from_numpy(ROWS[2:])  # It cuts through equals where it happens.
  theirs = transformers.TemperatureLogitsWarper(temperature)(None, rows)
  if top_k is not None:
    theirs = transformers.TopKLogitsWarper(top_k)(None, theirs)
  if top_p is not None:
    theirs = transformers.TopPLogitsWarper(top_p)(None, theirs)
  rules = sampling.settings(temperature, top_k, top_p)
  ours = sampling.narrow(LOGITS[2:], rules)
  np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-6)
