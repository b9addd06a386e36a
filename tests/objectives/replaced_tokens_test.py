"""ELECTRA's objective: what the generator is asked, and the discriminator."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lm.types import UserError
from tests.objectives import texts
from tests.objectives.texts import CLS, MASK, SEP


def build(**settings):
  return texts.build('replaced_tokens', 'generator_discriminator', **settings)


def given():
  made = texts.examples(20, 13, 9)
  made['tokens'][:2, 0] = CLS
  made['tokens'][[0, 1], [19, 12]] = SEP
  made['valid'][2] = False
  return made


def test_the_generator_fills_masks_and_the_discriminator_is_asked_of_the_row():
  examples = given()
  inputs, targets, weights = texts.prepare(build(), examples)
  text = examples['tokens']
  masked = inputs['masked']
  np.testing.assert_array_equal(inputs['tokens'], np.where(masked, MASK, text))
  assert masked.sum(axis=1).tolist() == [3, 2, 0]
  assert weights['tokens'].tolist() == [[1, 1, 1], [1, 1, 0], [0, 0, 0]]
  for row, places in enumerate(inputs['predict_at']):
    count = masked[row].sum()
    assert places[:count].tolist() == np.flatnonzero(masked[row]).tolist()
    np.testing.assert_array_equal(targets['tokens'][row], text[row, places])
  np.testing.assert_array_equal(targets['replaced'], text)
  # As `input_mask` in the published code: special tokens count, padding not.
  told = [[1] * 20, [*[1] * 13, *[0] * 7], [0] * 20]
  assert weights['replaced'].tolist() == told
  assert not (masked & (weights['replaced'] == 0)).any()
  assert set(inputs) == {'tokens', 'valid', 'masked', 'predict_at'}


def test_what_the_generator_drew_right_counts_as_the_text():
  objective = build(replaced_scale=30.0)
  assert objective.scales == {'tokens': 1.0, 'replaced': 30.0}
  original = np.array([[7, 8, 9, 6]])
  corrupted = np.array([[7, 5, 9, 8]])
  scores = np.array([[-1.0, 2.0, 0.5, 9.0]])
  weights = {
    'tokens': np.ones((1, 2), np.float32),
    'replaced': np.array([[1, 1, 1, 0]], np.float32),
  }
  answers = {
    'tokens': np.zeros((1, 2, 11), np.float32),
    'replaced': scores.astype(np.float32),
    'corrupted': corrupted,
  }
  targets = {'tokens': original[:, 1:3], 'replaced': original}
  terms, metrics = objective.loss(
    *jax.tree.map(jnp.asarray, (answers, targets, weights))
  )
  # The text, rightly; another token, rightly; the text, wrongly.
  nats = np.log1p(np.exp([-1.0, -2.0, 0.5])).sum()
  np.testing.assert_allclose(terms['replaced'], nats, rtol=1e-5)
  np.testing.assert_allclose(metrics['replaced_loss'], (nats, 3), rtol=1e-5)
  np.testing.assert_allclose(metrics['replaced_accuracy'], (2, 3))
  np.testing.assert_allclose(terms['tokens'], 2 * np.log(11), rtol=1e-5)
  np.testing.assert_allclose(metrics['loss'], (2 * np.log(11), 2), rtol=1e-5)


@pytest.mark.parametrize('form', ['causal', 'bidirectional', 'encoder_decoder'])
def test_a_model_that_draws_nothing_is_refused(form):
  with pytest.raises(UserError, match=r'Set config\.model\.name to electra'):
    texts.build('replaced_tokens', form)
