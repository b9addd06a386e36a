"""Files as they are on the hub, and as older versions wrote them, are read."""

import json

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import lm
from lm.interop import huggingface
from tests.interop.exchange_test import CLASSES, LABELLED, peer
from tests.models import (
  bert_parity_test,
  gpt_parity_test,
  parity,
  t5_parity_test,
)

pytestmark = pytest.mark.peers


def write(directory, arrays, config):
  directory.mkdir(exist_ok=True)
  plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
  save_file(plain, str(directory / 'model.safetensors'))
  (directory / 'config.json').write_text(json.dumps(config))


def read(directory):
  config = json.loads((directory / 'config.json').read_text())
  return load_file(directory / 'model.safetensors'), config


def assert_same_params(one, other):
  jax.tree.map(np.testing.assert_array_equal, one.params, other.params)


def gpt2_on_the_hub(arrays):
  """Without the prefix, and with the masks of the attention."""
  plain = {name.removeprefix('transformer.'): a for name, a in arrays.items()}
  mask = np.tril(np.ones((1, 1, 10, 10), np.float32))
  return plain | {f'h.{layer}.attn.bias': mask for layer in range(2)}


def bert_on_the_hub(arrays):
  """With the names of norms in TensorFlow, and the table twice."""

  def old(name):
    name = name.replace('LayerNorm.weight', 'LayerNorm.gamma')
    return name.replace('LayerNorm.bias', 'LayerNorm.beta')

  table = arrays['bert.embeddings.word_embeddings.weight']
  return {old(name): array for name, array in arrays.items()} | {
    'cls.predictions.decoder.weight': table,
    'cls.predictions.decoder.bias': arrays['cls.predictions.bias'],
    'bert.embeddings.position_ids': np.arange(12)[None],
  }


def roberta_on_the_hub(arrays):
  """With a pooler of the encoder, and copies of what is tied."""
  return arrays | {
    'roberta.pooler.dense.weight': np.ones((12, 12), np.float32),
    'roberta.pooler.dense.bias': np.ones(12, np.float32),
    'roberta.embeddings.position_ids': np.arange(12)[None],
    'lm_head.decoder.weight': arrays[
      'roberta.embeddings.word_embeddings.weight'
    ],
    'lm_head.decoder.bias': arrays['lm_head.bias'],
  }


def t5_on_the_hub(arrays):
  """With the table for every reader, and a bias of the source's distances."""
  cross = 'decoder.block.0.layer.1.EncDecAttention.relative_attention_bias'
  copies = ('encoder.embed_tokens', 'decoder.embed_tokens', 'lm_head')
  return (
    arrays
    | {f'{name}.weight': arrays['shared.weight'] for name in copies}
    | {f'{cross}.weight': np.ones((6, 3), np.float32)}
  )


HUB = {
  'GPT2LMHeadModel': gpt2_on_the_hub,
  'BertForPreTraining': bert_on_the_hub,
  'RobertaForMaskedLM': roberta_on_the_hub,
  'T5ForConditionalGeneration': t5_on_the_hub,
}


@pytest.mark.parametrize('name', HUB)
def test_the_files_of_the_hub_hold_the_same_model(name, tmp_path):
  peer(name).save_pretrained(tmp_path / 'plain')
  arrays, config = read(tmp_path / 'plain')
  changed = HUB[name](arrays)
  assert changed.keys() - arrays.keys()
  if name == 'BertForPreTraining':  # As bert-base-uncased says of itself.
    config['architectures'] = ['BertForMaskedLM']
  write(tmp_path / 'hub', changed, config)
  plain, hub = (lm.load(tmp_path / place) for place in ('plain', 'hub'))
  if name == 'RobertaForMaskedLM':  # Nobody reads it, but it is kept.
    assert (hub.params.pop('pooler')['kernel'] == 1).all()
    assert hub.model.clone(pooler=False) == plain.model
  else:
    assert hub.model == plain.model
  assert_same_params(hub, plain)


