"""The same weights in transformers' T5 are the same function."""

import numpy as np
import pytest

from lm.interop import t5
from lm.types import Batch
from tests.models import parity

pytestmark = pytest.mark.peers

SOURCE_LENGTHS = np.array([[7], [11], [2]])
SHAPE, SOURCE_SHAPE = (3, 9), (3, 11)

# What the decoder's layers are, whether the head is untied: 1.0 and 1.1 first.
KINDS = (
  ('relu', False),
  ('gated-gelu', True),
  ('gelu_new', False),
  ('gated-silu', True),
  ('gated-gelu', False),
  ('gelu', True),
)


def random_peer(seed):
  """Returns a T5 that nobody published."""
  import torch
  import transformers

  rng = np.random.default_rng(seed)
  projection, untied = KINDS[seed]
  config = transformers.T5Config(
    vocab_size=int(rng.integers(11, 40)),
    d_model=int(rng.integers(5, 30)),
    d_kv=int(rng.integers(3, 9)),
    d_ff=int(rng.integers(5, 40)),
    num_layers=1 + seed % 3,
    num_decoder_layers=1 + (seed + 1 + seed // 3) % 3,
    num_heads=int(rng.choice([1, 2, 3, 8])),
    relative_attention_num_buckets=int(rng.choice([4, 6, 8, 32])),
    relative_attention_max_distance=int(rng.choice([6, 20, 128])),
    feed_forward_proj=projection,
    layer_norm_epsilon=float(10 ** -rng.uniform(1, 8)),
    tie_word_embeddings=not untied,
  )
  theirs = transformers.T5ForConditionalGeneration(config)
  if untied:  # transformers 5 ties it whatever the config says.
    table = torch.randn_like(theirs.shared.weight)
    theirs.lm_head.weight = torch.nn.Parameter(table)
  return parity.perturbed(theirs)


@pytest.mark.parametrize('seed', range(6))
def test_logits_loss_and_all_gradients_are_those_of_transformers(seed):
  theirs = random_peer(seed)
  rng = np.random.default_rng(seed)
  size = theirs.config.vocab_size
  source = rng.integers(0, size, SOURCE_SHAPE, np.int32)
  valid = np.arange(SOURCE_SHAPE[1]) < SOURCE_LENGTHS
  tokens, targets = rng.integers(0, size, (2, *SHAPE), np.int32)
  asked = rng.random(SHAPE) < 0.7
  output = theirs(
    **parity.as_torch(
      {
        'input_ids': source,
        'attention_mask': valid,
        'decoder_input_ids': tokens,
        'labels': np.where(asked, targets, -100),
      }
    )
  )
  output.loss.backward()

  batch = Batch(
    {'source_tokens': source, 'source_valid': valid, 'tokens': tokens},
    {'tokens': targets},
    {'tokens': asked.astype(np.float32)},
  )

  model, params = parity.ours_of(theirs)
  loss, logits, grads = parity.loss_and_grads(
    model, parity.objective('tokens'), params, batch
  )
  np.testing.assert_allclose(logits, output.logits.detach().numpy(), atol=1e-4)
  np.testing.assert_allclose(loss, output.loss.item(), rtol=1e-4)
  parity.assert_same_gradients(
    grads, parity.gradients_of(theirs, model, t5.FAMILY)
  )


def test_the_cases_have_stacks_of_unequal_depth():
  depths = [random_peer(seed).config for seed in range(6)]
  unequal = [c.num_layers != c.num_decoder_layers for c in depths]
  assert sum(unequal) >= 3


@pytest.mark.parametrize('seed', [1, 2, 3])
def test_packed_rows_are_read_as_transformers_reads_each_text(seed):
  theirs = random_peer(seed)
  size, rng = theirs.config.vocab_size, np.random.default_rng(seed)
  source = rng.integers(0, size, (1, 11), np.int32)
  tokens, targets = rng.integers(0, size, (2, 1, 8), np.int32)

  def read(of_source, text):
    given = {
      'input_ids': source[:, of_source],
      'decoder_input_ids': tokens[:, text],
    }
    return theirs(**parity.as_torch(given)).logits

  batch = Batch(
    {
      'source_tokens': source,
      'source_segment_ids': np.array([[1] * 5 + [2] * 6], np.int32),
      'source_positions': np.array([[*range(5), *range(6)]], np.int32),
      'tokens': tokens,
      'segment_ids': np.array([[1] * 3 + [2] * 5], np.int32),
      'positions': np.array([[*range(3), *range(5)]], np.int32),
    },
    {'tokens': targets},
    {'tokens': np.ones((1, 8), np.float32)},
  )
  parts = [
    read(slice(0, 5), slice(0, 3)),
    read(slice(5, 11), slice(3, 8)),
  ]
  parity.assert_reads_apart(theirs, t5.FAMILY, batch, parts)
