"""What a study found is told by what compares, and how sure it is."""

import dataclasses
import json

import pytest

from lm.comparison import gathering, report, results, tables
from lm.comparison.study import Score, Task
from tests.comparison import results_test, terms_test

STUDY = dataclasses.replace(
  terms_test.STUDY, seeds=3, scores=(Score('blimp', 'blimp', 'blimp'),)
)
TERMS = {name: terms_test.derive('tokens', 6400.0) for name in 'ab'}
CONFIGS = {
  'a': {'model': {'num_layers': 2}, 'objective': {'name': 'causal_lm'}},
  'b': {'model': {'num_layers': 2}, 'objective': {'name': 'masked_lm'}},
}
ACCURACY = {'a': (0.5, 0.6, 0.7), 'b': (0.75, 0.75, 1.0)}


@pytest.fixture
def root(tmp_path):
  """Runs of two variants, three seeds each, of four questions."""
  for name, accuracies in ACCURACY.items():
    for seed, accuracy in enumerate(accuracies):
      place = results.cell_of(tmp_path, name, seed)
      results_test.cell(place, [3.0, 2.0 + seed])
      results_test.write(place / 'result.json', {'loss': 2.0 + seed})
      where = {'git_sha': 'abc', 'python': '3', 'versions': {'jax': '0.1'}}
      where |= {'devices': ['cpu'], 'platform': 'Linux'}
      results_test.write(place / 'environment.json', where)
      told = place / 'scores/blimp.json'
      paradigms = {'p': 0.5, 'q': accuracy, 'r': 2 * accuracy - 0.5}
      results_test.write(
        told, {'accuracy': accuracy, 'form': 'pll', 'paradigms': paradigms}
      )
      lines = [
        json.dumps({'id': str(id), 'right': id < 2 + (name == 'b')})
        for id in range(4)
      ]
      told.with_suffix('.jsonl').write_text('\n'.join(lines))
  return tmp_path


def gather(root, configs=CONFIGS, study=STUDY):
  rates = dict.fromkeys(configs, 1e-3)
  return gathering.gather(study, configs, TERMS, TERMS, rates, root)


def test_scores_are_compared_over_seeds_and_over_examples(root):
  found = gather(root)
  assert found['comparable'] == ('blimp',)
  assert found['not_comparable'] == ['loss']  # Of another objective.
  assert found['table']['blimp']['a'] == {
    'n': 3,
    'mean': pytest.approx(0.6),
    'std': pytest.approx(0.1),
  }
  seeds, examples, paradigms = found['intervals']
  over = [each['over'] for each in found['intervals']]
  assert over == ['seed', 'example', 'paradigm']
  assert seeds['estimate'] == pytest.approx(2.5 / 3 - 0.6)
  assert 'Welch' in seeds['method'] and 'seeds' in seeds['method']
  # Of each example the share of the runs that are right: 3 of 4, less 2.
  assert examples['estimate'] == pytest.approx(0.25)
  assert (
    'bootstrap' in examples['method'] and '4 examples' in examples['method']
  )
  assert paradigms['estimate'] == pytest.approx(2.5 / 3 - 0.6)
  assert 'over 3 paradigms' in paradigms['method']


def test_the_answers_of_a_classification_are_examples(root):
  task = Task('sst2', 'config.py', 'accuracy', {})
  study = dataclasses.replace(STUDY, scores=(), tasks=(task,))
  for name in CONFIGS:
    for seed in range(3):
      place = results.cell_of(root, name, seed) / 'tasks/sst2'
      right = [1.0, 0.75][name == 'a']
      results_test.write(place / 'result.json', {'test': {'accuracy': right}})
      lines = [
        {
          'id': str(id),
          'label': 'x',
          'prediction': 'xy'[id == 0 and name == 'a'],
        }
        for id in range(4)
      ]
      text = ''.join(json.dumps(line) + '\n' for line in lines)
      (place / 'predictions.jsonl').write_text(text)
  found = gather(root, study=study)['intervals']
  assert [each['estimate'] for each in found] == [0.25, 0.25]
  assert 'paired bootstrap over 4 examples' in found[1]['method']
  # Of labels that are not known there is nothing to draw.
  (place / 'predictions.jsonl').write_text('{"id": "0", "prediction": "x"}\n')
  assert results.answers(place.parents[1], study) == {}


