"""Masks and sentinels are filled with what the model says."""

import jax.numpy as jnp
import numpy as np
import pytest

from lm.data import tokenizers
from lm.generation import fill, text
from lm.types import UserError, Vocabulary
from tests.models import tiny

TEXT = 'The cat sat on the mat. A dog ran to the man, and the man ran.'


@pytest.fixture(scope='module', params=['wordpiece', 'roberta'])
def trained(request):
  """A model whose head says what its tokenizer's mask is not."""
  size = {'wordpiece': 45, 'roberta': 280}[request.param]
  tokenizer = tokenizers.train(request.param, [TEXT * 4], size)
  name = {'wordpiece': 'bert', 'roberta': 'roberta'}[request.param]
  model = tiny.build(name, 'base', vocab_size=tokenizer.vocab_size, max_len=32)
  params = tiny.params_for(model, tokens=jnp.zeros((1, 2), jnp.int32))
  return model, params, tokenizer


def test_each_mask_has_the_candidates_of_the_whole_pass(trained):
  model, params, tokenizer = trained
  mask = tokenizer.pipeline.id_to_token(tokenizer.mask_id)
  prompts = [f'The {mask} sat on the {mask}.', f'A dog {mask}']
  filled = fill.masks(model, params, tokenizer, prompts, top_k=3)
  for prompt, one in zip(prompts, filled):
    tokens = tokenizer.encode(prompt, special_tokens=True)
    assert tokens[0] == tokenizer.cls_id and tokens[-1] == tokenizer.sep_id
    scores = np.asarray(tiny.apply(model, params, tokens=tokens[None]))[0]
    places = np.flatnonzero(tokens == tokenizer.mask_id)
    assert len(one.masks) == len(places) == prompt.count(mask)
    for place, candidates in zip(places, one.masks):
      shares = np.exp(scores[place] - scores[place].max())
      shares /= shares.sum()
      best = np.argsort(-shares)[:3]
      expected = [tokenizer.decode([int(id)]) for id in best]
      assert [c.token for c in candidates] == expected
      np.testing.assert_allclose(
        [c.probability for c in candidates], shares[best], rtol=1e-3
      )
      tokens[place] = best[0]
    assert one.text == tokenizer.decode(tokens, special_tokens=False)
    assert mask not in one.text


def test_the_stream_of_a_masked_model_is_the_filled_text(trained):
  model, params, tokenizer = trained
  mask = tokenizer.pipeline.id_to_token(tokenizer.mask_id)
  prompts = [f'The {mask} sat.']
  (replies,) = text.stream(model, params, tokenizer, prompts)
  (filled,) = fill.masks(model, params, tokenizer, prompts)
  assert replies == [text.Reply(filled.text, 1, 'stop')]


@pytest.mark.parametrize(
  'prompt, message', [('The cat.', 'Write .* where'), ('{} a' * 40, 'reads 32')]
)
def test_a_prompt_that_cannot_be_filled_is_refused(trained, prompt, message):
  model, params, tokenizer = trained
  mask = tokenizer.pipeline.id_to_token(tokenizer.mask_id)
  with pytest.raises(UserError, match=message):
    fill.masks(model, params, tokenizer, [prompt.format(*[mask] * 40)])


# Sentinels descend from 99.
VOCABULARY = Vocabulary(100, sentinel_ids=(99, 98, 97))


@pytest.mark.parametrize(
  'source, made, expected',
  [
    ([5, 99, 6, 98, 7], [99, 1, 2, 98, 3, 97], [5, 1, 2, 6, 3, 7]),
    ([5, 99, 6], [99], [5, 6]),
    ([5, 99, 6, 98], [98, 3, 99, 1], [5, 1, 6, 3]),
    ([5, 99, 6], [4, 4, 98, 2], [5, 6]),  # What nobody asked for.
    ([99, 6], [99, 1, 99, 2], [1, 6]),  # The first counts.
    ([5, 6], [99, 1], [5, 6]),
    ([99], [], []),
  ],
)
def test_what_a_sentinel_stands_for_is_put_in_its_place(source, made, expected):
  got = fill.put_back(np.array(source), np.array(made, int), VOCABULARY)
  assert got.tolist() == expected
