"""GPT-2 as Hugging Face publishes it."""

from collections.abc import Mapping
from typing import Any

from lm.interop import family
from lm.interop.arrays import Arrays
from lm.interop.family import Class, Family, Settings, key
from lm.interop.layouts import (
  KERNEL,
  KERNEL_OF_HEADS,
  LINEAR,
  TABLE,
  TOKEN_TABLE,
  VECTOR,
  linear,
  norm,
  row,
  span,
)

BLOCK = 'decoder/block'
THREE = [f'{BLOCK}/attention/{part}' for part in ('query', 'key', 'value')]

BACKBONE = (
  row('wte.weight', TOKEN_TABLE, 'token/embedding'),
  row('wpe.weight', TABLE, 'position/embedding'),
  *norm('h.{layer}.ln_1', f'{BLOCK}/attention_norm'),
  row('h.{layer}.attn.c_attn.weight', KERNEL, *[f'{p}/kernel' for p in THREE]),
  row('h.{layer}.attn.c_attn.bias', VECTOR, *[f'{p}/bias' for p in THREE]),
  *linear('h.{layer}.attn.c_proj', f'{BLOCK}/attention/out', KERNEL_OF_HEADS),
  *norm('h.{layer}.ln_2', f'{BLOCK}/mlp_norm'),
  *linear('h.{layer}.mlp.c_fc', f'{BLOCK}/mlp/up', KERNEL),
  *linear('h.{layer}.mlp.c_proj', f'{BLOCK}/mlp/down', KERNEL),
  *norm('ln_f', 'decoder/final_norm'),
)


def _read(
  config: Mapping[str, Any], arrays: Arrays, settings: Settings
) -> Settings:
  del arrays
  return {
    'head_dim': family.head_dim(settings, 'embed_dim', 'num_heads'),
    'mlp_dim': config.get('n_inner') or 4 * settings['embed_dim'],
  }


def _write(settings: Settings, activation: str) -> dict[str, Any]:
  family.check_width('gpt2', settings)
  return {
    'n_inner': settings['mlp_dim'],
    'activation_function': activation,
  }


FAMILY = Family(
  model_type='gpt2',
  name='gpt',
  preset='gpt2',
  classes={
    'GPT2Model': Class(),
    'GPT2LMHeadModel': Class(('tokens',), 'transformer.'),
    'GPT2ForSequenceClassification': Class(('label',), 'transformer.'),
    'GPT2ForTokenClassification': Class(('tags',), 'transformer.'),
    'GPT2ForQuestionAnswering': Class(('start', 'end'), 'transformer.'),
  },
  backbone=lambda settings: BACKBONE,
  heads={
    ('tokens',): (),
    ('label',): (row('score.weight', LINEAR, 'label/kernel'),),
    ('tags',): linear('classifier', 'tags'),
    ('start', 'end'): span('qa_outputs'),
  },
  copies={'lm_head.weight': 'wte.weight'},
  ignored=r'h\.\d+\.attn\.(bias|masked_bias)',
  keys=(
    key('vocab_size', 50_257, 'vocab_size'),
    key('n_positions', 1024, 'max_len'),
    key('n_embd', 768, 'embed_dim'),
    key('n_layer', 12, 'num_layers'),
    key('n_head', 12, 'num_heads'),
    key('activation_function', 'gelu_new', 'activation'),
    key('resid_pdrop', 0.1, 'residual_dropout'),
    key('embd_pdrop', 0.1, 'embedding_dropout'),
    key('attn_pdrop', 0.1, 'attention_dropout'),
    key('classifier_dropout', 0.1, 'head_dropout'),
    key('layer_norm_epsilon', 1e-5, 'norm_eps'),
    key('initializer_range', 0.02, 'init_std'),
    key('scale_attn_weights', True, 'scale_scores'),
  ),
  fixed={
    'attention': 'causal',
    'norm': 'layer',
    'norm_position': 'pre',
    'gated_mlp': False,
    'use_bias': True,
    'position': 'learned',
    'scale_embeddings': False,
    'local_window': None,
  },
  required={
    'scale_attn_by_inverse_layer_idx': False,
    'add_cross_attention': False,
  },
  read=_read,
  write=_write,
  tied=True,
  defaults={'bos_token_id': None, 'eos_token_id': None},
)
