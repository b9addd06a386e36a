"""What transformers saves we read, and what we save transformers reads."""

import dataclasses
import json

import numpy as np
import pytest
from safetensors.numpy import load_file

import lm
from tests.models import parity, tiny

pytestmark = pytest.mark.peers

LENGTHS = np.array([[9], [6], [3]])
SHAPE = (3, 9)
EOS = 2
LABELS = {0: 'no', 1: 'perhaps', 2: 'yes'}
LABELLED = {'id2label': LABELS, 'label2id': {v: k for k, v in LABELS.items()}}
SPAN = {'start': 'start_logits', 'end': 'end_logits'}
PAIR = {
  'tokens': 'prediction_logits',
  'next_sentence': 'seq_relationship_logits',
}

# Each class, and the terms of ours by what transformers calls the answer.
CLASSES = {
  'GPT2Model': {'hidden': 'last_hidden_state'},
  'GPT2LMHeadModel': {'tokens': 'logits'},
  'GPT2ForSequenceClassification': {'label': 'logits'},
  'GPT2ForTokenClassification': {'tags': 'logits'},
  'GPT2ForQuestionAnswering': SPAN,
  'BertModel': {'hidden': 'last_hidden_state'},
  'BertForMaskedLM': {'tokens': 'logits'},
  'BertForPreTraining': PAIR,
  'BertForNextSentencePrediction': {'next_sentence': 'logits'},
  'BertForSequenceClassification': {'label': 'logits'},
  'BertForTokenClassification': {'tags': 'logits'},
  'BertForQuestionAnswering': SPAN,
  'RobertaModel': {'hidden': 'last_hidden_state'},
  'RobertaForMaskedLM': {'tokens': 'logits'},
  'RobertaForSequenceClassification': {'label': 'logits'},
  'RobertaForTokenClassification': {'tags': 'logits'},
  'RobertaForQuestionAnswering': SPAN,
  'T5Model': {'hidden': 'last_hidden_state'},
  'T5EncoderModel': {'hidden': 'last_hidden_state'},
  'T5ForConditionalGeneration': {'tokens': 'logits'},
  'T5ForSequenceClassification': {'label': 'logits'},
  'T5ForTokenClassification': {'tags': 'logits'},
  'T5ForQuestionAnswering': SPAN,
}
SIZES = {
  'GPT2': {
    'n_positions': 10,
    'n_embd': 12,
    'n_layer': 2,
    'n_head': 3,
    'n_inner': 7,
  },
  'Bert': {
    'hidden_size': 12,
    'num_hidden_layers': 2,
    'num_attention_heads': 3,
    'intermediate_size': 7,
    'max_position_embeddings': 12,
  },
  'T5': {
    'd_model': 10,
    'd_kv': 3,
    'd_ff': 7,
    'num_layers': 2,
    'num_decoder_layers': 1,
    'num_heads': 3,
    'relative_attention_num_buckets': 6,
    'relative_attention_max_distance': 7,
  },
}
SIZES['Roberta'] = SIZES['Bert'] | {'type_vocab_size': 1}


def peer(name, dtype='float32', **changes):
  """Returns a small model of class `name`, all of its numbers random."""
  import torch
  import transformers

  family = next(family for family in SIZES if name.startswith(family))
  settings = SIZES[family] | {'vocab_size': 19, 'eos_token_id': EOS}
  settings |= {'bos_token_id': 0, 'pad_token_id': 1} | changes
  if 'num_labels' not in changes and ('Sequence' in name or 'Token' in name):
    settings |= LABELLED
  config = getattr(transformers, f'{family}Config')(**settings)
  theirs = parity.perturbed(getattr(transformers, name)(config))
  return theirs.to(getattr(torch, dtype))


