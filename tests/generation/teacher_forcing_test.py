"""What an encoder-decoder says token by token is what a full pass says."""

import jax.numpy as jnp
import numpy as np
import pytest

from lm.generation import decode, layers, steps
from tests.generation.beam_test import EOS, PROMPTS, peer
from tests.models import parity, tiny

MODELS = [('t5', 'small'), ('t5', 'v1.1-small'), ('transformer', 'base')]
ROWS, LENGTH = 3, 10
SOURCE = tiny.tokens(ROWS, 7)
VALID = np.arange(7) < np.array([[7], [3], [1]])
START = 0

answer = tiny.quick_jit(steps.answer, static_argnums=0)


def build(name, preset):
  model = tiny.build(name, preset, num_decoder_layers=1)
  row = jnp.zeros((1, 2), jnp.int32)
  return model, tiny.params_for(model, source_tokens=row, tokens=row)


def forced(model, params, tokens):
  """Returns the logits of a full pass over all rows."""
  return np.asarray(
    tiny.apply(
      model, params, source_tokens=SOURCE, source_valid=VALID, tokens=tokens
    )
  )


@pytest.mark.parametrize('name, preset', MODELS)
def test_every_position_is_answered_as_in_a_full_pass(name, preset):
  model, params = build(name, preset)
  tokens = tiny.tokens(ROWS, LENGTH, seed=4)
  expected = forced(model, params, tokens)
  source = {'source_tokens': jnp.asarray(SOURCE), 'source_valid': VALID}
  apart, params = layers.apart(model, params)
  cache = steps.empty_cache(apart, params, ROWS, LENGTH, source)
  for i in range(LENGTH):  # The source is read at the first alone.
    one, valid = jnp.asarray(tokens[:, i : i + 1]), jnp.ones((ROWS, 1), bool)
    given = {} if i else source
    logits, cache = answer(apart, params, cache, one, valid, **given)
    np.testing.assert_allclose(logits, expected[:, i], atol=1e-5)


@pytest.mark.parametrize('name, preset', MODELS)
def test_greedy_text_is_the_best_of_a_full_pass_over_it(name, preset):
  model, params = build(name, preset)
  prompts = [row[valid] for row, valid in zip(SOURCE, VALID)]
  pieces = decode.generate(
    model, params, prompts, max_new_tokens=LENGTH, start_token=START
  )
  said = np.array([piece.tokens for piece in pieces], np.int32)
  assert said.shape == (ROWS, LENGTH)
  read = np.pad(said, ((0, 0), (1, 0)), constant_values=START)[:, :-1]
  assert (forced(model, params, read).argmax(-1) == said).all()


@pytest.mark.peers
def test_greedy_text_of_t5_is_that_of_transformers():
  import torch

  theirs, model, params = peer('t5')
  pieces = decode.generate(
    model, params, PROMPTS, max_new_tokens=12, stop_tokens=[EOS]
  )
  for prompt, piece in zip(PROMPTS, pieces):
    with torch.no_grad():
      expected = theirs.generate(
        **parity.as_torch({'input_ids': prompt[None]}),
        max_new_tokens=12,
        do_sample=False,
      )
    # Theirs begins with the start, ours does not.
    assert piece.tokens.tolist() == expected[0, 1:].tolist()
