"""Attention maps are those of transformers; rollout is what its paper says."""

import jax.numpy as jnp
import numpy as np
import pytest

from lm.analysis import attention_maps, capture
from tests.models import parity, tiny

SHAPE, SOURCE_SHAPE = (3, 9), (3, 11)
VALID = np.arange(9) < np.array([[9], [6], [2]])
SOURCE_VALID = np.arange(11) < np.array([[7], [11], [2]])
SIZE = 29
WIDTHS = {
  'hidden_size': 12,
  'num_hidden_layers': 3,
  'num_attention_heads': 2,
  'intermediate_size': 20,
}
EAGER = {'attn_implementation': 'eager'}  # Others keep no weights.


def gpt2():
  import transformers

  config = transformers.GPT2Config(
    vocab_size=SIZE,
    n_positions=16,
    n_embd=12,
    n_layer=3,
    n_head=3,
    bos_token_id=0,
    eos_token_id=0,
    **EAGER,
  )
  return transformers.GPT2LMHeadModel(config)


def bert():
  import transformers

  config = transformers.BertConfig(vocab_size=SIZE, **WIDTHS, **EAGER)
  return transformers.BertForPreTraining(config)


def roberta():
  import transformers

  config = transformers.RobertaConfig(
    vocab_size=SIZE,
    max_position_embeddings=16,
    pad_token_id=1,
    **WIDTHS,
    **EAGER,
  )
  return transformers.RobertaForMaskedLM(config)


def t5():
  import transformers

  config = transformers.T5Config(
    vocab_size=SIZE,
    d_model=12,
    d_kv=5,
    d_ff=20,
    num_layers=2,
    num_decoder_layers=3,
    num_heads=3,
    relative_attention_num_buckets=8,
    relative_attention_max_distance=10,
    **EAGER,
  )
  return transformers.T5ForConditionalGeneration(config)


def assert_same(got, expected):
  """`expected` is a tuple of layers, as transformers has them."""
  expected = np.stack([layer.detach().numpy() for layer in expected])
  assert got.shape == expected.shape
  assert expected.std() > 0.05  # Or equal shares would do.
  np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)


@pytest.mark.peers
@pytest.mark.parametrize(
  ('make', 'stack'),
  [(gpt2, 'decoder'), (bert, 'encoder'), (roberta, 'encoder')],
)
def test_they_are_those_of_transformers(make, stack):
  theirs = parity.perturbed(make())
  rng = np.random.default_rng(0)
  # Padding has an id that no token of the text has, as RoBERTa wants it.
  tokens = np.where(VALID, rng.integers(2, SIZE, SHAPE), 1).astype(np.int32)
  given = {'input_ids': tokens, 'attention_mask': VALID}
  output = theirs(**parity.as_torch(given), output_attentions=True)
  model, params = parity.ours_of(theirs)
  inputs = {'tokens': tokens, 'valid': VALID}
  maps = attention_maps.attention_maps(model, params, inputs)
  assert set(maps) == {f'{stack}/block/attention'}
  (got,) = maps.values()
  # What stands on padding reads as it will, and nobody is asked there.
  got = np.moveaxis(np.asarray(got), 3, 2)[:, VALID]
  expected = [layer.movedim(2, 1)[VALID] for layer in output.attentions]
  assert_same(got, expected)


@pytest.mark.peers
def test_those_of_an_encoder_and_decoder_are_those_of_transformers():
  theirs = parity.perturbed(t5())
  rng = np.random.default_rng(0)
  source = rng.integers(0, SIZE, SOURCE_SHAPE, np.int32)
  tokens = rng.integers(0, SIZE, SHAPE, np.int32)
  given = {
    'input_ids': source,
    'attention_mask': SOURCE_VALID,
    'decoder_input_ids': tokens,
  }
  output = theirs(**parity.as_torch(given), output_attentions=True)
  model, params = parity.ours_of(theirs)
  maps = attention_maps.attention_maps(
    model,
    params,
    {'source_tokens': source, 'source_valid': SOURCE_VALID, 'tokens': tokens},
  )
  expected = {
    'encoder/block/attention': output.encoder_attentions,
    'decoder/block/attention': output.decoder_attentions,
    'decoder/block/cross': output.cross_attentions,
  }
  assert set(maps) == set(expected)
  for name, layers in expected.items():
    assert_same(maps[name], layers)


