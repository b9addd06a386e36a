"""The Transformer of 2017 is torch's layers, its waves and its one table."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lm import models
from lm.interop import parameters
from lm.types import Batch
from tests.models import parity, tiny

pytestmark = pytest.mark.peers

SOURCE_LENGTHS = np.array([[7], [4], [1]])
SHAPE, SOURCE_SHAPE = (3, 5), (3, 7)


def random_model(seed):
  """Returns a model that nobody published, and noisy parameters."""
  rng = np.random.default_rng(seed)
  heads = int(rng.choice([1, 2, 3, 8]))
  width = int(rng.choice([2, 4, 6]))
  model = models.build(
    'transformer',
    'base',
    vocab_size=int(rng.integers(11, 40)),
    max_len=20,
    num_layers=1 + seed % 3,
    num_decoder_layers=1 + (seed + 1 + seed // 3) % 3,
    num_heads=heads,
    head_dim=width,
    embed_dim=heads * width,
    mlp_dim=int(rng.integers(3, 40)),
    activation=('relu', 'gelu')[seed % 2],
    norm_eps=float(10 ** -rng.uniform(1, 8)),
    embedding_dropout=0.0,
    residual_dropout=0.0,
    unroll=1,
  )
  row = jnp.zeros((1, 2), jnp.int32)
  params = tiny.params_for(model, seed, source_tokens=row, tokens=row)
  # Attention that is sure of itself has gradients that are all rounding.
  return model, jax.tree.map(lambda leaf: leaf / 2, params)


def attention(leaves, layer, ours, theirs):
  """Yields torch's arrays of an attention, which hold three kernels in one."""
  import torch

  parts = ('query', 'key', 'value')
  width = leaves['token/embedding'].shape[1]

  def of(part, kind):
    return leaves[f'{ours}/{part}/{kind}'][layer]

  kernels = [of(part, 'kernel').reshape(width, width).T for part in parts]
  yield f'{theirs}.in_proj_weight', torch.cat(kernels)
  biases = [of(part, 'bias').reshape(width) for part in parts]
  yield f'{theirs}.in_proj_bias', torch.cat(biases)
  kernel = of('out', 'kernel').reshape(width, width)
  yield f'{theirs}.out_proj.weight', kernel.T
  yield f'{theirs}.out_proj.bias', of('out', 'bias')


def stack(leaves, name, num_layers):
  """Yields torch's names and arrays of the encoder or the decoder."""
  branches = {'attention': 'self_attn', 'cross': 'multihead_attn'}
  if name == 'encoder':
    del branches['cross']
  for layer in range(num_layers):
    block = f'{name}/block'
    for ours, theirs in branches.items():
      place = f'layers.{layer}.{theirs}'
      yield from attention(leaves, layer, f'{block}/{ours}', place)
    for i, ours in enumerate([*branches, 'mlp']):
      norm = f'layers.{layer}.norm{i + 1}'
      yield f'{norm}.weight', leaves[f'{block}/{ours}_norm/scale'][layer]
      yield f'{norm}.bias', leaves[f'{block}/{ours}_norm/bias'][layer]
    for ours, theirs in (('up', 'linear1'), ('down', 'linear2')):
      place = f'layers.{layer}.{theirs}'
      yield f'{place}.weight', leaves[f'{block}/mlp/{ours}/kernel'][layer].T
      yield f'{place}.bias', leaves[f'{block}/mlp/{ours}/bias'][layer]


