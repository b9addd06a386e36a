"""What is captured is what was computed, and what is put in is gone on from."""

import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from lm.analysis import capture
from lm.models import transformer
from lm.types import UserError
from tests.analysis import families
from tests.models import tiny


def other(inputs):
  """Returns inputs of the same shapes with other tokens."""
  return {
    name: (array + 3) % tiny.SIZES['vocab_size'] if 'tokens' in name else array
    for name, array in inputs.items()
  }


def patched(model, params, inputs, replacements):
  answers = capture.patch(model, params, inputs, replacements)
  return families.of_tokens(answers)


@pytest.mark.parametrize('name', families.NAMES)
def test_a_layer_that_is_replaced_by_itself_changes_nothing(name):
  model, params, inputs, stack = families.family(name)
  expected = families.logits(model, params, inputs)
  block = f'{stack}/block'
  own = capture.capture(model, params, inputs, f'{block}|{block}/mlp')
  assert set(own) == {block, f'{block}/mlp'}
  families.assert_near(patched(model, params, inputs, own), expected)


@pytest.mark.parametrize('name', families.NAMES)
def test_a_layer_of_another_run_gives_what_that_run_gives_from_there_on(name):
  model, params, inputs, stack = families.family(name)
  others, block = other(inputs), f'{stack}/block'
  if stack == 'decoder' and 'source_tokens' in inputs:
    # What later layers read beside the layer below.
    others['source_tokens'] = inputs['source_tokens']
  theirs = capture.capture(model, params, others, block)[block]
  before = capture.capture(model, params, inputs, block)[block]
  replacement = capture.at(theirs, layer=1)
  put_in = {block: replacement}
  got = capture.capture(model, params, inputs, block, put_in)[block]
  families.assert_near(got[0], before[0])
  families.assert_near(got[1:], theirs[1:])
  assert np.abs(theirs - before).max() > 0.1
  expected = families.logits(model, params, others)
  assert np.abs(expected - families.logits(model, params, inputs)).max() > 0.1
  families.assert_near(patched(model, params, inputs, put_in), expected)


def test_a_position_is_replaced_alone_and_its_past_stays():
  model, params, inputs, _ = families.family('gpt')
  block = 'decoder/block'
  theirs = capture.capture(model, params, other(inputs), block)[block]
  put_in = {block: capture.at(theirs, layer=0, position=4)}
  got = capture.capture(model, params, inputs, block, put_in)[block]
  before = capture.capture(model, params, inputs, block)[block]
  families.assert_near(got[0, :, 4], theirs[0, :, 4])
  families.assert_near(got[0, :, 5:], before[0, :, 5:])
  families.assert_near(got[:, :, :4], before[:, :, :4])
  assert np.abs(got[1, :, 5:] - before[1, :, 5:]).max() > 0.01


def test_one_program_tries_all_layers():
  model, params, inputs, _ = families.family('gpt')
  block = 'decoder/block'
  theirs = capture.capture(model, params, other(inputs), block)[block]

  def put_in(layer):
    return capture.patch(
      model, params, inputs, {block: capture.at(theirs, layer)}
    )

  together = jax.vmap(put_in)(jnp.arange(3))
  families.assert_near(
    together, np.stack([put_in(layer) for layer in range(3)])
  )


def test_what_is_outside_of_a_stack_is_replaced_too():
  model, params, inputs, _ = families.family('gpt')
  theirs = capture.capture(model, params, other(inputs), 'dropout')
  got = patched(model, params, inputs, theirs)
  families.assert_near(got, families.logits(model, params, other(inputs)))


def test_activations_are_those_of_a_block_by_itself():
  model, params, inputs, _ = families.family('gpt')
  found = capture.capture(
    model, params, inputs, ['decoder/block.*', 'dropout', 'decoder/final_norm']
  )
  block = transformer.Block(model.config)
  context = transformer.Context(transformer.masks.causal(), jnp.arange(8)[None])
  x = found['dropout']
  for layer in range(3):
    own = jax.tree.map(operator.itemgetter(layer), params['decoder']['block'])
    x, _ = block.apply({'params': own}, x, None, context, None)
    families.assert_near(found['decoder/block'][layer], x)
  scored = found['decoder/final_norm'] @ params['token']['embedding'].T
  families.assert_near(scored, families.logits(model, params, inputs))


@pytest.mark.parametrize('changes', [{'remat': 'full'}, {'unroll': None}])
def test_it_is_the_same_however_layers_are_compiled(changes):
  model, params, inputs, _ = families.family('gpt')
  same = tiny.gpt(num_layers=3, **changes)
  patterns = ('decoder/block', '.*/weights')
  expected = capture.capture(model, params, inputs, patterns)
  got = capture.capture(same, params, inputs, patterns)
  assert set(got) == set(expected)
  for name in expected:
    families.assert_near(got[name], expected[name])