def inputs_of(name):
  """Returns the same padded rows for ours and for theirs."""
  rng = np.random.default_rng(0)
  valid = np.arange(SHAPE[1]) < LENGTHS
  tokens = np.where(valid, rng.integers(3, 19, SHAPE, np.int32), 1)
  tokens[np.arange(3), LENGTHS[:, 0] - 1] = EOS
  theirs = {'input_ids': tokens, 'attention_mask': valid}
  if not name.startswith('T5'):
    ours = {'tokens': tokens, 'valid': valid}
    if name.startswith('Bert'):
      ours['token_types'] = rng.integers(0, 2, SHAPE, np.int32)
      theirs['token_type_ids'] = ours['token_types']
    return ours, theirs
  ours = {'source_tokens': tokens, 'source_valid': valid}
  if name in ('T5EncoderModel', 'T5ForTokenClassification'):
    return ours, theirs
  # What reads a text with both halves gives the decoder the same, shifted.
  written = np.pad(tokens, ((0, 0), (1, 0)), constant_values=1)[:, :-1]
  ours |= {'tokens': written.astype(np.int32), 'valid': valid}
  return ours, theirs | {'decoder_input_ids': written}


@pytest.mark.parametrize('name', CLASSES)
def test_every_class_answers_alike_and_comes_back_bit_for_bit(name, tmp_path):
  import torch
  import transformers

  theirs = peer(name)
  theirs.save_pretrained(tmp_path / 'theirs')
  pretrained = lm.load(tmp_path / 'theirs')
  ours, given = inputs_of(name)
  output = theirs(**parity.as_torch(given))
  answers = tiny.apply(pretrained.model, pretrained.params, **ours)
  terms = CLASSES[name]
  valid = ours.get('valid', ours.get('source_valid'))
  for term, attribute in terms.items():
    answer = answers[term] if len(terms) > 1 else answers
    expected = output[attribute].detach().numpy()
    assert answer.shape == expected.shape
    if answer.shape[:2] == SHAPE:  # Nobody asks about padding.
      answer, expected = answer[valid], expected[valid]
    np.testing.assert_allclose(answer, expected, atol=1e-4, err_msg=term)

  lm.save_huggingface(pretrained, tmp_path / 'ours')
  back = getattr(transformers, name).from_pretrained(tmp_path / 'ours')
  states = back.state_dict(), theirs.state_dict()
  assert states[0].keys() == states[1].keys()
  for key, array in states[1].items():
    assert torch.equal(states[0][key], array), key
  first, second = (
    load_file(tmp_path / place / 'model.safetensors')
    for place in ('theirs', 'ours')
  )
  assert first.keys() == second.keys()
  config = [theirs.config.to_dict(), back.config.to_dict()]
  for one in config:
    del one['_name_or_path'], one['transformers_version'], one['architectures']
    one.pop('classifier_dropout', None)  # None there is a number here.
    # What versions before 5 ask for, or what a T5 has nothing to do with.
    one.pop('position_embedding_type', None)
    one.pop('n_positions', None)
    one.pop('decoder_start_token_id', None)
  assert config[0] == config[1] | {'dtype': config[0]['dtype']}
  auto = transformers.AutoModel.from_pretrained(tmp_path / 'ours')
  assert auto.config.model_type == theirs.config.model_type


FOR_TEXTS = [
  name for name in CLASSES if name.endswith('ForSequenceClassification')
]


@pytest.mark.parametrize('name', FOR_TEXTS)
def test_a_head_for_one_number_answers_alike_and_comes_back(name, tmp_path):
  import torch
  import transformers

  theirs = peer(name, num_labels=1)
  theirs.save_pretrained(tmp_path / 'theirs')
  pretrained = lm.load(tmp_path / 'theirs')
  ours, given = inputs_of(name)
  answer = tiny.apply(pretrained.model, pretrained.params, **ours)
  expected = theirs(**parity.as_torch(given)).logits.detach().numpy()
  assert answer.shape == expected.shape == (3, 1)
  np.testing.assert_allclose(answer, expected, atol=1e-4)
  lm.save_huggingface(pretrained, tmp_path / 'ours')
  back = getattr(transformers, name).from_pretrained(tmp_path / 'ours')
  assert back.config.num_labels == 1
  for key, array in theirs.state_dict().items():
    assert torch.equal(back.state_dict()[key], array), key


OF_TOKENS = [
  'GPT2LMHeadModel',
  'BertForMaskedLM',
  'RobertaForTokenClassification',
  'T5ForConditionalGeneration',
]


