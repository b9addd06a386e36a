"""A GPT in numpy's float64, a row, a head and a query at a time."""

import functools
import math

import numpy as np


def logits(model, params, tokens, positions, segment_ids):
  """Returns what `model` must answer, for one row: [L, V]."""
  cfg = model.config
  params = tree_to_float64(params)
  x = params['token']['embedding'][tokens]
  if model.scale_embeddings:
    x = x * math.sqrt(cfg.embed_dim)
  if cfg.position == 'learned':
    x = x + params['position']['embedding'][positions]
  if cfg.position == 'sinusoidal':
    x = x + np.array([wave(place, cfg.embed_dim) for place in positions])
  for layer in range(cfg.num_layers):
    block = layer_of(params['decoder']['block'], layer)
    band = model.local_window if layer % 2 else None

    attend = functools.partial(
      attention, cfg, block['attention'], positions, segment_ids, band
    )
    x = residual(cfg, block['attention_norm'], x, attend)
    transform = functools.partial(mlp, cfg, block['mlp'])
    x = residual(cfg, block['mlp_norm'], x, transform)
  if cfg.norm_position == 'pre':
    x = normalize(cfg, params['decoder']['final_norm'], x)
  return x @ params['token']['embedding'].T


def tree_to_float64(tree):
  if isinstance(tree, dict):
    return {name: tree_to_float64(leaf) for name, leaf in tree.items()}
  return np.asarray(tree, np.float64)


def layer_of(tree, layer):
  if isinstance(tree, dict):
    return {name: layer_of(leaf, layer) for name, leaf in tree.items()}
  return tree[layer]


def wave(place, embed_dim):
  angles = [
    place / 10_000 ** (i // 2 * 2 / embed_dim) for i in range(embed_dim)
  ]
  return [(math.cos if i % 2 else math.sin)(a) for i, a in enumerate(angles)]


def normalize(cfg, params, x):
  centred = x - x.mean(axis=-1, keepdims=True)
  variance = (centred**2).mean(axis=-1, keepdims=True)
  unit = centred / np.sqrt(variance + cfg.norm_eps)
  return unit * params['scale'] + params.get('bias', 0.0)


def residual(cfg, norm, x, branch):
  if cfg.norm_position == 'pre':
    return x + branch(normalize(cfg, norm, x))
  return normalize(cfg, norm, x + branch(x))


def attention(cfg, params, positions, segment_ids, band, x):
  total = np.zeros_like(x) + params['out'].get('bias', 0.0)
  for head in range(cfg.num_heads):
    query, key, value = (
      x @ params[name]['kernel'][:, head]
      + (params[name]['bias'][head] if cfg.use_bias else 0.0)
      for name in ('query', 'key', 'value')
    )
    if cfg.position == 'rotary':
      query, key = turned(query, positions), turned(key, positions)
    for q in range(len(x)):
      seen = [
        k
        for k in range(q + 1)
        if segment_ids[k] == segment_ids[q] and (band is None or q - k < band)
      ]
      scores = np.array([query[q] @ key[k] for k in seen])
      weights = np.exp(scores / math.sqrt(cfg.head_dim))
      read = weights / weights.sum() @ value[seen]
      total[q] += read @ params['out']['kernel'][head]
  return total


def turned(x, positions):
  half = x.shape[-1] // 2
  rates = 10_000.0 ** (-np.arange(half) / half)
  pairs = x[:, :half] + 1j * x[:, half:]
  pairs = pairs * np.exp(1j * np.asarray(positions)[:, None] * rates)
  return np.concatenate([pairs.real, pairs.imag], axis=-1)


def mlp(cfg, params, x):
  hidden = x @ params['up']['kernel'] + params['up'].get('bias', 0.0)
  hidden = np.vectorize(ACTIVATIONS[cfg.activation])(hidden)
  return hidden @ params['down']['kernel'] + params['down'].get('bias', 0.0)


def gelu_tanh(x):
  return x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


ACTIVATIONS = {
  'gelu': lambda x: x / 2 * (1 + math.erf(x / math.sqrt(2))),
  'gelu_tanh': gelu_tanh,
  'relu': lambda x: max(x, 0.0),
}
