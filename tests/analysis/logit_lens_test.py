"""The lens shows what a model would say that ended after a layer."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lm.analysis import logit_lens
from lm.types import UserError
from tests.analysis import families
from tests.models import tiny


def without_layers(params, stack, count):
  """Returns the parameters of the first layers of a stack."""
  # ELECTRA's other one is as deep.
  for name in (stack, 'encoder') if stack == 'generator' else (stack,):
    block = jax.tree.map(lambda leaf: leaf[:count], params[name]['block'])
    params = {**params, name: {**params[name], 'block': block}}
  return params


def shallower(model, stack, count):
  if stack == 'decoder' and hasattr(model, 'num_decoder_layers'):
    return model.clone(num_decoder_layers=count)
  return model.clone(config=dataclasses.replace(model.config, num_layers=count))


@pytest.mark.parametrize('name', families.NAMES)
def test_each_layer_says_what_a_model_says_that_ends_there(name):
  model, params, inputs, stack = families.family(name)
  seen = logit_lens.logit_lens(model, params, inputs)
  assert seen.shape[0] == 4  # The embedded tokens, and each of three layers.
  for count in (1, 2, 3):
    expected = families.logits(
      shallower(model, stack, count),
      without_layers(params, stack, count),
      inputs,
    )
    families.assert_near(seen[count], expected)


def test_layers_are_computed_once():
  model, params, inputs, _ = families.family('gpt')
  lens = lambda params: logit_lens.logit_lens(model, params, inputs)
  compiled = jax.jit(lens).lower(params).compile().as_text()
  assert compiled.count(' while(') == 1  # The stack that is captured.


def test_before_the_first_layer_the_embedded_tokens_are_scored():
  model, params, inputs, _ = families.family('gpt')
  seen = logit_lens.logit_lens(model, params, inputs)
  table, order = (params[k]['embedding'] for k in ('token', 'position'))
  x = np.asarray(table)[inputs['tokens']] + np.asarray(order)[:8]
  norm = params['decoder']['final_norm']
  x = (x - x.mean(-1, keepdims=True)) / np.sqrt(
    x.var(-1, keepdims=True) + model.config.norm_eps
  )
  x = x * np.asarray(norm['scale']) + np.asarray(norm['bias'])
  families.assert_near(seen[0], x @ np.asarray(table).T)


def test_it_answers_where_it_is_asked():
  model, params, inputs, _ = families.family('bert')
  everywhere = logit_lens.logit_lens(model, params, inputs)
  at = jnp.array([[2, 0], [1, 3]])
  got = logit_lens.logit_lens(model, params, {**inputs, 'predict_at': at})
  expected = np.stack([everywhere[:, row, at[row]] for row in range(2)], 1)
  families.assert_near(got, expected)


def test_a_model_that_scores_no_tokens_is_an_error():
  model = tiny.gpt(heads=('label',))
  inputs = {'tokens': jnp.asarray(tiny.tokens())}
  params = tiny.params_for(model, **inputs)
  with pytest.raises(UserError, match=r"config\.model\.heads have 'tokens'"):
    logit_lens.logit_lens(model, params, inputs)