def test_losses_compare_if_the_same_is_asked(root):
  same = {'a': CONFIGS['a'], 'b': {**CONFIGS['a'], 'model': {'num_layers': 4}}}
  found = gather(root, same)
  assert found['comparable'] == ('blimp', 'loss', 'bits_per_byte')
  assert found['differences'] == {'model.num_layers': {'a': 2, 'b': 4}}


def test_bits_of_a_byte_compare_however_the_text_is_cut(root):
  other = {**CONFIGS['a'], 'data': {'tokenizer': 'bytes'}}
  found = gather(
    root, {'a': {**CONFIGS['a'], 'data': {'tokenizer': 'bpe'}}, 'b': other}
  )
  assert found['comparable'] == ('blimp', 'bits_per_byte')


def test_a_run_that_has_not_ended_is_left_out(root):
  (results.cell_of(root, 'b', 1) / 'result.json').unlink()
  assert gather(root)['table']['blimp']['b']['n'] == 2


def test_a_ladder_has_its_exponent(root):
  sizes = (100, 200, 400)
  terms = {str(n): TERMS['a']._replace(without_embeddings=n) for n in sizes}
  scored = {str(n): {0: {'loss': 9 * n**-0.25}} for n in sizes}
  law = gathering.ladder(scored, terms)
  assert law['exponent']['estimate'] == pytest.approx(0.25)
  assert law['scale'] == pytest.approx(9)
  assert gathering.ladder({'100': scored['100']}, terms) is None


def test_runs_of_two_places_are_told_apart(root):
  path = results.cell_of(root, 'b', 2) / 'environment.json'
  results_test.write(path, json.loads(path.read_text()) | {'git_sha': 'def'})
  first, second = gather(root)['environments']
  assert (first['git_sha'], len(first['runs'])) == ('abc', 5)
  assert (second['git_sha'], second['runs']) == ('def', ['b/2'])
  both = tables.environments({'environments': [first, second]})
  assert both[1].startswith('Commit def') and both[1].endswith('Of b/2.')


def test_a_metric_that_is_none_is_a_failure(root):
  score = Score('blimp', 'blimp', 'blimp', metric='acc')
  found = gather(root, study=dataclasses.replace(STUDY, scores=(score,)))
  assert 'blimp' not in found['table'] and len(found['failures']) == 6
  page = report.page(found, {})
  assert '6 of 6 runs have ended, and 6 things' in page
  assert 'no metric &#x27;acc&#x27;' in page


def test_a_score_is_drawn_against_what_was_spent(root):
  (score,) = STUDY.scores
  score = dataclasses.replace(score, curve=True)
  for name in CONFIGS:
    for seed in range(3):
      place = results.cell_of(root, name, seed) / 'scores'
      told = json.loads((place / 'blimp.json').read_text())
      results_test.write(place / 'blimp.json', told | {'step': 20})
      early = place / 'blimp/step-10/score.json'
      results_test.write(early, {'step': 10, 'accuracy': 0.5})
  found = gather(root, study=dataclasses.replace(STUDY, scores=(score,)))
  curve = found['curves']['blimp']['a']['tokens']
  assert curve[1] == [(640, 0.5), (1280, 0.6)]
  report.write(found, root)
  assert 'The blimp by FLOPs.' in (root / 'report.html').read_text()
  assert (root / 'plots/blimp_by_seconds.png').stat().st_size > 1000


def test_the_report_says_all_of_it(root):
  report.write(gather(root), root)
  page = (root / 'report.html').read_text()
  for part in (
    STUDY.question,
    '0.6000 ± 0.1000 (3)',
    'objective.name',
    'paired bootstrap over 4 examples',
    'these numbers mean something else for each variant',
    'The loss by tokens read.',
    'accuracy of blimp; a by pll, b by pll.',
    'and 0 trials',
    'Commit abc, Python 3, jax 0.1, on 1 x cpu, Linux.',
  ):
    assert part in page
  assert (root / 'plots/loss_by_tokens.png').stat().st_size > 1000
  assert json.loads((root / 'report.json').read_text())['question']