@pytest.mark.parametrize('kernel', ['plain', 'chunked'])
@pytest.mark.parametrize(
  'changes',
  [{'position': 'rotary'}, {'position': 'relative'}, {'local_window': 3}],
)
def test_they_are_what_the_model_reads_by(kernel, changes):
  model = tiny.gpt(kernel=kernel, **changes)
  params, inputs = tiny.params_of(model), {'tokens': tiny.tokens()}
  found = capture.capture(model, params, inputs, '.*/(weights|value|out)')
  block = 'decoder/block/attention'
  weights = found[f'{block}/weights']
  read = np.einsum('NBHQT,NBTHK->NBQHK', weights, found[f'{block}/value'])
  out = params['decoder']['block']['attention']['out']
  expected = np.einsum('NBQHK,NHKD->NBQD', read, out['kernel'])
  expected += np.asarray(out['bias'])[:, None, None]
  np.testing.assert_allclose(found[f'{block}/out'], expected, atol=1e-5)
  later = np.triu(np.ones((8, 8), bool), 1)
  assert not np.asarray(weights)[..., later].any()
  far = np.tril(np.ones((8, 8), bool), -3)
  seen = np.asarray(weights)[..., far].any(axis=(1, 2, 3))
  # GPT-3's second layer, and each other one after it, reads three tokens.
  assert seen.tolist() == [True, 'local_window' not in changes]


def test_packed_texts_and_prefixes_are_in_them():
  model, tokens = tiny.gpt(), jnp.asarray(tiny.tokens(1, 6))
  params = tiny.params_of(model)
  inputs = {
    'tokens': tokens,
    'segment_ids': jnp.array([[1, 1, 1, 2, 2, 2]]),
    'positions': jnp.array([[0, 1, 2, 0, 1, 2]]),
    'prefix': jnp.array([[True, True, False, False, False, False]]),
  }
  (maps,) = attention_maps.attention_maps(model, params, inputs).values()
  expected = [
    [1, 1, 0, 0, 0, 0],
    [1, 1, 0, 0, 0, 0],
    [1, 1, 1, 0, 0, 0],
    [0, 0, 0, 1, 0, 0],
    [0, 0, 0, 1, 1, 0],
    [0, 0, 0, 1, 1, 1],
  ]
  for head in np.asarray(maps).reshape(-1, 6, 6):
    np.testing.assert_array_equal(head > 0, np.array(expected, bool))


@pytest.mark.parametrize('residual', [0.5, 0.2])
def test_rollout_multiplies_layers_with_their_residuals(residual):
  rng = np.random.default_rng(0)
  maps = rng.dirichlet(np.ones(5), (3, 2, 4, 5)).astype(np.float32)
  got = attention_maps.rollout(jnp.asarray(maps), residual)
  for row in range(2):
    reached = np.eye(5)
    for layer in range(3):
      mixed = np.zeros((5, 5))
      for head in range(4):
        mixed += maps[layer, row, head] / 4
      reached = ((1 - residual) * mixed + residual * np.eye(5)) @ reached
      np.testing.assert_allclose(got[layer, row], reached, atol=1e-6)
  np.testing.assert_allclose(np.sum(got, axis=-1), 1, atol=1e-5)


def test_rollout_of_a_chain_follows_it():
  # Each token reads its predecessor; after two layers there are three paths.
  chain = np.eye(4, k=-1, dtype=np.float32)
  chain[0, 0] = 1
  maps = np.broadcast_to(chain, (2, 1, 1, 4, 4))
  got = attention_maps.rollout(jnp.asarray(maps))
  np.testing.assert_allclose(got[1, 0, 3], [0, 0.25, 0.5, 0.25])