def test_what_is_called_twice_has_numbers():
  model, params, inputs, _ = families.family('t5')
  found = capture.capture(model, params, inputs, 'token')
  assert set(found) == {'token/0', 'token/1'}
  table = np.asarray(params['token']['embedding'])
  np.testing.assert_array_equal(
    found['token/0'], table[inputs['source_tokens']]
  )
  np.testing.assert_array_equal(found['token/1'], table[inputs['tokens']])
  [alone] = capture.capture(model, params, inputs, 'token/1').items()
  assert alone[0] == 'token/1'
  np.testing.assert_array_equal(alone[1], found['token/1'])
  for pattern in ('token/2', 'decoder/block/0'):
    with pytest.raises(UserError, match=f"No activation is named '{pattern}'"):
      capture.capture(model, params, inputs, pattern)
  with pytest.raises(UserError, match="at 'token': it is not what one"):
    capture.patch(model, params, inputs, {'token': found['token/1']})


def test_all_names_are_those_of_modules():
  model, params, inputs, _ = families.family('t5')
  found = capture.names(model, params, inputs)
  assert found['decoder/block/cross/weights'].shape == (3, 2, 2, 5, 7)
  assert found['encoder/block/attention/weights'].shape == (3, 2, 2, 7, 7)
  assert found['encoder/block/mlp/gate'].shape == (3, 2, 7, 10)
  assert found['decoder/final_norm'].shape == (2, 5, 6)


def test_a_pattern_that_matches_nothing_lists_near_names():
  model, params, inputs, _ = families.family('gpt')
  message = r"'decoder/blok'\. Near it are decoder/block, .*names\."
  with pytest.raises(UserError, match=message):
    capture.capture(model, params, inputs, ['.*/weights', 'decoder/blok'])


def test_a_pattern_that_is_none_is_an_error():
  model, params, inputs, _ = families.family('gpt')
  with pytest.raises(UserError, match=r"'\*/block' is no regular expression"):
    capture.capture(model, params, inputs, '*/block')


@pytest.mark.parametrize(
  ('replacements', 'message'),
  [
    ({'decoder/blocks': np.zeros(3)}, 'Near it are decoder/block,'),
    ({'decoder/block/attention/weights': np.zeros(3)}, 'not what one module'),
    ({'decoder/block': np.zeros((2, 8, 6))}, r'\(3, 2, 8, 6\), but .*\(2, 8'),
  ],
)
def test_what_cannot_be_put_in_is_an_error(replacements, message):
  model, params, inputs, _ = families.family('gpt')
  with pytest.raises(UserError, match=message):
    capture.patch(model, params, inputs, replacements)


def test_a_layer_that_is_not_there_is_an_error():
  values = jnp.zeros((3, 2, 8, 6))
  with pytest.raises(UserError, match=r'layer is 3, but these .* have 3'):
    capture.at(values, 3)
  with pytest.raises(UserError, match='position is -1'):
    capture.at(values, 0, -1)


def softmaxes(function, *args):
  """Returns how many are in a program, each layer of a stack counted once."""
  return jax.jit(function).lower(*args).as_text().count('exponential')


# Attention to the text, in T5 of both texts, and of the target to the source.
@pytest.mark.parametrize(('name', 'attentions'), [('gpt', 1), ('t5', 3)])
def test_a_model_that_nobody_looks_into_computes_nothing_more(name, attentions):
  model, params, inputs, stack = families.family(name)
  plain = lambda params: model.apply({'params': params}, **inputs)
  assert softmaxes(plain, params) == attentions
  before = jax.jit(plain).lower(params).as_text()

  def look(patterns):
    return lambda p: capture.observe(model, patterns, p, inputs, {})

  assert softmaxes(look(('.*/block',)), params) == attentions
  own = f'{stack}/block/attention/weights'
  assert softmaxes(look((own,)), params) == attentions + 1
  with pytest.raises(UserError):
    capture.capture(model, params, inputs, 'nothing')
  again = lambda params: model.apply({'params': params}, **inputs)
  after = jax.jit(again).lower(params).as_text()
  assert after.replace('again', 'plain') == before.replace('again', 'plain')


def test_only_what_is_asked_for_is_kept():
  model, params, inputs, _ = families.family('gpt')
  sown = []
  monitor = lambda call, args, kwargs, context: (
    sown.append(context.method_name) or call(*args, **kwargs)
  )
  with nn.intercept_methods(monitor):
    _, state = model.apply(
      {'params': params}, **inputs, mutable=['intermediates']
    )
  assert 'read' in sown  # Where the weights are asked for, if they are.
  assert not state.get('intermediates')
