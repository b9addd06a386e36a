"""What is said of each target is what the model's own scores say."""

import jax
import numpy as np
import pytest

from lm.analysis import answers
from lm.types import Batch, UserError
from tests.analysis import families
from tests.models import tiny


@pytest.mark.parametrize('name', ['gpt', 'bert', 't5-tied'])
def test_the_best_guess_and_its_nats_are_those_of_the_logits(name):
  model, params, inputs, _ = families.family(name)
  logits = families.logits(model, params, inputs)
  targets = (inputs['tokens'] + 1) % 13
  found = answers.of_tokens(model, params, inputs, targets)
  np.testing.assert_array_equal(found.best, logits.argmax(axis=-1))
  shares = jax.nn.log_softmax(logits, axis=-1)
  own = np.take_along_axis(np.asarray(shares), targets[..., None], axis=-1)
  np.testing.assert_allclose(found.nats, -own[..., 0], rtol=1e-5, atol=1e-6)


def test_a_model_without_scores_of_tokens_is_refused():
  model = tiny.build('bert', 'tiny', heads=('label',))
  tokens = tiny.tokens(1, 4)
  params = tiny.params_for(model, tokens=tokens)
  with pytest.raises(UserError, match='no tokens'):
    answers.of_tokens(model, params, {'tokens': tokens}, tokens)


def test_all_that_is_asked_of_a_gpt_stands_in_one_table():
  model, params, _, _ = families.family('gpt')
  tokens = np.array([[1, 2, 1, 5, 5, 6], [7, 8, 9, 7, 8, 0]])
  batch = Batch(
    {
      'tokens': tokens[:, :-1],
      'segment_ids': np.array([[1, 1, 1, 2, 2], [1, 1, 1, 1, 1]]),
      'positions': np.array([[0, 1, 2, 0, 1], [0, 1, 2, 3, 4]]),
    },
    {'tokens': tokens[:, 1:]},
    {'tokens': np.array([[1.0, 1, 0, 1, 1], [1, 1, 1, 1, 0]])},
  )
  found = answers.of_batches(model, params, [batch, batch])
  once = {name: column[:8].tolist() for name, column in found._asdict().items()}
  assert once['tokens'] == [2, 1, 5, 6, 8, 9, 7, 8]
  assert once['shown'] == [1, 2, 5, 5, 7, 8, 9, 7]
  assert once['positions'] == [1, 2, 1, 2, 1, 2, 3, 4]
  assert once['repeated'] == [
    *(False, True, True, False),
    *(False, False, True, True),
  ]
  logits = families.logits(model, params, batch.inputs)
  asked = batch.weights['tokens'] > 0
  assert once['best'] == logits.argmax(axis=-1)[asked].tolist()
  assert all(len(column) == 16 for column in found)


def test_what_was_hidden_of_a_bert_is_told_with_what_was_shown():
  model, params, _, _ = families.family('bert')
  batch = Batch(
    {
      'tokens': np.array([[1, 12, 3, 12, 5]]),  # It was 1 2 3 2 5.
      'predict_at': np.array([[3, 2, 1, 0]]),
    },
    {'tokens': np.array([[2, 3, 2, 1]])},
    {'tokens': np.array([[1.0, 1.0, 1.0, 0.0]])},
  )
  found = answers.of_batches(model, params, [batch])
  assert found.tokens.tolist() == [2, 3, 2]
  assert found.shown.tolist() == [12, 3, 12]
  assert found.positions.tolist() == [3, 2, 1]
  assert found.repeated.tolist() == [True, False, False]
