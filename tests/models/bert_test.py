"""What an encoder sees, and where it answers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lm.types import UserError
from tests.models import tiny

VALID = np.array([[1, 1, 1, 1, 1, 0, 0, 0], [1] * 8], bool)


def bert(**changes):
  return tiny.build('bert', 'base', **changes)


def hidden(model, params=None, **inputs):
  if params is None:
    params = tiny.params_for(model, tokens=jnp.zeros((1, 2), jnp.int32))
  return np.asarray(tiny.apply(model, params, **inputs))


def test_padding_is_seen_by_nobody():
  model, tokens = bert(heads=()), tiny.tokens()
  whole = hidden(model, tokens=tokens, valid=VALID)
  alone = hidden(model, tokens=tokens[:1, :5], valid=VALID[:1, :5])
  np.testing.assert_allclose(whole[:1, :5], alone, atol=1e-5)


def test_packed_texts_are_read_as_if_alone():
  model, tokens = bert(heads=()), tiny.tokens(1)
  packed = hidden(
    model,
    tokens=tokens,
    valid=np.ones((1, 8), bool),
    segment_ids=np.array([[1, 1, 1, 2, 2, 2, 2, 2]]),
    positions=np.array([[0, 1, 2, 0, 1, 2, 3, 4]]),
  )
  for part in (slice(0, 3), slice(3, 8)):
    alone = hidden(
      model, tokens=tokens[:, part], valid=np.ones_like(tokens[:, part], bool)
    )
    np.testing.assert_allclose(packed[:, part], alone, atol=1e-5)


@pytest.mark.parametrize(
  'attention, before, after',
  [
    ('bidirectional', True, True),
    ('forward_backward', True, True),
    ('causal', True, False),
  ],
)
def test_attention_says_who_sees_whom(attention, before, after):
  model = bert(heads=(), attention=attention, num_layers=1)
  params = tiny.params_for(model, tokens=jnp.zeros((1, 2), jnp.int32))
  tokens = tiny.tokens(1)
  plain = hidden(model, params, tokens=tokens)[0, 4]
  for place, seen in ((1, before), (6, after)):
    other = tokens.copy()
    other[0, place] = (other[0, place] + 1) % tiny.SIZES['vocab_size']
    moved = np.abs(hidden(model, params, tokens=other)[0, 4] - plain).max()
    assert (moved > 1e-4) == seen


def test_one_half_of_the_heads_reads_forward_and_the_other_backward():
  model = bert(heads=(), attention='forward_backward', num_layers=1)
  params = tiny.params_for(model, tokens=jnp.zeros((1, 2), jnp.int32))
  block = params['encoder']['block']['attention']
  tokens = tiny.tokens(1)
  for head, blind in ((0, 6), (1, 1)):
    # Only this head's values are read.
    kernel = jnp.zeros_like(block['out']['kernel']).at[:, head].set(1.0)
    alone = jax.tree.map(lambda x: x, params)
    alone['encoder']['block']['attention']['out']['kernel'] = kernel
    plain = hidden(model, alone, tokens=tokens)[0, 4]
    other = tokens.copy()
    other[0, blind] = (other[0, blind] + 1) % tiny.SIZES['vocab_size']
    np.testing.assert_array_equal(
      hidden(model, alone, tokens=other)[0, 4], plain
    )


def test_loss_and_gradients_at_the_positions_asked_for_are_those_of_the_row():
  model, tokens = bert(vocab_multiple=8), tiny.tokens()
  params = tiny.params_for(model, tokens=jnp.asarray(tokens))
  predict_at = np.array([[1, 4, 0], [0, 2, 7]])
  weights = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
  targets = np.array([[3, 9, 0], [12, 0, 5]])
  spread = np.zeros((2, 8), np.int32), np.zeros((2, 8), np.float32)
  for array, values in zip(spread, (targets, weights)):
    for row in range(2):
      for slot in range(3):
        if weights[row, slot]:
          array[row, predict_at[row, slot]] = values[row, slot]

  def loss(params, targets, weights, **inputs):
    answers = model.apply({'params': params}, **inputs, method='answer')
    nats = optax.softmax_cross_entropy_with_integer_labels(
      answers['tokens'].logits(), targets
    )
    return jnp.sum(nats * weights)

  step = tiny.quick_jit(jax.value_and_grad(loss))
  valid = jnp.asarray(VALID)
  few = step(
    params, targets, weights, tokens=tokens, valid=valid, predict_at=predict_at
  )
  whole = step(params, *spread, tokens=tokens, valid=valid)
  np.testing.assert_allclose(few[0], whole[0], rtol=1e-5)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
    few[1],
    whole[1],
  )


@pytest.mark.parametrize(
  'name, preset', [('bert', 'base'), ('roberta', 'base'), ('gpt', 'gpt2')]
)
def test_heads_answer_by_term(name, preset):
  heads = ('tokens', 'label', 'tags', 'start', 'end')
  model = tiny.build(name, preset, heads=heads, num_labels=3)
  tokens = tiny.tokens()
  params = tiny.params_for(model, tokens=jnp.asarray(tokens))
  answers = tiny.apply(model, params, tokens=tokens, valid=VALID)
  assert {term: scores.shape for term, scores in answers.items()} == {
    'tokens': (2, 8, 13),
    'label': (2, 3),
    'tags': (2, 8, 3),
    'start': (2, 8),
    'end': (2, 8),
  }
  again = tokens.copy()
  again[0, 5:] = 1  # Padding.
  padded = tiny.apply(model, params, tokens=again, valid=VALID)
  np.testing.assert_allclose(padded['label'], answers['label'], atol=1e-5)


def test_a_head_that_there_is_not_is_refused():
  model = bert(heads=('tokens', 'lable'))
  with pytest.raises(
    UserError, match=r"'lable'.* tokens, next_sentence, label"
  ):
    jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 2), jnp.int32))


def test_roberta_counts_from_two_and_has_one_type_of_token():
  model = tiny.build('roberta', 'base', heads=())
  tokens = tiny.tokens(1, tiny.SIZES['max_len'])
  params = tiny.params_for(model, tokens=jnp.asarray(tokens))
  assert params['position']['embedding'].shape[0] == tiny.SIZES['max_len'] + 2
  assert params['token_type'].shape[0] == 1
  first = hidden(model, params, tokens=tokens)
  unused = params['position']['embedding'].at[:2].set(jnp.nan)
  params['position']['embedding'] = unused
  np.testing.assert_array_equal(hidden(model, params, tokens=tokens), first)
