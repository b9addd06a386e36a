"""The command prints a table for people, and JSON for programs."""

import json
import math

import pytest

import lm
from experiments import score
from lm.scoring import texts
from lm.types import UserError
from tests import tiny_run
from tests.scoring.minimal_pairs_test import jsonl, line


@pytest.fixture(scope='module', params=tiny_run.FAMILIES)
def family(request, tmp_path_factory):
  directory = tmp_path_factory.mktemp(request.param)
  tiny_run.write_family(directory, request.param)
  return request.param, str(directory)


@pytest.fixture(scope='module')
def gpt(tmp_path_factory):
  directory = tmp_path_factory.mktemp('run')
  tiny_run.write_family(directory, 'gpt', {'name': 'causal_lm'})
  return str(directory)


FORMS = {'gpt': 'left_to_right', 'bert': 'pll_word_l2r', 't5': 'spans'}
PAIRS = [
  line(n, uid, term, sentence_good=good, sentence_bad=bad)
  for uid, term in (('a_1', 'binding'), ('b_1', 's-selection'))
  for n, (good, bad) in enumerate(
    [('a dog', 'the cat'), ('the cat', 'a dog'), ('on a mat', 'on a mat')]
  )
]


def run(capsys, *args, **options):
  score.main(*args, **options)
  printed = capsys.readouterr()
  return json.loads(printed.out.splitlines()[-1]), printed.err


def test_every_family_judges_minimal_pairs(family, tmp_path, capsys):
  name, directory = family
  (tmp_path / 'a.jsonl').write_text(jsonl(PAIRS))
  out, answers = tmp_path / 'result.json', tmp_path / 'answers'
  found, table = run(
    capsys,
    directory,
    'blimp',
    str(tmp_path / 'a.jsonl'),
    out=str(out),
    answers=str(answers),
  )
  assert found['form'] == FORMS[name]
  third = pytest.approx(1 / 3)
  assert found['paradigms'] == {'a_1': third, 'b_1': third}
  assert found['phenomena'] == {'argument_structure': third, 'binding': third}
  assert (found['accuracy'], found['ties'], found['pairs']) == (third, 2, 6)
  assert found['authors']['GPT-2'] == 0.83 and found['chance'] == 0.5
  rows = [row.split() for row in table.splitlines()]
  assert ['a_1', '33.3'] in rows and ['binding', '33.3'] in rows
  assert rows[-2][-5:] == ['33.3', '61.2', '69.8', '69.6', '83.0']
  assert rows[-1] == ['chance', *['50.0'] * 5]
  assert json.loads(out.read_text()) == found
  told = [json.loads(each) for each in answers.read_text().splitlines()]
  assert len({each['id'] for each in told}) == 6
  assert [each['right'] for each in told].count(True) == 2


def test_the_authors_figures_stand_beside_ours(gpt, tmp_path, capsys):
  (tmp_path / 'a.jsonl').write_text(jsonl(PAIRS))
  theirs = [
    {'UID': 'a_1', 'ngram': 0.1, 'lstm': 0.2, 'txl': 0.3, 'gpt2': 0.4},
    {'UID': 'b_1', 'ngram': 0.5, 'lstm': 0.6, 'txl': 0.7, 'gpt2': 0.8},
  ]
  (tmp_path / 'models_summary.jsonl').write_text(jsonl(theirs))
  _, table = run(capsys, gpt, 'blimp', str(tmp_path), limit=2)
  rows = [row.split() for row in table.splitlines()]
  assert ['b_1', '50.0', '50.0', '60.0', '70.0', '80.0'] in rows
  assert ['binding', '50.0', '10.0', '20.0', '30.0', '40.0'] in rows


