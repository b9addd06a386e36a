"""The command writes text, and JSON for programs."""

import json
import math

import pytest

import lm
from experiments import generate
from lm.generation.text import Reply
from lm.objectives.objective import PromptForm
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


@pytest.fixture(scope='module', params=['bert', 't5'])
def untrained(request, tmp_path_factory):
  """A directory with a small model of a family, random, and its tokenizer."""
  directory = tmp_path_factory.mktemp(request.param)
  tiny_run.write_family(directory, request.param)
  return request.param, str(directory)


def texts_of(capsys):
  return json.loads(capsys.readouterr().out.splitlines()[-1])['texts']


def test_masks_and_sentinels_are_filled(untrained, capsys):
  family, directory = untrained
  hole = {'bert': '[MASK]', 't5': '<extra_id_0>'}[family]
  prompts = [f'the {hole} sat', f'a dog {hole}']
  length = {'bert': {}, 't5': {'max_new_tokens': 6}}[family]
  generate.main(directory, prompts, json=True, **length)
  texts = texts_of(capsys)
  assert [text['prompt'] for text in texts] == prompts
  assert not any(hole in text['text'] for text in texts)
  if family == 'bert':
    assert texts[0]['text'].startswith('the ')
    shares = [c['probability'] for c in texts[0]['masks'][0]]
    assert len(shares) == 5 and shares == sorted(shares, reverse=True)
    generate.main(directory, prompts, top_k=2)
    assert len(capsys.readouterr().out.splitlines()) == 2
    with pytest.raises(UserError, match='has no'):
      generate.main(directory, ['the cat'])


def test_beams_give_the_best_texts_in_their_order(untrained, capsys):
  family, directory = untrained
  search = dict(beams=3, num_return=2, max_new_tokens=5)
  if family == 'bert':
    with pytest.raises(UserError, match='nothing for beams to search'):
      generate.main(directory, ['the [MASK] sat'], **search)
    return
  generate.main(directory, ['the cat', 'a dog'], json=True, **search)
  texts = texts_of(capsys)
  assert [t['prompt'] for t in texts] == ['the cat'] * 2 + ['a dog'] * 2
  scores = [text['score'] for text in texts]
  assert all(map(math.isfinite, scores))
  assert scores[0] >= scores[1] and scores[2] >= scores[3]
  generate.main(directory, ['the cat'], **search)
  assert capsys.readouterr().out.splitlines() == [t['text'] for t in texts[:2]]
  with pytest.raises(UserError, match='nothing is drawn'):
    generate.main(directory, ['the cat'], temperature=0.5, **search)


def test_a_decoder_trained_to_fill_sentinels_answers(tmp_path, capsys):
  objective = {'name': 'span_corruption', 'noise_density': 0.3}
  tiny_run.write_family(tmp_path, 'gpt', objective, 'unigram', 118)
  assert lm.load(tmp_path).prompt_form == PromptForm(ends=True, visible=True)
  prompt = 'the <extra_id_0> sat'
  for more in ({}, {'beams': 2}):
    generate.main(str(tmp_path), [prompt], max_new_tokens=4, **more)
    said = capsys.readouterr().out
    assert said.startswith('the ') and said.endswith(' sat\n')
    assert '<extra_id_0>' not in said


@pytest.mark.parametrize('visible', [True, False])
def test_a_prefix_is_seen_as_it_was_in_training(tmp_path, monkeypatch, visible):
  objective = {'name': 'prefix_lm', 'prefix_visible': visible}
  tiny_run.write_family(tmp_path, 'gpt', objective)
  asked = []

  def stream(*args, **options):
    asked.append(options['prompt_form'])
    yield [Reply('', 0, 'stop')]

  monkeypatch.setattr(generate.text, 'stream', stream)
  generate.main(str(tmp_path), ['the'])
  assert asked == [PromptForm(visible=visible)]


@pytest.mark.parametrize(
  'option',
  [
    {'temperature': 0.5},
    {'temperature': 0.0},
    {'top_p': 0.9},
    {'top_k': 5},
    {'stop': ['.']},
  ],
)
def test_beams_draw_and_cut_nothing(workdir, option):
  [name] = option
  with pytest.raises(UserError, match=f'Omit --{name}'):
    generate.main(workdir, ['To'], beams=2, **option)


@pytest.mark.parametrize(
  'option',
  [{'num_return': 2}, {'length_penalty': 0.5}, {'early_stopping': True}],
)
def test_what_is_said_of_beams_needs_them(workdir, option):
  [name] = option
  with pytest.raises(UserError, match=f'without --beams.*Omit --{name}'):
    generate.main(workdir, ['To'], **option)


@pytest.mark.parametrize(
  'option',
  [{'temperature': 0.5}, {'max_new_tokens': 5}, {'top_p': 0.9}, {'stop': '.'}],
)
@pytest.mark.parametrize('untrained', ['bert'], indirect=True)
def test_masks_are_filled_without_drawing(untrained, option):
  _, directory = untrained
  [name] = option
  with pytest.raises(UserError, match=f'fills masks.*Omit --{name}'):
    generate.main(directory, ['the [MASK]'], **option)
