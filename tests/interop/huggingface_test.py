"""Directories that cannot be read, and models that cannot be written."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import lm
from lm.data import tokenizers
from lm.pretrained import Pretrained
from lm.types import UserError
from tests.models import tiny

WIDTH = {'embed_dim': 8}


def save(directory, name='bert', preset='base', tokenizer=None, **changes):
  """Writes a small model with random parameters for transformers."""
  model = tiny.build(name, preset, **WIDTH | changes)
  inputs = {'tokens': tiny.tokens()}
  if model.form == 'encoder_decoder':
    inputs['source_tokens'] = tiny.tokens()
  params = tiny.params_for(model, **inputs)
  lm.save_huggingface(Pretrained(model, params, tokenizer, {}), directory)


@pytest.mark.parametrize(
  ('name', 'preset'),
  [
    ('gpt', 'gpt2'),
    ('bert', 'base'),
    ('roberta', 'base'),
    ('t5', 'small'),
    ('t5', 'v1.1-small'),
  ],
)
def test_every_family_is_read_as_it_was_written(name, preset, tmp_path):
  changes = {'head_dim': 8} if name == 't5' else {}
  save(tmp_path / 'one', name, preset, **changes)
  lm.save_huggingface(lm.load(tmp_path / 'one'), tmp_path / 'two')
  for file in ('config.json', 'model.safetensors'):
    first, second = (tmp_path / d / file for d in ('one', 'two'))
    assert first.read_bytes() == second.read_bytes()


def test_all_that_is_amiss_with_the_arrays_is_listed_at_once(tmp_path):
  save(tmp_path)
  path = tmp_path / 'model.safetensors'
  arrays = dict(load_file(path))
  block = 'bert.encoder.layer.1'
  del arrays[f'{block}.attention.self.query.weight']
  del arrays['bert.embeddings.LayerNorm.bias']
  arrays['bert.encoder.layer.2.output.dense.bias'] = np.zeros(8, np.float32)
  arrays[f'{block}.output.dense.bias'] = np.zeros(9, np.float32)
  save_file(arrays, str(path))
  with pytest.raises(UserError) as raised:
    lm.load(tmp_path)
  lines = str(raised.value).splitlines()
  assert str(tmp_path) in lines[0]
  assert sorted(line.strip() for line in lines[1:]) == [
    'left over: encoder.layer.2.output.dense.bias',
    'missing: embeddings.LayerNorm.bias',
    'missing: encoder.layer.1.attention.self.query.weight',
    'wrong shape: encoder.layer.1.output.dense.bias is (9,), not (8,)',
  ]


def test_a_head_that_is_said_to_be_tied_must_be(tmp_path):
  save(tmp_path)
  path = tmp_path / 'model.safetensors'
  arrays = dict(load_file(path))
  table = arrays['bert.embeddings.word_embeddings.weight']
  arrays['cls.predictions.decoder.weight'] = table + 1
  save_file(arrays, str(path))
  with pytest.raises(UserError, match='untied: cls'):
    lm.load(tmp_path)


@pytest.mark.parametrize('suffix', ['bin', 'pt'])
def test_pickles_are_not_opened_and_the_way_out_is_told(suffix, tmp_path):
  save(tmp_path)
  bomb = tmp_path / f'pytorch_model.{suffix}'
  (tmp_path / 'model.safetensors').rename(bomb)
  with pytest.raises(UserError) as raised:
    lm.load(tmp_path)
  assert bomb.name in str(raised.value)
  assert 'from_pretrained(DIR).save_pretrained(OUT)' in str(raised.value)


def test_a_file_that_is_cut_short_is_refused(tmp_path):
  save(tmp_path)
  path = tmp_path / 'model.safetensors'
  whole = path.read_bytes()
  for size in (0, 4, 100, len(whole) - 1):
    path.write_bytes(whole[:size])
    with pytest.raises(UserError, match='cannot be read'):
      lm.load(tmp_path)


def test_a_shard_that_is_missing_is_named(tmp_path):
  save(tmp_path)
  (tmp_path / 'model.safetensors').unlink()
  index = {'weight_map': {'a': 'model-1-of-2.safetensors'}}
  path = tmp_path / 'model.safetensors.index.json'
  path.write_text(json.dumps(index))
  with pytest.raises(UserError, match='lacks model-1-of-2'):
    lm.load(tmp_path)


@pytest.mark.parametrize(
  ('key', 'value', 'message'),
  [
    ('hidden_act', 'mish', "the activation 'mish'"),
    ('is_decoder', True, 'is_decoder: True'),
    ('position_embedding_type', 'relative_key', 'position_embedding_type'),
    ('num_attention_heads', 3, 'does not divide'),
  ],
)
def test_what_is_not_there_is_refused(key, value, message, tmp_path):
  save(tmp_path)
  path = tmp_path / 'config.json'
  path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
  with pytest.raises(UserError, match=message):
    lm.load(tmp_path)


@pytest.mark.parametrize(
  ('name', 'preset', 'embedding', 'head'),
  [
    ('gpt', 'gpt2', 'transformer.wte.weight', 'lm_head.weight'),
    (
      'bert',
      'base',
      'bert.embeddings.word_embeddings.weight',
      'cls.predictions.decoder.weight',
    ),
    (
      'roberta',
      'base',
      'roberta.embeddings.word_embeddings.weight',
      'lm_head.decoder.weight',
    ),
  ],
)
def test_a_table_of_its_own_for_scores_is_refused_with_the_key_and_the_reason(
  name, preset, embedding, head, tmp_path
):
  save(tmp_path, name, preset)
  path, config = tmp_path / 'model.safetensors', tmp_path / 'config.json'
  arrays = load_file(str(path))
  told = json.loads(config.read_text()) | {'tie_word_embeddings': False}
  config.write_text(json.dumps(told))
  save_file(arrays | {head: arrays[embedding].copy()}, str(path))
  lm.load(tmp_path)  # Nothing is lost.
  save_file(arrays | {head: arrays[embedding] + 1}, str(path))
  with pytest.raises(
    UserError, match=r'tie_word_embeddings: false.* scores tokens by the table'
  ):
    lm.load(tmp_path)


@pytest.mark.parametrize(
  ('name', 'preset', 'changes', 'message'),
  [
    ('gpt', 'gpt2', {'norm_position': 'post'}, 'norm_position'),
    ('gpt', 'gpt2', {'position': 'rotary'}, 'position'),
    ('gpt', 'gpt2', {'embed_dim': 6}, 'head_dim'),
    ('bert', 'base', {'attention': 'causal'}, 'attention'),
    ('bert', 'base', {'heads': ('tokens', 'label')}, 'the heads'),
    ('transformer', 'base', {}, 'config.model.norm'),
    ('electra', 'small', {}, 'no ELECTRA'),
  ],
)
def test_what_hugging_face_has_not_is_not_written(
  name, preset, changes, message, tmp_path
):
  with pytest.raises(UserError, match=message):
    save(tmp_path / 'out', name, preset, **changes)
  assert not (tmp_path / 'out').exists()


@pytest.mark.peers
@pytest.mark.parametrize(
  ('name', 'preset', 'vocabulary'),
  [
    ('gpt', 'gpt2', 'tok_gpt2'),
    ('bert', 'base', 'tok_bert_base_uncased'),
    ('bert', 'base', 'tok_bert_chinese'),
    ('roberta', 'base', 'tok_roberta'),
    ('t5', 'small', 'tok_t5_base'),
  ],
)
def test_the_tokenizer_beside_a_model_gives_transformers_the_same_ids(
  name, preset, vocabulary, shared, tmp_path
):
  import transformers

  tokenizer = tokenizers.load(shared / 'data' / vocabulary)
  save(tmp_path, name, preset, tokenizer, vocab_size=tokenizer.vocab_size)
  theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
  for text in ("It's a long paragraph, isn't it?", '你好，世界！ Hello', ''):
    ids = tokenizer.encode(text, special_tokens=True)
    assert theirs(text)['input_ids'] == ids.tolist()
  for role in ('bos', 'eos', 'pad', 'unk', 'mask', 'cls', 'sep'):
    known = getattr(theirs, f'{role}_token_id')
    assert known == getattr(tokenizer, f'{role}_id')
  config = transformers.AutoConfig.from_pretrained(tmp_path)
  assert config.pad_token_id == tokenizer.pad_id
  assert lm.load(tmp_path).tokenizer.fingerprint() == tokenizer.fingerprint()
