"""The same weights in transformers' GPT give the same logits and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lm import models
from lm.interop import gpt2, huggingface
from lm.types import Batch
from tests.models import parity, tiny

ACTIVATIONS = {'gelu_new': 'gelu_tanh', 'gelu': 'gelu', 'relu': 'relu'}
OF_GPT1 = {
  'tokens_embed.weight': 'wte.weight',
  'positions_embed.weight': 'wpe.weight',
}
SMALL = {
  'vocab_size': 23,
  'n_positions': 16,
  'n_embd': 12,
  'n_layer': 2,
  'n_head': 3,
}


def random_settings(seed):
  """Of a GPT-2 that nobody published."""
  rng = np.random.default_rng(seed)
  heads = int(rng.choice([1, 2, 3, 8]))
  return {
    'vocab_size': int(rng.integers(11, 40)),
    'n_positions': int(rng.integers(9, 20)),
    'n_layer': int(rng.integers(1, 4)),
    'n_head': heads,
    'n_embd': heads * int(rng.choice([5, 6, 7, 9])),
    'n_inner': int(rng.integers(5, 30)) if seed % 2 else None,
    'activation_function': list(ACTIVATIONS)[seed % 3],
    'layer_norm_epsilon': float(10 ** -rng.uniform(1, 8)),
  }


def peer(case):
  """Returns the peer, our model of the same sizes, and its parameters."""
  import transformers

  if case == 'gpt1':
    config = transformers.OpenAIGPTConfig(**SMALL)
    theirs = parity.perturbed(transformers.OpenAIGPTLMHeadModel(config))
    model = models.build(
      'gpt',
      'gpt1',
      unroll=1,
      vocab_size=config.vocab_size,
      max_len=config.n_positions,
      num_layers=config.n_layer,
      num_heads=config.n_head,
      head_dim=config.n_embd // config.n_head,
      embed_dim=config.n_embd,
      mlp_dim=4 * config.n_embd,
      norm_eps=config.layer_norm_epsilon,
    )
    flat = parity.as_ours(parity.arrays_of(theirs), model, gpt2.FAMILY, OF_GPT1)
    params = jax.tree.map(jnp.asarray, huggingface.nested(flat))
    return theirs, model, params
  settings = SMALL if case == 'gpt2' else random_settings(case)
  config = transformers.GPT2Config(**settings, bos_token_id=0, eos_token_id=0)
  theirs = parity.perturbed(transformers.GPT2LMHeadModel(config))
  return theirs, *parity.ours_of(theirs)


@pytest.mark.peers
@pytest.mark.parametrize('case', ['gpt2', 'gpt1', *range(6)])
def test_logits_loss_and_all_gradients_are_those_of_transformers(case):
  import torch

  theirs, model, params = peer(case)
  rng = np.random.default_rng(1)
  shape = (3, model.config.max_len)
  tokens = rng.integers(0, model.config.vocab_size, shape, np.int32)
  asked = rng.random(shape) < 0.7
  labels = torch.tensor(np.where(asked, tokens, -100), dtype=torch.long)
  output = theirs(torch.tensor(tokens, dtype=torch.long), labels=labels)
  output.loss.backward()

  objective = tiny.causal_lm()
  batch = objective.prepare(
    {'tokens': tokens, 'valid': asked, 'bytes': np.ones_like(tokens)},
    np.arange(3),
    0,
  )
  loss, logits, grads = parity.loss_and_grads(model, objective, params, batch)
  seen = output.logits[:, :-1].detach().numpy()
  np.testing.assert_allclose(logits, seen, atol=1e-4)
  np.testing.assert_allclose(loss, output.loss.item(), rtol=1e-4)
  renamed = OF_GPT1 if case == 'gpt1' else ()
  parity.assert_same_gradients(
    grads, parity.gradients_of(theirs, model, gpt2.FAMILY, renamed)
  )


@pytest.mark.peers
@pytest.mark.parametrize('case', ['gpt2', 1, 2])
def test_padding_is_masked_as_transformers_masks_it(case):
  import torch

  theirs, model, params = peer(case)
  rng = np.random.default_rng(2)
  shape = (3, 8)
  tokens, targets = rng.integers(
    0, model.config.vocab_size, (2, *shape), np.int32
  )
  valid = np.arange(8) < np.array([[8], [5], [2]])
  output = theirs(
    **parity.as_torch({'input_ids': tokens, 'attention_mask': valid})
  )
  seen = output.logits[torch.tensor(valid)]
  expected = torch.nn.functional.cross_entropy(
    seen, torch.tensor(targets[valid]).long()
  )
  expected.backward()
  loss, logits, grads = parity.loss_and_grads(
    model,
    parity.objective('tokens'),
    params,
    Batch(
      {'tokens': tokens, 'valid': valid},
      {'tokens': targets},
      {'tokens': valid.astype(np.float32)},
    ),
  )
  np.testing.assert_allclose(logits[valid], seen.detach().numpy(), atol=1e-4)
  np.testing.assert_allclose(loss, expected.item(), rtol=1e-4)
  parity.assert_same_gradients(
    grads, parity.gradients_of(theirs, model, gpt2.FAMILY)
  )


@pytest.mark.peers
@pytest.mark.parametrize('case', ['gpt2', 3, 4])
def test_packed_rows_are_read_as_transformers_reads_each_text(case):
  theirs, model, _ = peer(case)
  rng = np.random.default_rng(3)
  row, targets = rng.integers(0, model.config.vocab_size, (2, 1, 9), np.int32)
  batch = Batch(
    {
      'tokens': row,
      'segment_ids': np.array([[1, 1, 1, 1, 2, 2, 2, 3, 3]], np.int32),
      'positions': np.array([[0, 1, 2, 3, 0, 1, 2, 0, 1]], np.int32),
    },
    {'tokens': targets},
    {'tokens': np.ones((1, 9), np.float32)},
  )
  texts = (slice(0, 4), slice(4, 7), slice(7, 9))
  parts = [
    theirs(**parity.as_torch({'input_ids': row[:, text]})).logits
    for text in texts
  ]
  parity.assert_reads_apart(theirs, gpt2.FAMILY, batch, parts)
