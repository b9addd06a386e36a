"""BERT and RoBERTa as Hugging Face publishes them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from lm.interop import family
from lm.interop.arrays import Arrays
from lm.interop.family import Class, Family, Settings, key
from lm.interop.layouts import (
  LINEAR_OF_HEADS,
  TABLE,
  TOKEN_TABLE,
  TOKEN_VECTOR,
  linear,
  norm,
  row,
  span,
)

BLOCK = 'encoder/block'
LAYER = 'encoder.layer.{layer}'

BACKBONE = (
  row('embeddings.word_embeddings.weight', TOKEN_TABLE, 'token/embedding'),
  row('embeddings.position_embeddings.weight', TABLE, 'position/embedding'),
  row('embeddings.token_type_embeddings.weight', TABLE, 'token_type'),
  *norm('embeddings.LayerNorm', 'embedding_norm'),
  *linear(f'{LAYER}.attention.self.query', f'{BLOCK}/attention/query'),
  *linear(f'{LAYER}.attention.self.key', f'{BLOCK}/attention/key'),
  *linear(f'{LAYER}.attention.self.value', f'{BLOCK}/attention/value'),
  *linear(
    f'{LAYER}.attention.output.dense',
    f'{BLOCK}/attention/out',
    LINEAR_OF_HEADS,
  ),
  *norm(f'{LAYER}.attention.output.LayerNorm', f'{BLOCK}/attention_norm'),
  *linear(f'{LAYER}.intermediate.dense', f'{BLOCK}/mlp/up'),
  *linear(f'{LAYER}.output.dense', f'{BLOCK}/mlp/down'),
  *norm(f'{LAYER}.output.LayerNorm', f'{BLOCK}/mlp_norm'),
  *linear('pooler.dense', 'pooler'),
)


def _read(
  config: Mapping[str, Any], arrays: Arrays, settings: Settings
) -> Settings:
  del arrays
  head_dropout = config.get('classifier_dropout')
  if head_dropout is None:
    head_dropout = settings['residual_dropout']
  return {
    'head_dim': family.head_dim(settings, 'embed_dim', 'num_heads'),
    'head_dropout': head_dropout,
  }


def _write(settings: Settings, activation: str) -> dict[str, Any]:
  family.check_width('bert', settings)
  own = settings['transform_activation']
  if own not in (None, settings['activation']):
    raise family.inexpressible('bert', 'transform_activation', own, None)
  return _told(settings, activation)


def _told(settings: Settings, activation: str) -> dict[str, Any]:
  return {
    'hidden_act': activation,
    'classifier_dropout': settings['head_dropout'],
  }


BERT = Family(
  model_type='bert',
  name='bert',
  preset='base',
  classes={
    'BertModel': Class(),
    'BertForMaskedLM': Class(('tokens',), 'bert.'),
    'BertForPreTraining': Class(('tokens', 'next_sentence'), 'bert.'),
    'BertForNextSentencePrediction': Class(('next_sentence',), 'bert.'),
    'BertForSequenceClassification': Class(('label',), 'bert.'),
    'BertForTokenClassification': Class(('tags',), 'bert.'),
    'BertForQuestionAnswering': Class(('start', 'end'), 'bert.'),
  },
  backbone=lambda settings: BACKBONE,
  heads={
    ('tokens',): (
      *linear('cls.predictions.transform.dense', 'transform'),
      *norm('cls.predictions.transform.LayerNorm', 'transform_norm'),
      row('cls.predictions.bias', TOKEN_VECTOR, 'output_bias'),
    ),
    ('next_sentence',): linear('cls.seq_relationship', 'next_sentence'),
    ('label',): linear('classifier', 'label'),
    ('tags',): linear('classifier', 'tags'),
    ('start', 'end'): span('qa_outputs'),
  },
  copies={
    'cls.predictions.decoder.weight': 'embeddings.word_embeddings.weight',
    'cls.predictions.decoder.bias': 'cls.predictions.bias',
  },
  ignored=r'embeddings\.(position_ids|token_type_ids)',
  keys=(
    key('vocab_size', 30_522, 'vocab_size'),
    key('hidden_size', 768, 'embed_dim'),
    key('num_hidden_layers', 12, 'num_layers'),
    key('num_attention_heads', 12, 'num_heads'),
    key('intermediate_size', 3072, 'mlp_dim'),
    key('hidden_act', 'gelu', 'activation'),
    key('hidden_dropout_prob', 0.1, 'residual_dropout', 'embedding_dropout'),
    key('attention_probs_dropout_prob', 0.1, 'attention_dropout'),
    key('max_position_embeddings', 512, 'max_len'),
    key('type_vocab_size', 2, 'num_token_types'),
    key('initializer_range', 0.02, 'init_std'),
    key('layer_norm_eps', 1e-12, 'norm_eps'),
  ),
  fixed={
    'attention': 'bidirectional',
    'norm': 'layer',
    'norm_position': 'post',
    'gated_mlp': False,
    'use_bias': True,
    'scale_scores': True,
    'position': 'learned',
    'position_offset': 0,
    'drop_before_pooler': False,
  },
  required={
    'position_embedding_type': 'absolute',
    'is_decoder': False,
    'add_cross_attention': False,
  },
  read=_read,
  write=_write,
)


def _read_roberta(
  config: Mapping[str, Any], arrays: Arrays, settings: Settings
) -> Settings:
  # Positions start after the padding id.
  offset = config.get('pad_token_id', 1) + 1
  return _read(config, arrays, settings) | {
    'position_offset': offset,
    'max_len': settings['max_len'] - offset,
    'transform_activation': 'gelu',  # Whatever the layers use.
  }


def _write_roberta(settings: Settings, activation: str) -> dict[str, Any]:
  family.check_width('roberta', settings)
  own = settings['transform_activation'] or settings['activation']
  if own != 'gelu':
    raise family.inexpressible('roberta', 'transform_activation', own, 'gelu')
  offset = settings['position_offset']
  return _told(settings, activation) | {
    'max_position_embeddings': settings['max_len'] + offset,
    'pad_token_id': offset - 1,
  }


ROBERTA = dataclasses.replace(
  BERT,
  model_type='roberta',
  name='roberta',
  classes={
    'RobertaModel': Class(),
    'RobertaForMaskedLM': Class(('tokens',), 'roberta.'),
    'RobertaForSequenceClassification': Class(('label',), 'roberta.'),
    'RobertaForTokenClassification': Class(('tags',), 'roberta.'),
    'RobertaForQuestionAnswering': Class(('start', 'end'), 'roberta.'),
  },
  heads={
    ('tokens',): (
      *linear('lm_head.dense', 'transform'),
      *norm('lm_head.layer_norm', 'transform_norm'),
      row('lm_head.bias', TOKEN_VECTOR, 'output_bias'),
    ),
    ('label',): (
      *linear('classifier.dense', 'pooler'),
      *linear('classifier.out_proj', 'label'),
    ),
    ('tags',): linear('classifier', 'tags'),
    ('start', 'end'): span('qa_outputs'),
  },
  copies={
    'lm_head.decoder.weight': 'embeddings.word_embeddings.weight',
    'lm_head.decoder.bias': 'lm_head.bias',
  },
  # Older files have the encoder's pooler besides that of the classifier.
  ignored=rf'{BERT.ignored}|pooler\.dense\.(weight|bias)',
  keys=tuple(k for k in BERT.keys if k.theirs != 'type_vocab_size')
  + (key('type_vocab_size', 2, 'num_token_types'),),
  fixed={
    field: value
    for field, value in BERT.fixed.items()
    if field != 'position_offset'
  }
  | {'drop_before_pooler': True},
  read=_read_roberta,
  write=_write_roberta,
)