@pytest.mark.parametrize('name', OF_TOKENS)
def test_bfloat16_stays_so_and_is_computed_in_float32(name, tmp_path):
  import torch
  import transformers

  theirs = peer(name, 'bfloat16')
  theirs.save_pretrained(tmp_path / 'theirs')
  pretrained = lm.load(tmp_path / 'theirs')
  assert pretrained.model.config.param_dtype == 'bfloat16'
  ours, given = inputs_of(name)
  output = theirs.to(torch.float32)(**parity.as_torch(given))
  answers = tiny.apply(pretrained.model, pretrained.params, **ours)
  valid = ours['valid']
  np.testing.assert_allclose(
    answers[valid], output.logits.detach().numpy()[valid], atol=1e-4
  )
  lm.save_huggingface(pretrained, tmp_path / 'ours')
  back = getattr(transformers, name).from_pretrained(tmp_path / 'ours')
  assert back.dtype == torch.bfloat16
  for key, array in back.float().state_dict().items():
    assert torch.equal(theirs.state_dict()[key], array), key


@pytest.mark.parametrize('tied', [True, False])
def test_t5_1_1_of_both_versions_of_transformers_is_untied(tied, tmp_path):
  import torch
  import transformers

  theirs = peer(
    'T5ForConditionalGeneration',
    feed_forward_proj='gated-gelu',
    tie_word_embeddings=False,
  )
  head = torch.nn.Parameter(torch.randn(19, 10))
  theirs.lm_head.weight = head
  theirs.save_pretrained(tmp_path / 'theirs')
  path = tmp_path / 'theirs' / 'config.json'
  config = json.loads(path.read_text())
  assert config['tie_word_embeddings'] and not config['scale_decoder_outputs']
  if not tied:  # As versions before 5 wrote it.
    config['tie_word_embeddings'] = False
    del config['scale_decoder_outputs']
    path.write_text(json.dumps(config))
  pretrained = lm.load(tmp_path / 'theirs')
  assert not pretrained.model.tie_embeddings
  assert not pretrained.model.scale_logits
  ours, given = inputs_of('T5ForConditionalGeneration')
  answers = tiny.apply(pretrained.model, pretrained.params, **ours)
  output = theirs(**parity.as_torch(given))
  np.testing.assert_allclose(answers, output.logits.detach().numpy(), atol=1e-4)
  lm.save_huggingface(pretrained, tmp_path / 'ours')
  back = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path / 'ours')
  assert torch.equal(back.lm_head.weight, head)
  again = back(**parity.as_torch(given))
  assert torch.equal(again.logits, output.logits)


@pytest.mark.parametrize(
  'name',
  [
    'GPT2ForTokenClassification',
    'BertForPreTraining',
    'RobertaForMaskedLM',
    'T5ForConditionalGeneration',
  ],
)
def test_shards_are_read_as_one_file_is(name, tmp_path):
  theirs = peer(name)
  theirs.save_pretrained(tmp_path / 'whole')
  theirs.save_pretrained(tmp_path / 'shards', max_shard_size=3000)
  assert len([*(tmp_path / 'shards').glob('*.safetensors')]) > 2
  for place in ('whole', 'shards'):
    lm.save_huggingface(lm.load(tmp_path / place), tmp_path / f'{place}-ours')
  files = [
    (tmp_path / f'{place}-ours' / 'model.safetensors').read_bytes()
    for place in ('whole', 'shards')
  ]
  assert files[0] == files[1]


def test_the_labels_of_a_run_are_those_that_it_learned(tmp_path):
  peer('BertForTokenClassification').save_pretrained(tmp_path / 'theirs')
  pretrained = lm.load(tmp_path / 'theirs')
  config = {**pretrained.config, 'task': {'labels': ['O', 'B-x', 'I-x']}}
  trained = dataclasses.replace(pretrained, config=config)
  lm.save_huggingface(trained, tmp_path / 'ours')
  written = json.loads((tmp_path / 'ours' / 'config.json').read_text())
  assert written['id2label'] == {'0': 'O', '1': 'B-x', '2': 'I-x'}
  assert written['label2id'] == {'O': 0, 'B-x': 1, 'I-x': 2}


def test_the_names_of_labels_come_back(tmp_path):
  peer('BertForTokenClassification').save_pretrained(tmp_path / 'theirs')
  pretrained = lm.load(tmp_path / 'theirs')
  assert pretrained.model.num_labels == 3
  lm.save_huggingface(pretrained, tmp_path / 'ours')
  config = json.loads((tmp_path / 'ours' / 'config.json').read_text())
  assert config['id2label'] == {str(k): v for k, v in LABELS.items()}