# What 4.57 writes of the sizes of `peer`, other than those of the labels.
DROPOUTS = {'attention_probs_dropout_prob': 0.1, 'hidden_dropout_prob': 0.1}
BERT = DROPOUTS | {
  'classifier_dropout': None,
  'dtype': 'float32',
  'hidden_act': 'gelu',
  'hidden_size': 12,
  'initializer_range': 0.02,
  'intermediate_size': 7,
  'layer_norm_eps': 1e-12,
  'max_position_embeddings': 12,
  'model_type': 'bert',
  'num_attention_heads': 3,
  'num_hidden_layers': 2,
  'pad_token_id': 1,
  'position_embedding_type': 'absolute',
  'type_vocab_size': 2,
  'use_cache': True,
  'vocab_size': 19,
}
SPECIAL = {'bos_token_id': 0, 'eos_token_id': 2}
OLD = {
  'GPT2': {
    'activation_function': 'gelu_new',
    'attn_pdrop': 0.1,
    'bos_token_id': 0,
    'dtype': 'float32',
    'embd_pdrop': 0.1,
    'eos_token_id': 2,
    'initializer_range': 0.02,
    'layer_norm_epsilon': 1e-05,
    'model_type': 'gpt2',
    'n_embd': 12,
    'n_head': 3,
    'n_inner': 7,
    'n_layer': 2,
    'n_positions': 10,
    'pad_token_id': 1,
    'reorder_and_upcast_attn': False,
    'resid_pdrop': 0.1,
    'scale_attn_by_inverse_layer_idx': False,
    'scale_attn_weights': True,
    'summary_activation': None,
    'summary_first_dropout': 0.1,
    'summary_proj_to_labels': True,
    'summary_type': 'cls_index',
    'summary_use_proj': True,
    'use_cache': True,
    'vocab_size': 19,
  },
  'Bert': BERT,
  'Roberta': BERT | SPECIAL | {'model_type': 'roberta', 'type_vocab_size': 1},
  'T5': {
    'classifier_dropout': 0.0,
    'd_ff': 7,
    'd_kv': 3,
    'd_model': 10,
    'dense_act_fn': 'relu',
    'dropout_rate': 0.1,
    'dtype': 'float32',
    'eos_token_id': 2,
    'feed_forward_proj': 'relu',
    'initializer_factor': 1.0,
    'is_encoder_decoder': True,
    'is_gated_act': False,
    'layer_norm_epsilon': 1e-06,
    'model_type': 't5',
    'num_decoder_layers': 1,
    'num_heads': 3,
    'num_layers': 2,
    'pad_token_id': 1,
    'relative_attention_max_distance': 7,
    'relative_attention_num_buckets': 6,
    'use_cache': True,
    'vocab_size': 19,
  },
}
OLD_T5_1_1 = OLD['T5'] | {
  'dense_act_fn': 'gelu_new',
  'feed_forward_proj': 'gated-gelu',
  'is_gated_act': True,
  'tie_word_embeddings': False,
}
VERSION_1_1 = {
  'feed_forward_proj': 'gated-gelu',
  'tie_word_embeddings': False,
}
CASES = [(name, False) for name in CLASSES]
CASES += [(name, True) for name in CLASSES if name.startswith('T5')]


@pytest.mark.parametrize('name, is_1_1', CASES)
def test_the_config_of_an_older_version_says_the_same(name, is_1_1, tmp_path):
  import torch

  theirs = peer(name, **VERSION_1_1 if is_1_1 else {})
  if is_1_1 and hasattr(theirs, 'lm_head'):  # Version 5 has tied it.
    head = torch.randn_like(theirs.shared.weight)
    theirs.lm_head.weight = torch.nn.Parameter(head)
  theirs.save_pretrained(tmp_path / 'new')
  arrays, _ = read(tmp_path / 'new')
  family = next(family for family in OLD if name.startswith(family))
  config = {'architectures': [name], 'transformers_version': '4.57.6'}
  config |= OLD_T5_1_1 if is_1_1 else OLD[family]
  if 'Sequence' in name or 'Token' in name:
    config |= LABELLED
  write(tmp_path / 'old', arrays, config)
  new, old = (lm.load(tmp_path / place) for place in ('new', 'old'))
  expected = new.model
  if is_1_1:  # Version 5 says of those without a head that it is tied.
    expected = expected.clone(tie_embeddings=False)
  assert old.model == expected
  assert_same_params(old, new)


ODD = {
  'gpt': lambda seed: gpt_parity_test.peer(seed)[0],
  'bert': lambda seed: bert_parity_test.random_peer('bert', seed),
  'roberta': lambda seed: bert_parity_test.random_peer('roberta', seed),
  't5': t5_parity_test.random_peer,
}


@pytest.mark.parametrize('seed', range(6))
@pytest.mark.parametrize('family', ODD)
def test_odd_sizes_come_back_from_files_bit_for_bit(family, seed, tmp_path):
  theirs = ODD[family](seed)
  theirs.save_pretrained(tmp_path / 'theirs')
  pretrained = lm.load(tmp_path / 'theirs')
  lm.save_huggingface(pretrained, tmp_path / 'ours')
  first, second = (read(tmp_path / place)[0] for place in ('theirs', 'ours'))
  assert first.keys() == second.keys()
  for name, array in first.items():
    np.testing.assert_array_equal(second[name], array, err_msg=name)
    assert second[name].dtype == array.dtype
  back = lm.load(tmp_path / 'ours')
  assert huggingface.settings_of(back.model) == huggingface.settings_of(
    pretrained.model
  )
  again = type(theirs).from_pretrained(tmp_path / 'ours')
  for name, array in parity.arrays_of(again).items():
    np.testing.assert_array_equal(array, parity.arrays_of(theirs)[name])
