"""What tokens add to a score is as the papers define it."""

import jax.numpy as jnp
import numpy as np
import pytest

from lm.analysis import attribution, capture
from tests.analysis import families

SCORE = attribution.token_score(-1, jnp.array([3, 5]))


def score_of(model, params, inputs):
  """Returns the log probabilities of tokens 3 and 5 at the end of the rows."""
  logits = families.logits(model, params, inputs)[:, -1].astype(np.float64)
  log_z = np.log(np.exp(logits).sum(-1))
  return logits[[0, 1], [3, 5]] - log_z


def added(found):
  return sum(np.asarray(array).sum(-1) for array in found.values())


# T5's norms divide by what is almost 0 on the way, which takes small steps.
@pytest.mark.parametrize(
  ('name', 'steps'),
  [('gpt', 64), ('bert', 32), pytest.param('t5', 2048, marks=pytest.mark.slow)],
)
def test_integrated_gradients_add_up_to_the_difference(name, steps):
  model, params, inputs, _ = families.family(name)
  others = {k: v for k, v in inputs.items() if 'tokens' in k}
  baseline = {k: jnp.zeros_like(v) for k, v in others.items()}
  found = attribution.integrated_gradients(
    model, params, inputs, SCORE, baseline, steps
  )
  assert set(found.scores) == set(others)
  difference = score_of(model, params, inputs) - score_of(
    model, params, {**inputs, **baseline}
  )
  assert np.abs(difference).min() > 0.03
  np.testing.assert_allclose(added(found.scores), difference, atol=1e-4)
  np.testing.assert_allclose(found.gap, 0, atol=1e-4)


def test_more_steps_leave_a_smaller_gap():
  model, params, inputs, _ = families.family('gpt')
  gaps = [
    np.abs(
      attribution.integrated_gradients(
        model, params, inputs, SCORE, steps=steps
      ).gap
    ).max()
    for steps in (2, 256)
  ]
  assert gaps[1] < 1e-3 < 0.01 < gaps[0]


def test_a_token_that_is_the_baselines_adds_nothing():
  model, params, inputs, _ = families.family('bert')
  baseline = inputs['tokens'].at[:, 2].set(inputs['tokens'][:, 2] + 1)
  found = attribution.integrated_gradients(
    model, params, inputs, SCORE, {'tokens': baseline % 13}, steps=8
  )
  scores = np.abs(found.scores['tokens'])
  assert scores[:, 2].min() > 1e-3
  assert not np.delete(scores, 2, axis=1).any()


def test_gradient_x_input_is_the_slope_of_stretched_tokens():
  model, params, inputs, _ = families.family('gpt')
  found = attribution.gradient_x_input(model, params, inputs, SCORE)
  vectors = capture.capture(model, params, inputs, 'dropout')['dropout']

  def stretched(row, token, by):
    there = {'dropout': vectors.at[row, token].multiply(1 + by)}
    return float(SCORE(capture.patch(model, params, inputs, there))[row])

  for row, token in enumerate(np.abs(found['tokens']).argmax(axis=1)):
    slope = (stretched(row, token, 1e-2) - stretched(row, token, -1e-2)) / 2e-2
    got = float(found['tokens'][row, token])
    assert got == pytest.approx(slope, abs=2e-3)
    assert abs(got) > 0.04


def test_what_cannot_be_seen_adds_nothing():
  model, params, inputs, _ = families.family('gpt')
  found = attribution.gradient_x_input(
    model, params, inputs, attribution.token_score(4, 3)
  )
  assert np.abs(found['tokens'][:, :5]).min() > 1e-4
  assert not np.asarray(found['tokens'][:, 5:]).any()
  model, params, inputs, _ = families.family('t5')
  found = attribution.gradient_x_input(model, params, inputs, SCORE)
  padding = ~np.asarray(inputs['source_valid'])
  assert not np.asarray(found['source_tokens'])[padding].any()
