"""T5, versions 1.0 and 1.1, as Hugging Face publishes it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lm.interop.arrays import Arrays
from lm.interop.family import Class, Family, Settings, inexpressible, key
from lm.interop.layouts import (
  LINEAR,
  LINEAR_OF_HEADS,
  TABLE,
  TOKEN_TABLE,
  VECTOR,
  Row,
  linear,
  row,
  span,
)


def _attention(theirs: str, ours: str) -> tuple[Row, ...]:
  return (
    row(f'{theirs}.q.weight', LINEAR, f'{ours}/query/kernel'),
    row(f'{theirs}.k.weight', LINEAR, f'{ours}/key/kernel'),
    row(f'{theirs}.v.weight', LINEAR, f'{ours}/value/kernel'),
    row(f'{theirs}.o.weight', LINEAR_OF_HEADS, f'{ours}/out/kernel'),
  )


def _mlp(theirs: str, ours: str, gated: bool) -> tuple[Row, ...]:
  theirs = f'{theirs}.DenseReluDense'
  ups = {'up': 'wi_1', 'gate': 'wi_0'} if gated else {'up': 'wi'}
  return (
    *(
      row(f'{theirs}.{name}.weight', LINEAR, f'{ours}/{part}/kernel')
      for part, name in ups.items()
    ),
    row(f'{theirs}.wo.weight', LINEAR, f'{ours}/down/kernel'),
  )


def _stack(name: str, branches: tuple[str, ...], gated: bool):
  """Returns the rows of the encoder or the decoder."""
  rows = [
    row(f'{name}.final_layer_norm.weight', VECTOR, f'{name}/final_norm/scale'),
    row(
      f'{name}.block.0.layer.0.SelfAttention.relative_attention_bias.weight',
      TABLE,
      f'{name}/relative_bias',
    ),
  ]
  theirs = {'attention': 'SelfAttention', 'cross': 'EncDecAttention'}
  for index, branch in enumerate(branches):
    layer = f'{name}.block.{{layer}}.layer.{index}'
    ours = f'{name}/block/{branch}'
    rows.append(row(f'{layer}.layer_norm.weight', VECTOR, f'{ours}_norm/scale'))
    if branch == 'mlp':
      rows += _mlp(layer, ours, gated)
    else:
      rows += _attention(f'{layer}.{theirs[branch]}', ours)
  return rows


def _backbone(settings: Settings) -> tuple[Row, ...]:
  gated = settings['gated_mlp']
  return (
    row('shared.weight', TOKEN_TABLE, 'token/embedding'),
    *_stack('encoder', ('attention', 'mlp'), gated),
    *_stack('decoder', ('attention', 'cross', 'mlp'), gated),
  )


def _read(
  config: Mapping[str, Any], arrays: Arrays, settings: Settings
) -> Settings:
  gated, _, name = config.get('feed_forward_proj', 'relu').rpartition('-')
  activation = 'gelu_new' if gated and name == 'gelu' else name
  # Version 5 of transformers declares all tables tied, but a head that has a
  # different array of its own is not.
  tied = config.get('tie_word_embeddings', True)
  if tied and {'lm_head.weight', 'shared.weight'} <= arrays.keys():
    tied = np.array_equal(arrays['lm_head.weight'], arrays['shared.weight'])
  layers = config.get('num_decoder_layers')
  return {
    'activation': activation,
    'gated_mlp': bool(gated),
    'num_decoder_layers': layers or settings['num_layers'],
    'tie_embeddings': tied,
    'scale_logits': config.get(
      'scale_decoder_outputs', config.get('tie_word_embeddings', True)
    ),
  }


def _write(settings: Settings, activation: str) -> dict[str, Any]:
  if settings['gated_mlp']:
    if activation == 'gelu':  # A gated one is the tanh approximation there.
      raise inexpressible('t5', 'activation', 'gelu', 'gelu_tanh')
    activation = f'gated-{activation.removesuffix("_new")}'
  return {
    'feed_forward_proj': activation,
    'num_decoder_layers': settings['num_decoder_layers']
    or settings['num_layers'],
    'tie_word_embeddings': settings['tie_embeddings'],
    'scale_decoder_outputs': settings['scale_logits'],
    'is_encoder_decoder': True,
  }


FAMILY = Family(
  model_type='t5',
  name='t5',
  preset='small',
  classes={
    'T5EncoderModel': Class(lacks='decoder'),
    'T5Model': Class(),
    'T5ForConditionalGeneration': Class(('tokens',)),
    'T5ForSequenceClassification': Class(('label',), 'transformer.'),
    'T5ForTokenClassification': Class(('tags',), 'transformer.', 'decoder'),
    'T5ForQuestionAnswering': Class(('start', 'end')),
  },
  backbone=_backbone,
  heads={
    ('tokens',): (row('lm_head.weight', TOKEN_TABLE, 'output/embedding'),),
    ('label',): (
      *linear('classification_head.dense', 'pooler'),
      *linear('classification_head.out_proj', 'label'),
    ),
    ('tags',): linear('classifier', 'tags'),
    ('start', 'end'): span('qa_outputs'),
  },
  copies={
    'lm_head.weight': 'shared.weight',
    'encoder.embed_tokens.weight': 'shared.weight',
    'decoder.embed_tokens.weight': 'shared.weight',
  },
  # Present in the first files, but not used.
  ignored=r'decoder\.block\.0\.layer\.1\.EncDecAttention\.relative.*',
  keys=(
    key('vocab_size', 32_128, 'vocab_size'),
    key('d_model', 512, 'embed_dim'),
    key('d_kv', 64, 'head_dim'),
    key('d_ff', 2048, 'mlp_dim'),
    key('num_layers', 6, 'num_layers'),
    key('num_heads', 8, 'num_heads'),
    key('relative_attention_num_buckets', 32, 'relative_buckets'),
    key('relative_attention_max_distance', 128, 'relative_max_distance'),
    key(
      'dropout_rate',
      0.1,
      'residual_dropout',
      'embedding_dropout',
      'attention_dropout',
      'mlp_dropout',
    ),
    key('classifier_dropout', 0.0, 'head_dropout'),
    key('layer_norm_epsilon', 1e-6, 'norm_eps'),
    key('n_positions', 512, 'max_len'),
  ),
  fixed={
    'attention': 'bidirectional',
    'norm': 'rms',
    'norm_position': 'pre',
    'use_bias': False,
    'scale_scores': False,
    'position': 'relative',
    'scale_embeddings': False,
  },
  required={'is_decoder': False},
  read=_read,
  write=_write,
  tied=True,
  defaults={'pad_token_id': 0, 'decoder_start_token_id': 0},
)
