"""Google's names, as dumps of its checkpoints have them."""

import json
import re

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

import lm
from lm.types import UserError
from tests.interop.exchange_test import PAIR, SPAN, inputs_of, peer
from tests.models import parity, tiny

# How transformers renamed Google's variables, undone.
RENAMED = (
  (r'\.', '/'),
  (r'encoder/layer/(\d+)', r'encoder/layer_\1'),
  (r'(embeddings)/weight$', r'\1'),
  (r'LayerNorm/weight$', 'LayerNorm/gamma'),
  (r'LayerNorm/bias$', 'LayerNorm/beta'),
  (r'^cls/predictions/bias$', 'cls/predictions/output_bias'),
  (r'^(cls/seq_relationship)/weight$', r'\1/output_weights'),
  (r'^(cls/seq_relationship)/bias$', r'\1/output_bias'),
  (r'^qa_outputs/weight$', 'cls/squad/output_weights'),
  (r'^qa_outputs/bias$', 'cls/squad/output_bias'),
  (r'^classifier/weight$', 'output_weights'),
  (r'^classifier/bias$', 'output_bias'),
)


def variables(theirs):
  """Returns the numbers of a model under Google's names, kernels turned."""
  found = {'global_step': np.int64(7)}
  for name, array in parity.arrays_of(theirs).items():
    for old, new in RENAMED:
      name = re.sub(old, new, name)
    if name.endswith('/weight'):
      name, array = name.replace('/weight', '/kernel'), array.T
    found[name] = array
    found[f'{name}/adam_m'] = found[f'{name}/adam_v'] = np.zeros_like(array)
  return found


def write(directory, theirs, arrays):
  config = {
    key: getattr(theirs.config, key)
    for key in (
      'vocab_size',
      'hidden_size',
      'num_hidden_layers',
      'num_attention_heads',
      'intermediate_size',
      'max_position_embeddings',
      'type_vocab_size',
      'hidden_act',
    )
  }
  (directory / 'bert_config.json').write_text(json.dumps(config))
  np.savez(directory / 'variables.npz', **arrays)


@pytest.mark.peers
@pytest.mark.parametrize(
  ('name', 'terms'),
  [
    ('BertForPreTraining', PAIR),
    ('BertForSequenceClassification', {'label': 'logits'}),
    ('BertForQuestionAnswering', SPAN),
  ],
)
def test_a_dump_answers_as_transformers_does(name, terms, tmp_path):
  theirs = peer(name)
  write(tmp_path, theirs, variables(theirs))
  pretrained = lm.load(tmp_path)
  ours, given = inputs_of(name)
  answers = tiny.apply(pretrained.model, pretrained.params, **ours)
  output = theirs(**parity.as_torch(given))
  for term, attribute in terms.items():
    answer = answers[term] if len(terms) > 1 else answers
    expected = output[attribute].detach().numpy()
    if answer.shape[:2] == given['input_ids'].shape:
      answer, expected = answer[ours['valid']], expected[ours['valid']]
    np.testing.assert_allclose(answer, expected, atol=1e-4, err_msg=term)


@pytest.mark.peers
def test_a_dump_to_safetensors_is_the_same_model(tmp_path):
  theirs = peer('BertForPreTraining')
  arrays = variables(theirs)
  places = tmp_path / 'npz', tmp_path / 'safetensors'
  for place in places:
    place.mkdir()
    write(place, theirs, arrays)
  (places[1] / 'variables.npz').unlink()
  plain = {name: np.ascontiguousarray(arrays[name]) for name in arrays}
  save_file(plain, str(places[1] / 'variables.safetensors'))
  first, second = map(lm.load, places)
  assert first.model == second.model
  jax.tree.map(np.testing.assert_array_equal, first.params, second.params)


@pytest.mark.peers
def test_what_is_missing_is_listed_by_googles_names(tmp_path):
  theirs = peer('BertForPreTraining')
  arrays = variables(theirs)
  del arrays['bert/encoder/layer_1/attention/self/key/kernel']
  arrays['bert/encoder/layer_2/output/dense/bias'] = np.zeros(12, np.float32)
  write(tmp_path, theirs, arrays)
  with pytest.raises(UserError) as raised:
    lm.load(tmp_path)
  told = str(raised.value)
  assert 'missing: bert/encoder/layer_1/attention/self/key/kernel' in told
  assert 'left over: bert/encoder/layer_2/output/dense/bias' in told


def test_one_file_of_arrays_is_needed(tmp_path):
  (tmp_path / 'bert_config.json').write_text('{}')
  with pytest.raises(UserError, match='0 files of arrays'):
    lm.load(tmp_path)
