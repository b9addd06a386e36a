"""What a decoder reads of its source, and what it answers."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.models import tiny

MODELS = {
  't5': ('t5', 'small', {}),
  't5 1.1': ('t5', 'v1.1-small', {'num_decoder_layers': 1}),
  'transformer': ('transformer', 'base', {}),
  'learned': ('transformer', 'base', {'position': 'learned'}),
}
SOURCE = tiny.tokens(2, 7, seed=1)
SOURCE_VALID = np.array([[1, 1, 1, 1, 0, 0, 0], [1] * 7], bool)


def build(case):
  name, preset, changes = MODELS[case]
  model = tiny.build(name, preset, **changes)
  row = jnp.zeros((1, 2), jnp.int32)
  return model, tiny.params_for(model, source_tokens=row, tokens=row)


def answer(model, params, source, source_valid, tokens, **inputs):
  return np.asarray(
    tiny.apply(
      model,
      params,
      source_tokens=source,
      source_valid=source_valid,
      tokens=tokens,
      **inputs,
    )
  )


@pytest.mark.parametrize('case', MODELS)
def test_a_token_sees_its_source_and_what_precedes_it(case):
  model, params = build(case)
  tokens = tiny.tokens()
  plain = answer(model, params, SOURCE, SOURCE_VALID, tokens)
  later = tokens.copy()
  later[:, 5:] = 1
  np.testing.assert_allclose(
    answer(model, params, SOURCE, SOURCE_VALID, later)[:, :5],
    plain[:, :5],
    atol=1e-5,
  )
  padding = SOURCE.copy()
  padding[0, 4:] = 2
  np.testing.assert_allclose(
    answer(model, params, padding, SOURCE_VALID, tokens), plain, atol=1e-5
  )
  read = SOURCE.copy()
  read[:, 3] = (read[:, 3] + 1) % tiny.SIZES['vocab_size']
  moved = answer(model, params, read, SOURCE_VALID, tokens) - plain
  assert (np.abs(moved).max(axis=(1, 2)) > 1e-4).all()


@pytest.mark.parametrize('case', ['t5', 'transformer'])
def test_packed_pairs_are_read_as_if_alone(case):
  model, params = build(case)
  tokens = tiny.tokens(1)
  packed = answer(
    model,
    params,
    SOURCE[1:],
    None,
    tokens,
    source_segment_ids=np.array([[1, 1, 1, 1, 2, 2, 2]]),
    source_positions=np.array([[0, 1, 2, 3, 0, 1, 2]]),
    segment_ids=np.array([[1, 1, 1, 2, 2, 2, 2, 2]]),
    positions=np.array([[0, 1, 2, 0, 1, 2, 3, 4]]),
  )
  for part, of_source in (
    (slice(0, 3), slice(0, 4)),
    (slice(3, 8), slice(4, 7)),
  ):
    alone = answer(model, params, SOURCE[1:, of_source], None, tokens[:, part])
    np.testing.assert_allclose(packed[:, part], alone, atol=1e-5)


@pytest.mark.parametrize('tied', [True, False])
def test_a_table_that_scores_is_its_own_unless_it_is_tied(tied):
  model = tiny.build('t5', 'small', tie_embeddings=tied, scale_logits=tied)
  row = jnp.zeros((1, 2), jnp.int32)
  params = tiny.params_for(model, source_tokens=row, tokens=row)
  tokens = tiny.tokens()
  plain = answer(model, params, SOURCE, SOURCE_VALID, tokens)
  assert ('output' in params) != tied
  table = 'token' if tied else 'output'
  predict_at = np.array([[7, 0], [2, 3]])
  few = answer(
    model, params, SOURCE, SOURCE_VALID, tokens, predict_at=predict_at
  )
  for row, places in enumerate(predict_at):
    np.testing.assert_allclose(few[row], plain[row, places], atol=1e-5)
  rows = params[table]['embedding']
  assert plain.shape[-1] == rows.shape[0]


def test_heads_read_the_decoder_but_tags_the_encoder():
  heads = ('label', 'start', 'end')
  model = tiny.build('t5', 'small', heads=heads, num_labels=3)
  row = jnp.zeros((1, 2), jnp.int32)
  params = tiny.params_for(model, source_tokens=row, tokens=row)
  answers = tiny.apply(
    model,
    params,
    source_tokens=SOURCE,
    source_valid=SOURCE_VALID,
    tokens=SOURCE,
    valid=SOURCE_VALID,
  )
  shapes = {term: scores.shape for term, scores in answers.items()}
  assert shapes == {'label': (2, 3), 'start': (2, 7), 'end': (2, 7)}
  tagger = tiny.build('t5', 'small', heads=('tags',), num_labels=3)
  params = tiny.params_for(tagger, source_tokens=row)
  assert 'decoder' not in params
  tags = tiny.apply(
    tagger, params, source_tokens=SOURCE, source_valid=SOURCE_VALID
  )
  assert tags.shape == (2, 7, 3)
