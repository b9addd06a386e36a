"""The same weights in transformers' GPT give the same logits and gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lm import models
from lm.types import path_of
from tests.models import tiny

ACTIVATIONS = {'gelu_new': 'gelu_tanh', 'gelu': 'gelu', 'relu': 'relu'}

# The peer's names in a layer, and ours; attention is cut into heads below.
LAYER = {
  'ln_1': 'attention_norm',
  'attn.c_attn': 'attention',
  'attn.c_proj': 'attention/out',
  'ln_2': 'mlp_norm',
  'mlp.c_fc': 'mlp/up',
  'mlp.c_proj': 'mlp/down',
}


def as_ours(theirs, config):
  """Returns our paths for the peer's arrays; gradients go the same way."""
  short = {name.removeprefix('transformer.'): theirs[name] for name in theirs}
  heads, head_dim = config.n_head, config.n_embd // config.n_head
  ours = {
    'token/embedding': short.get(
      'wte.weight', short.get('tokens_embed.weight')
    ),
    'position': short.get('wpe.weight', short.get('positions_embed.weight')),
  }
  if 'ln_f.weight' in short:
    ours['decoder/final_norm/scale'] = short['ln_f.weight']
    ours['decoder/final_norm/bias'] = short['ln_f.bias']
  for name, path in LAYER.items():
    kernel, bias = (
      np.stack([short[f'h.{i}.{name}.{kind}'] for i in range(config.n_layer)])
      for kind in ('weight', 'bias')
    )
    path = f'decoder/block/{path}'
    if path.endswith('norm'):
      ours |= {f'{path}/scale': kernel, f'{path}/bias': bias}
    elif path.endswith('attention'):
      for part, *pair in zip(
        ('query', 'key', 'value'),
        np.split(kernel, 3, axis=-1),
        np.split(bias, 3, axis=-1),
      ):
        kernel, bias = (x.reshape(*x.shape[:-1], heads, head_dim) for x in pair)
        ours |= {f'{path}/{part}/kernel': kernel, f'{path}/{part}/bias': bias}
    else:
      if path.endswith('out'):
        kernel = kernel.reshape(-1, heads, head_dim, config.n_embd)
      ours |= {f'{path}/kernel': kernel, f'{path}/bias': bias}
  return ours


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
  """Returns the peer, its config, and our model of the same sizes."""
  import torch
  import transformers

  torch.manual_seed(0)
  if case == 'gpt1':
    config = transformers.OpenAIGPTConfig(**SMALL)
    model, own = transformers.OpenAIGPTLMHeadModel(config), {'preset': 'gpt1'}
  else:
    settings = SMALL if case == 'gpt2' else random_settings(case)
    config = transformers.GPT2Config(**settings, bos_token_id=0, eos_token_id=0)
    model = transformers.GPT2LMHeadModel(config)
    own = {
      'preset': 'gpt2',
      'activation': ACTIVATIONS[config.activation_function],
    }
  own |= {
    'vocab_size': config.vocab_size,
    'max_len': config.n_positions,
    'num_layers': config.n_layer,
    'num_heads': config.n_head,
    'head_dim': config.n_embd // config.n_head,
    'embed_dim': config.n_embd,
    'mlp_dim': getattr(config, 'n_inner', None) or 4 * config.n_embd,
    'norm_eps': config.layer_norm_epsilon,
  }
  with torch.no_grad():
    for param in model.parameters():  # So that no bias is 0 and no scale is 1.
      param += 0.2 * torch.randn_like(param)
  return model.eval(), config, models.build('gpt', unroll=1, **own)


@pytest.mark.peers
@pytest.mark.parametrize('case', ['gpt2', 'gpt1', *range(6)])
def test_logits_loss_and_all_gradients_are_those_of_transformers(case):
  import torch

  theirs, config, model = peer(case)
  rng = np.random.default_rng(1)
  shape = (3, config.n_positions)
  tokens = rng.integers(0, config.vocab_size, shape, np.int32)
  asked = rng.random(shape) < 0.7

  labels = torch.tensor(np.where(asked, tokens, -100), dtype=torch.long)
  output = theirs(torch.tensor(tokens, dtype=torch.long), labels=labels)
  output.loss.backward()
  expected = {
    name: param.grad.numpy() for name, param in theirs.named_parameters()
  }
  expected = as_ours(expected, config)
  weights = {n: p.detach().numpy() for n, p in theirs.named_parameters()}
  params = nested(as_ours(weights, config))

  objective = tiny.causal_lm()
  batch = objective.prepare(
    {'tokens': tokens, 'valid': asked, 'bytes': np.ones_like(tokens)},
    np.arange(3),
    0,
  )
  batch = jax.tree.map(jnp.asarray, batch)

  def mean_loss(params):
    answers = model.apply({'params': params}, **batch.inputs, method='answer')
    terms, _ = objective.loss(answers, batch.targets, batch.weights)
    loss = terms['tokens'] / batch.weights['tokens'].sum()
    return loss, answers['tokens'].logits()

  grad_fn = tiny.quick_jit(jax.value_and_grad(mean_loss, has_aux=True))
  (loss, logits), grads = grad_fn(params)
  seen = output.logits[:, :-1].detach().numpy()
  np.testing.assert_allclose(logits, seen, atol=1e-4)
  np.testing.assert_allclose(loss, output.loss.item(), rtol=1e-4)

  grads = {
    path_of(path): leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(grads)
  }
  assert set(grads) == set(expected)
  largest = max(np.abs(leaf).max() for leaf in expected.values())
  for path, leaf in expected.items():
    scale = np.abs(leaf).max()
    if path.endswith('key/bias'):
      # It adds the same to every score of a query, so what is left of its
      # gradient in either is rounding.
      assert scale < 1e-5 * largest
      scale = largest
    np.testing.assert_allclose(
      grads[path], leaf, rtol=0, atol=1e-4 * scale, err_msg=path
    )


def nested(flat):
  """The tree of `flat`, whose keys are paths."""
  tree = {}
  for path, leaf in flat.items():
    *parents, name = path.split('/')
    functools.reduce(lambda node, key: node.setdefault(key, {}), parents, tree)[
      name
    ] = jnp.asarray(leaf)
  return tree