def waves(length, width):
  """Returns the positions as the paper prints them (3.5)."""
  import torch

  rows = [[0.0] * width for _ in range(length)]
  for place in range(length):
    for i in range(width // 2):
      angle = place / 10_000 ** (2 * i / width)
      rows[place][2 * i] = math.sin(angle)
      rows[place][2 * i + 1] = math.cos(angle)
  return torch.tensor(rows)


def answer(model, leaves, source, source_valid, tokens):
  """Returns the logits that torch's layers give."""
  import torch

  cfg = model.config
  table = leaves['token/embedding']
  settings = {
    'd_model': cfg.embed_dim,
    'nhead': cfg.num_heads,
    'dim_feedforward': cfg.mlp_dim,
    'dropout': 0.0,
    'activation': cfg.activation,
    'layer_norm_eps': cfg.norm_eps,
    'batch_first': True,
  }

  def embed(ids):
    scaled = table[torch.tensor(ids)] * math.sqrt(cfg.embed_dim)
    return scaled + waves(ids.shape[1], cfg.embed_dim)

  def call(name, whole, *inputs, **masks):
    arrays = dict(stack(leaves, name, whole.num_layers))
    assert arrays.keys() == dict(whole.named_parameters()).keys()
    return torch.func.functional_call(whole, arrays, inputs, masks)

  encoder = torch.nn.TransformerEncoder(
    torch.nn.TransformerEncoderLayer(**settings),
    cfg.num_layers,
    enable_nested_tensor=False,
  )
  decoder = torch.nn.TransformerDecoder(
    torch.nn.TransformerDecoderLayer(**settings), model.num_decoder_layers
  )
  unseen = ~torch.tensor(source_valid)
  memory = call('encoder', encoder, embed(source), src_key_padding_mask=unseen)
  out = call(
    'decoder',
    decoder,
    embed(tokens),
    memory,
    tgt_mask=torch.ones(2 * tokens.shape[1:], dtype=torch.bool).triu(1),
    memory_key_padding_mask=unseen,
  )
  return out @ table.T


def torch_leaves(params):
  """Returns the parameters by our paths, each with a gradient to come."""
  import torch

  return {
    path: torch.tensor(np.asarray(leaf), requires_grad=True)
    for path, leaf in parameters.by_path(params).items()
  }


def summed_loss(logits, targets, asked):
  import torch

  losses = torch.nn.functional.cross_entropy(
    logits.flatten(0, 1), torch.tensor(targets.ravel()).long(), reduction='none'
  )
  return (losses * torch.tensor(asked.ravel())).sum()


def assert_same(model, params, batch, leaves, logits, loss):
  """Compares ours with what has been computed of `leaves`."""
  loss.backward()
  found, ours, grads = parity.loss_and_grads(
    model, parity.objective('tokens'), params, batch
  )
  np.testing.assert_allclose(ours, logits.detach().numpy(), atol=1e-4)
  np.testing.assert_allclose(found, loss.item(), rtol=1e-4)
  expected = {path: leaf.grad.numpy() for path, leaf in leaves.items()}
  parity.assert_same_gradients(grads, expected)


@pytest.mark.parametrize('seed', range(6))
def test_logits_loss_and_all_gradients_are_those_of_torch(seed):
  model, params = random_model(seed)
  rng = np.random.default_rng(seed)
  size = model.config.vocab_size
  source = rng.integers(0, size, SOURCE_SHAPE, np.int32)
  valid = np.arange(SOURCE_SHAPE[1]) < SOURCE_LENGTHS
  tokens, targets = rng.integers(0, size, (2, *SHAPE), np.int32)
  asked = (rng.random(SHAPE) < 0.7).astype(np.float32)
  leaves = torch_leaves(params)
  logits = answer(model, leaves, source, valid, tokens)
  batch = Batch(
    {'source_tokens': source, 'source_valid': valid, 'tokens': tokens},
    {'tokens': targets},
    {'tokens': asked},
  )
  loss = summed_loss(logits, targets, asked) / float(asked.sum())
  assert_same(model, params, batch, leaves, logits, loss)


@pytest.mark.parametrize('seed', [1, 3, 5])
def test_packed_rows_are_read_as_torch_reads_each_text(seed):
  import torch

  model, params = random_model(seed)
  rng = np.random.default_rng(seed)
  size = model.config.vocab_size
  source = rng.integers(0, size, (1, 7), np.int32)
  tokens, targets = rng.integers(0, size, (2, 1, 5), np.int32)
  leaves, parts = torch_leaves(params), []
  for read, written in (
    (slice(0, 3), slice(0, 2)),
    (slice(3, 7), slice(2, 5)),
  ):
    own = source[:, read]
    parts.append(
      answer(model, leaves, own, np.ones_like(own, bool), tokens[:, written])
    )
  logits = torch.cat(parts, 1)
  batch = Batch(
    {
      'source_tokens': source,
      'source_segment_ids': np.array([[1, 1, 1, 2, 2, 2, 2]], np.int32),
      'source_positions': np.array([[0, 1, 2, 0, 1, 2, 3]], np.int32),
      'tokens': tokens,
      'segment_ids': np.array([[1, 1, 2, 2, 2]], np.int32),
      'positions': np.array([[0, 1, 0, 1, 2]], np.int32),
    },
    {'tokens': targets},
    {'tokens': np.ones((1, 5), np.float32)},
  )
  loss = summed_loss(logits, targets, np.ones((1, 5), np.float32)) / 5
  assert_same(model, params, batch, leaves, logits, loss)


def test_the_cases_have_stacks_of_unequal_depth():
  depths = [random_model(seed)[0] for seed in range(6)]
  unequal = [m.config.num_layers != m.num_decoder_layers for m in depths]
  assert sum(unequal) >= 3
