"""The command writes text, and JSON for programs."""

import json

import pytest

from experiments import generate
from lm.generation.text import Reply
from lm.types import UserError
from tests import tiny_run


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  directory = tmp_path_factory.mktemp('run')
  tiny_run.write(directory)
  return str(directory)


@pytest.fixture
def ask(workdir, capsys):
  def run(**options):
    generate.main(
      workdir, ['To be', 'or'], max_new_tokens=9, temperature=2.0, **options
    )
    return capsys.readouterr().out

  return run


def test_the_json_and_the_stream_say_the_same_for_a_seed(ask):
  report = json.loads(ask(seed=1, json=True).splitlines()[-1])
  texts = report['texts']
  assert [text['prompt'] for text in texts] == ['To be', 'or']
  assert [text['num_tokens'] for text in texts] == [9, 9]
  assert [text['stopped_by'] for text in texts] == ['length', 'length']
  both = [text['prompt'] + text['text'] for text in texts]
  assert ask(seed=1) == f'{both[0]}\n\n{both[1]}\n'
  assert ask(seed=2) != ask(seed=1)


def test_texts_are_printed_one_after_another_as_they_grow(capsys):
  progress = [
    [Reply('1', 1, None), Reply('one', 1, None)],
    [Reply('12', 2, 'stop'), Reply('one, two', 2, None)],
    [Reply('12', 2, 'stop'), Reply('one, two.', 3, 'length')],
  ]
  pages = []

  def watched():
    for replies in progress:
      yield replies
      pages.append(capsys.readouterr().out)

  assert generate.show(['a', 'b '], watched()) == progress[-1]
  assert pages == ['a1', '2\n\nb one, two', '.\n']


def test_a_run_without_a_tokenizer_cannot_write(tmp_path):
  tiny_run.write(tmp_path)
  (tmp_path / 'tokenizer').rename(tmp_path / 'elsewhere')
  with pytest.raises(UserError, match='has no tokenizer'):
    generate.main(str(tmp_path), ['To'])
