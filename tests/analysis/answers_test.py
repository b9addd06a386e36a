"""What is said of each target is what the model's own scores say."""

import jax
import numpy as np
import pytest

from lm.analysis import answers
from lm.types import UserError
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
