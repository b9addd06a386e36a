"""Directories of both kinds are turned into each other, and compared."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

import lm
from experiments import convert, generate
from lm.types import UserError
from tests import tiny_run
from tests.interop.exchange_test import LABELS, peer

CLASSES = (
  'GPT2LMHeadModel',
  'GPT2ForSequenceClassification',
  'BertForPreTraining',
  'BertForQuestionAnswering',
  'RobertaForMaskedLM',
  'T5ForConditionalGeneration',
  'T5ForSequenceClassification',
  'T5ForTokenClassification',
)
WIDTH = {'embed_dim': 8}  # As all heads together, as Hugging Face has it.


def report(capsys):
  return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.peers
@pytest.mark.parametrize('name', CLASSES)
def test_there_and_back_gives_the_same_file(name, tmp_path, capsys):
  peer(name).save_pretrained(tmp_path / 'theirs')
  theirs, ours, back = (str(tmp_path / d) for d in ('theirs', 'ours', 'back'))
  convert.main(theirs, ours)
  assert report(capsys) | {'max_difference': 0.0} == {
    'target': ours,
    'to': 'lm',
    'parameters': sum(
      a.size for a in load_file(f'{theirs}/model.safetensors').values()
    ),
    'compared_with': 'transformers',
    'max_difference': 0.0,
  }
  convert.main(ours, back)
  told = report(capsys)
  assert told['to'] == 'huggingface' and told['max_difference'] < 1e-4
  first, second = (load_file(f'{d}/model.safetensors') for d in (theirs, back))
  assert first.keys() == second.keys()
  for key, array in first.items():
    np.testing.assert_array_equal(second[key], array, err_msg=key)
  config = json.loads((tmp_path / 'back' / 'config.json').read_text())
  if 'Classification' in name:
    assert config['id2label'] == {str(i): label for i, label in LABELS.items()}


@pytest.mark.peers
def test_a_run_answers_as_transformers_does(tmp_path, capsys):
  tiny_run.write(tmp_path / 'run', steps=(1, 2), ema_decay=0.9, **WIDTH)
  convert.main(str(tmp_path / 'run'), str(tmp_path / 'new' / 'out'), step=1)
  told = report(capsys)
  assert told['compared_with'] == 'transformers'
  assert told['max_difference'] < 1e-4
  assert [path.name for path in (tmp_path / 'new').iterdir()] == ['out']
  assert (tmp_path / 'new' / 'out' / 'tokenizer.json').exists()


@pytest.mark.peers
def test_what_answers_otherwise_is_not_written(tmp_path, monkeypatch):
  tiny_run.write(tmp_path / 'run', **WIDTH)
  honest = convert.of_transformers

  def other(*arguments):
    return {term: 1.01 * x for term, x in honest(*arguments).items()}

  monkeypatch.setattr(convert, 'of_transformers', other)
  with pytest.raises(UserError, match='transformers answers otherwise'):
    convert.main(str(tmp_path / 'run'), str(tmp_path / 'out'))
  assert [path.name for path in tmp_path.iterdir()] == ['run']


def test_without_transformers_what_was_written_answers(
  tmp_path, capsys, monkeypatch
):
  monkeypatch.setattr(convert, 'PEERS', ('there_is_no_such_package',))
  tiny_run.write(tmp_path / 'run', **WIDTH)
  there, back = str(tmp_path / 'there'), str(tmp_path / 'back')
  convert.main(str(tmp_path / 'run'), there)
  convert.main(there, back)
  assert report(capsys)['compared_with'] == 'itself'
  assert lm.load(back).step == 0
  generate.main(back, ['To be'], max_new_tokens=3)


def test_nothing_is_written_over(tmp_path):
  tiny_run.write(tmp_path)
  with pytest.raises(UserError, match='exists already'):
    convert.main(str(tmp_path), str(tmp_path))
