"""The same weights in transformers' BERT and RoBERTa are the same function."""

import numpy as np
import pytest

from lm.interop import bert
from lm.types import Batch
from tests.models import parity

pytestmark = pytest.mark.peers

ACTIVATIONS = ('gelu', 'gelu_new', 'relu', 'silu')
LENGTHS = np.array([[9], [6], [2]])
SHAPE = (3, 9)


def random_peer(kind, seed):
  """Returns a BERT, or a RoBERTa, that nobody published."""
  import transformers

  rng = np.random.default_rng(seed)
  heads, width = parity.random_widths(rng)
  settings = {
    'vocab_size': int(rng.integers(11, 40)),
    'max_position_embeddings': int(rng.integers(11, 20)),
    'num_hidden_layers': 1 + seed % 3,
    'num_attention_heads': heads,
    'hidden_size': heads * width,
    'intermediate_size': int(rng.integers(3, 40)),
    'hidden_act': ACTIVATIONS[seed % 4],
    'layer_norm_eps': float(10 ** -rng.uniform(1, 12)),
  }
  if kind == 'bert':
    config = transformers.BertConfig(
      **settings, type_vocab_size=int(rng.integers(2, 5))
    )
    return parity.perturbed(transformers.BertForPreTraining(config))
  # Positions are counted from behind the padding, whichever that is. The
  # published have one type of tokens, which leaves nothing to tell.
  config = transformers.RobertaConfig(
    **settings, type_vocab_size=1 + seed % 3, pad_token_id=seed % 2
  )
  return parity.perturbed(transformers.RobertaForMaskedLM(config))


def random_batch(theirs, seed):
  """Returns a batch of padded rows, of which some tokens are asked for."""
  config, rng = theirs.config, np.random.default_rng(seed)
  valid = np.arange(SHAPE[1]) < LENGTHS
  tokens = rng.integers(2, config.vocab_size, SHAPE)
  inputs = {
    'tokens': np.where(valid, tokens, config.pad_token_id).astype(np.int32),
    'valid': valid,
    'token_types': rng.integers(0, config.type_vocab_size, SHAPE, np.int32),
  }
  asked = valid & (rng.random(SHAPE) < 0.6)
  asked[:, 0] = True
  targets = {'tokens': rng.integers(0, config.vocab_size, SHAPE, np.int32)}
  weights = {'tokens': asked.astype(np.float32)}
  if config.model_type == 'bert':
    targets['next_sentence'] = np.array([1, 0, 1], np.int32)
    weights['next_sentence'] = np.ones(3, np.float32)
  return Batch(inputs, targets, weights)


def answer(theirs, batch):
  """Returns their output, with the loss of the batch."""
  given = {
    'input_ids': batch.inputs['tokens'],
    'attention_mask': batch.inputs['valid'],
    'token_type_ids': batch.inputs['token_types'],
    'labels': np.where(
      batch.weights['tokens'] > 0, batch.targets['tokens'], -100
    ),
  }
  if 'next_sentence' in batch.targets:
    given['next_sentence_label'] = batch.targets['next_sentence']
  output = theirs(**parity.as_torch(given))
  scores = output.get('logits', output.get('prediction_logits'))
  return output, scores.detach().numpy()


@pytest.mark.parametrize('seed', range(6))
@pytest.mark.parametrize('kind', ['bert', 'roberta'])
def test_logits_loss_and_all_gradients_are_those_of_transformers(kind, seed):
  theirs = random_peer(kind, seed)
  batch = random_batch(theirs, seed)
  output, expected = answer(theirs, batch)
  output.loss.backward()

  model, params = parity.ours_of(theirs)
  objective = parity.objective(*batch.targets)
  loss, logits, grads = parity.loss_and_grads(model, objective, params, batch)
  # RoBERTa gives padding a position of its own, which nobody else sees.
  valid = batch.inputs['valid']
  np.testing.assert_allclose(logits[valid], expected[valid], atol=1e-4)
  np.testing.assert_allclose(loss, output.loss.item(), rtol=1e-4)
  family = {'bert': bert.BERT, 'roberta': bert.ROBERTA}[kind]
  parity.assert_same_gradients(
    grads, parity.gradients_of(theirs, model, family)
  )


@pytest.mark.parametrize('seed', [1, 2, 4])
@pytest.mark.parametrize('kind', ['bert', 'roberta'])
def test_packed_rows_are_read_as_transformers_reads_each_text(kind, seed):
  theirs = random_peer(kind, seed)
  config, rng = theirs.config, np.random.default_rng(seed)
  row, labels = rng.integers(2, config.vocab_size, (2, 1, 9), np.int32)
  types = rng.integers(0, config.type_vocab_size, (1, 9), np.int32)

  def read(text):
    given = {'input_ids': row[:, text], 'token_type_ids': types[:, text]}
    output = theirs(**parity.as_torch(given))
    return output.get('logits', output.get('prediction_logits'))

  texts = (slice(0, 4), slice(4, 7), slice(7, 9))
  batch = Batch(
    {
      'tokens': row,
      'token_types': types,
      'segment_ids': np.array([[1, 1, 1, 1, 2, 2, 2, 3, 3]], np.int32),
      'positions': np.array([[0, 1, 2, 3, 0, 1, 2, 0, 1]], np.int32),
    },
    {'tokens': labels},
    {'tokens': np.ones((1, 9), np.float32)},
  )
  family = {'bert': bert.BERT, 'roberta': bert.ROBERTA}[kind]
  parity.assert_reads_apart(theirs, family, batch, map(read, texts))
