"""Probes know what a layer knows, and no more."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import linear_model

from lm.analysis import probes
from lm.types import UserError

WORDS, WIDTH = 60, 80


def sentences(count, seed):
  """Returns words, and labels that depend on the word before each."""
  rng = np.random.default_rng(seed)
  words = rng.integers(0, WORDS, count + 1)
  return words[1:], words[:-1] % 3


def tokens(count, seed):
  """Three layers: the label, which word it is, and noise."""
  words, labels = sentences(count, seed)
  rng = np.random.default_rng(seed + 100)
  noise = rng.normal(size=(3, count, WIDTH))
  noise[0, :, :3] += 8 * np.eye(3)[labels]
  noise[1, :, :WORDS] += 20 * np.eye(WORDS)[words]
  return probes.Tokens(jnp.asarray(noise, jnp.float32), words, labels)


def test_selectivity_tells_what_is_known_from_what_is_learned_by_heart():
  found = probes.probe(tokens(1500, 0), tokens(1500, 1), seed=2)
  known, word, nothing = found.accuracy
  assert known > 0.99
  assert abs(word - 1 / 3) < 0.08 and abs(nothing - 1 / 3) < 0.08
  known, word, nothing = found.control_accuracy
  assert word > 0.99
  assert known < 0.5 and nothing < 0.5
  assert found.selectivity.argmax() == 0
  np.testing.assert_array_equal(
    found.selectivity, found.accuracy - found.control_accuracy
  )


def test_the_labels_of_the_control_task_are_one_a_word_and_as_frequent():
  rng = np.random.default_rng(0)
  words = rng.integers(0, 3000, 9000)
  labels = rng.choice(3, 9000, p=[0.7, 0.2, 0.1])
  empty = jnp.zeros((1, 9000, 1))
  train = probes.Tokens(empty, words, labels)
  test = probes.Tokens(empty, words[::-1], labels)
  learned, asked = probes.control_labels(train, test, seed=0)
  np.testing.assert_array_equal(learned, asked[::-1])
  of_word = dict(zip(words.tolist(), learned.tolist()))
  assert learned.tolist() == [of_word[word] for word in words.tolist()]
  drawn = np.bincount(list(of_word.values())) / len(of_word)
  np.testing.assert_allclose(drawn, [0.7, 0.2, 0.1], atol=0.04)
  other, _ = probes.control_labels(train, test, seed=1)
  assert (other != learned).mean() > 0.2


def test_a_probe_is_the_logistic_regression_of_scikit_learn():
  rng = np.random.default_rng(0)
  features = rng.normal(2, [1, 3, 0.2, 5], (300, 4)).astype(np.float32)
  scores = features @ rng.normal(size=(4, 3))
  labels = np.argmax(scores + rng.gumbel(size=(300, 3)), axis=1)
  l2 = 0.01
  fitted = probes.fit(jnp.asarray(features), jnp.asarray(labels), 3, l2)
  scaled = (features - features.mean(0)) / features.std(0)
  theirs = linear_model.LogisticRegression(
    C=1 / (l2 * 300), tol=1e-8, max_iter=1000
  ).fit(scaled, labels)
  got = np.asarray(fitted(jnp.asarray(features)), np.float64)
  got -= got.mean(1, keepdims=True)
  expected = theirs.decision_function(scaled)
  expected -= expected.mean(1, keepdims=True)
  np.testing.assert_allclose(got, expected, atol=5e-3)


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'labels': np.zeros(8, int)}, r'labels of train are \[0\]'),
    ({'labels': np.arange(8) - 1}, r'labels of train are \[-1 +0 +1\]'),
    ({'types': np.zeros(7, int)}, 'train has features of 8 tokens, 7 types'),
  ],
)
def test_what_cannot_be_probed_is_an_error(change, message):
  whole = probes.Tokens(jnp.zeros((1, 8, 2)), np.arange(8), np.arange(8) % 2)
  with pytest.raises(UserError, match=message):
    probes.probe(whole._replace(**change), whole)