def test_choices_and_blanks_are_answered(gpt, tmp_path, capsys):
  trained = lm.load(gpt)
  scores = texts.sentence_scores(
    trained.model,
    trained.params,
    trained.tokenizer,
    ['a cat', 'a dog'],
    'left_to_right',
  )
  best = int(scores.log_probs.argmax())
  path = tmp_path / 'a.jsonl'
  row = {'choices': ['cat', 'dog'], 'answer': best}
  path.write_text(jsonl([row | {'context': 'a'}, row | {'text': 'a ___'}]))
  found, table = run(capsys, gpt, 'choices', str(path), limit=1)
  assert (found['accuracy'], found['questions']) == (1.0, 1)
  assert found['chance'] == 0.5 and 'accuracy_per_byte' in table
  path.write_text(jsonl([row | {'text': 'a ___'}]))
  assert run(capsys, gpt, 'cloze', str(path))[0]['accuracy'] == 1.0


def test_perplexity_is_of_documents(gpt, tmp_path, capsys):
  (tmp_path / 'a.txt').write_text('the cat\n\na dog\n')
  (tmp_path / 'b.txt').write_text('on the mat\n')
  found, table = run(
    capsys, gpt, 'perplexity', str(tmp_path), stride=3, length=8
  )
  assert (found['stride'], found['length']) == (3, 8)
  assert (found['documents'], found['words'], found['bytes']) == (2, 7, 26)
  assert math.isclose(found['bits_per_byte'], found['nats'] / 26 / math.log(2))
  assert f'{found["perplexity"]:.4f}' in table
  found, _ = run(
    capsys, gpt, 'perplexity', str(tmp_path / 'a.txt'), documents='paragraphs'
  )
  assert (found['documents'], found['bytes']) == (2, 12)
  assert (found['length'], found['stride']) == (12, 6)


def test_a_masked_model_has_no_perplexity(family, tmp_path):
  name, directory = family
  (tmp_path / 'a.txt').write_text('the cat')
  if name != 'gpt':
    with pytest.raises(UserError, match='no perplexity'):
      score.main(directory, 'perplexity', str(tmp_path / 'a.txt'))


@pytest.mark.parametrize(
  'task, options, message',
  [
    ('glue', {}, "--task is 'glue'"),
    ('blimp', {'stride': 3}, '--stride is of --task=perplexity'),
    ('cloze', {'delimiter': ''}, '--delimiter is of --task=choices'),
    ('perplexity', {'too_long': 'cut'}, 'is of --task=choices or cloze'),
    ('perplexity', {'documents': 'lines'}, "--documents is 'lines'"),
    ('perplexity', {'form': 'pll'}, 'no perplexity'),
    ('blimp', {'form': 'pll'}, 'Set it to left_to_right'),
    ('blimp', {'out': 'none/here/a.json'}, 'no directory'),
  ],
)
def test_what_makes_no_sense_is_refused(gpt, tmp_path, task, options, message):
  (tmp_path / 'a.jsonl').write_text(jsonl(PAIRS))
  (tmp_path / 'a.txt').write_text('the cat')
  ending = 'txt' if task == 'perplexity' else 'jsonl'
  with pytest.raises(UserError, match=message):
    score.main(gpt, task, str(tmp_path / f'a.{ending}'), **options)


def test_a_text_that_is_too_long_is_named(gpt, tmp_path):
  path = tmp_path / 'a.jsonl'
  path.write_text(jsonl([*PAIRS[:1], line(0, 'a', sentence_good='the ' * 20)]))
  with pytest.raises(UserError, match=r'a.jsonl, line 2 has \d+ tokens'):
    score.main(gpt, 'blimp', str(path))


def test_a_file_that_is_not_there_is_named(gpt, tmp_path):
  with pytest.raises(UserError, match='no such file'):
    score.main(gpt, 'perplexity', str(tmp_path / 'none.txt'))


@pytest.mark.parametrize('form', [None, 'left_to_right'])
def test_a_run_without_a_tokenizer_is_refused(tmp_path, form):
  tiny_run.write(tmp_path)
  (tmp_path / 'tokenizer').rename(tmp_path / 'elsewhere')
  with pytest.raises(UserError, match='has no tokenizer'):
    score.main(str(tmp_path), 'blimp', 'a.jsonl', form=form)
