"""What a GPT answers, and what of its input an answer depends on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lm.types import UserError
from tests.models import plain_gpt, tiny

VARIANTS = {
  'gpt2': {},
  'gpt1': {'norm_position': 'post'},
  'nano': {'use_bias': False, 'activation': 'gelu'},
  'article': {
    'norm_position': 'post',
    'activation': 'relu',
    'position': 'sinusoidal',
    'scale_embeddings': True,
  },
  'gpt3': {'local_window': 2},
  'rotary': {'position': 'rotary', 'head_dim': 6, 'num_heads': 3},
  'one layer, large eps': {'num_layers': 1, 'norm_eps': 0.1},
}

# Two documents and padding; and one document.
SEGMENTS = np.array([[1, 1, 1, 1, 1, 2, 2, 0], [1, 1, 1, 1, 1, 1, 1, 1]])
POSITIONS = np.array([[0, 1, 2, 3, 4, 0, 1, 0], [0, 1, 2, 3, 4, 5, 6, 7]])


@pytest.mark.parametrize('name', VARIANTS)
def test_agrees_with_a_plain_implementation_on_packed_documents(name):
  model, tokens = tiny.gpt(**VARIANTS[name]), tiny.tokens()
  got = tiny.logits(model, tokens, POSITIONS, SEGMENTS)
  for row in range(2):
    inputs = tokens[row], POSITIONS[row], SEGMENTS[row]
    expected = plain_gpt.logits(model, tiny.params_of(model), *inputs)
    np.testing.assert_allclose(got[row], expected, atol=2e-5)


def reach(model, *inputs, params=None):
  """Draws which outputs (rows) change by a bit if a token (columns) does."""
  tokens = tiny.tokens()
  here = tiny.logits(model, tokens, *inputs, params=params)
  columns = []
  for slot in range(8):
    changed = tokens.copy()
    changed[:, slot] = (tokens[:, slot] + 1) % 13
    there = tiny.logits(model, changed, *inputs, params=params)
    columns.append((here != there)[0].any(axis=-1))
  return [''.join('.#'[int(is_new)] for is_new in row) for row in zip(*columns)]


TRIANGLE = ['#' * (row + 1) + '.' * (7 - row) for row in range(8)]
BAND = [
  '#.......',
  '##......',
  '.##.....',
  '..##....',
  '...##...',
  '....##..',
  '.....##.',
  '......##',
]
PACKED = [
  '#.......',
  '##......',
  '###.....',
  '####....',
  '#####...',
  '.....#..',
  '.....##.',
  '.......#',
]


def test_a_token_depends_on_itself_and_on_what_precedes_it():
  assert reach(tiny.gpt()) == TRIANGLE


def test_documents_of_a_row_do_not_reach_each_other():
  assert reach(tiny.gpt(), POSITIONS, SEGMENTS) == PACKED


@pytest.mark.parametrize('silent, picture', [(0, BAND), (1, TRIANGLE)])
def test_only_the_odd_layers_are_banded(silent, picture):
  model = tiny.gpt(local_window=2)
  params = jax.tree.map(jnp.copy, tiny.params_of(model))
  out = params['decoder']['block']['attention']['out']
  out['kernel'] = out['kernel'].at[silent].set(0)
  assert reach(model, params=params) == picture


def test_gradients_are_causal():
  model, tokens = tiny.gpt(), jnp.asarray(tiny.tokens())

  def score(params):
    return model.apply({'params': params}, tokens)[:, 4, 7].sum()

  grad = tiny.quick_jit(jax.grad(score))(tiny.params_of(model))['position'][
    'embedding'
  ]
  assert np.all(np.any(grad[:5] != 0, axis=-1))
  assert np.all(grad[5:] == 0)


@pytest.mark.parametrize('name', ['gpt2', 'article', 'rotary'])
def test_packed_documents_are_answered_as_if_alone(name):
  model, packed = tiny.gpt(**VARIANTS[name]), tiny.tokens()
  alone = np.zeros_like(packed)  # Each with padding to its right.
  alone[0, :5], alone[1, :2] = packed[0, :5], packed[0, 5:7]
  got = tiny.logits(model, packed, POSITIONS, SEGMENTS)
  expected = tiny.logits(model, alone)
  np.testing.assert_allclose(got[0, :5], expected[0, :5], atol=1e-5)
  np.testing.assert_allclose(got[0, 5:7], expected[1, :2], atol=1e-5)


def test_padding_on_the_right_changes_nothing_and_defaults_are_one_document():
  model, tokens = tiny.gpt(), tiny.tokens()
  params = tiny.params_of(model)
  short = tiny.apply(model, params, tokens=tokens[:, :5])
  valid = np.broadcast_to(np.arange(8) < 5, (2, 8))
  padded = tiny.apply(model, params, tokens=tokens * valid, valid=valid)
  np.testing.assert_allclose(padded[:, :5], short, atol=1e-5)
  np.testing.assert_allclose(
    tiny.logits(model, tokens)[:, :5], short, atol=1e-5
  )


def test_a_row_longer_than_the_learned_positions_is_refused():
  tokens = jnp.asarray(tiny.tokens(1, 13))
  model = tiny.gpt()
  with pytest.raises(UserError, match=r'13 tokens, .* 12 positions'):
    model.apply({'params': tiny.params_of(model)}, tokens)
  for position in ('sinusoidal', 'rotary'):  # These have no last one.
    assert np.isfinite(tiny.logits(tiny.gpt(position=position), tokens)).all()


def test_an_answer_at_some_positions_is_the_whole_answer_there():
  model, tokens = tiny.gpt(), tiny.tokens()
  predict_at = np.array([[7, 0, 3], [2, 2, 5]])
  got = tiny.apply(
    model, tiny.params_of(model), tokens=tokens, predict_at=predict_at
  )
  assert got.shape == (2, 3, 13)
  whole = tiny.logits(model, tokens)
  for row, slots in enumerate(predict_at):
    np.testing.assert_allclose(got[row], whole[row, slots], atol=1e-5)
