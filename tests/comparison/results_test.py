"""What runs came to is read from their folders."""

import dataclasses
import json

import pytest

from lm.analysis import curves
from lm.comparison import results, study as studies
from lm.comparison.study import Score, Task
from lm.types import UserError
from tests.comparison import study_test, terms_test

STUDY = dataclasses.replace(
  studies.parse('x.py', study_test.LISTED),
  scores=(Score('blimp', 'blimp', 'blimp'),),
  tasks=(Task('sst2', 'c.py', 'accuracy', {}),),
)


def write(path, value):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(value))


def cell(place, losses, speed=32.0):
  lines = [{'step': 1, 'split': 'train', 'tokens_per_second': speed}]
  lines += [
    {'step': 10 * step, 'split': 'eval', 'loss': loss}
    for step, loss in enumerate(losses, 1)
  ]
  place.mkdir(parents=True)
  text = ''.join(json.dumps(line) + '\n' for line in lines)
  (place / 'metrics.jsonl').write_text(text)
  return place


@pytest.mark.parametrize(
  'losses, rate',
  [
    ({1e-3: 2.0, 2e-3: 1.0, 4e-3: 3.0}, 2e-3),
    ({1e-3: 2.0, 2e-3: None, 4e-3: 1.0}, 4e-3),  # It has diverged.
    ({1e-3: 1.0, 2e-3: 1.0, 4e-3: float('inf')}, 1e-3),
    ({1e-3: 1.0}, 1e-3),
  ],
)
def test_the_rate_with_the_lowest_loss_is_taken(losses, rate):
  told = {key: results.loss_of({'loss': loss}) for key, loss in losses.items()}
  assert results.chosen_rate(told) == rate


def test_where_every_rate_fails_there_is_none():
  assert results.chosen_rate({1e-3: results.loss_of(None)}) is None


def test_a_run_is_scored_by_what_is_there(tmp_path):
  place = cell(tmp_path / 'run', [3.0, 2.0])
  assert results.scores(place, STUDY) == {'loss': 2.0}
  write(place / 'scores/blimp.json', {'accuracy': 0.6, 'form': 'pll'})
  assert results.forms(place, STUDY) == {'blimp': 'pll'}
  write(place / 'tasks/sst2/result.json', {'test': {'accuracy': 0.8}})
  assert results.scores(place, STUDY) == {
    'blimp': 0.6,
    'sst2': 0.8,
    'loss': 2.0,
  }
  answers = place / 'scores/blimp.jsonl'
  answers.write_text('{"id": "x", "right": true}\n')
  assert results.answers(place, STUDY) == {'blimp': {'x': True}}
  (place / 'scores/blimp.json').unlink()  # Killed while it was written.
  answers.write_text('{"id": "x", "ri')
  assert results.answers(place, STUDY) == {}


def test_a_curve_is_against_what_was_spent(tmp_path):
  cells = [cell(tmp_path / f'{i}', [1.0 + i, 2.0]) for i in (0, 2)]
  terms = terms_test.derive('tokens', 6400.0)
  found = results.curve([*map(curves.read, cells)], cells, terms)
  assert found['tokens'] == [
    [(640, 1.0), (1280, 2.0)],
    [(640, 3.0), (1280, 2.0)],
  ]
  assert found['flops'][0] == [(6000.0, 1.0), (12_000.0, 2.0)]
  # 64 tokens a step, at 32 a second.
  assert found['seconds'][1] == [(20.0, 3.0), (40.0, 2.0)]


def test_a_course_has_each_step_that_was_scored(tmp_path):
  [asked] = STUDY.scores
  for step, accuracy in ((20, 0.55), (5, 0.5)):
    write(
      tmp_path / f'scores/blimp/step-{step}/score.json',
      {'step': step, 'accuracy': accuracy},
    )
  write(tmp_path / 'scores/blimp.json', {'step': 40, 'accuracy': 0.6})
  found = results.course(tmp_path, asked)
  assert [*found.items()] == [(5, 0.5), (20, 0.55), (40, 0.6)]


def test_a_metric_that_is_none_is_told_with_those_there_are(tmp_path):
  write(
    tmp_path / 'scores/blimp.json', {'step': 40, 'form': 'pll', 'accuracy': 0.6}
  )
  assert results.lacking(tmp_path, STUDY) == []
  study = dataclasses.replace(
    STUDY, scores=(Score('blimp', 'blimp', 'blimp', metric='acc'),)
  )
  assert results.scores(cell(tmp_path / 'run', [1.0]), study) == {'loss': 1.0}
  assert results.course(tmp_path, study.scores[0]) == {}
  [line] = results.lacking(tmp_path, study)
  assert line == "blimp has no metric 'acc'. It has step, accuracy."


def test_answers_that_are_right_are_not_those_of_another_metric(tmp_path):
  write(tmp_path / 'scores/blimp.json', {'paradigms': {'p': 0.5}, 'other': 1})
  (tmp_path / 'scores/blimp.jsonl').write_text('{"id": "x", "right": true}\n')
  study = dataclasses.replace(
    STUDY, scores=(Score('blimp', 'blimp', 'blimp', metric='other'),)
  )
  assert results.answers(tmp_path, study) == {}
  assert results.paradigms(tmp_path, study) == {}


def test_another_study_does_not_go_where_one_is(tmp_path):
  results.check_same(tmp_path / 'new', {'seeds': 3})
  results.check_same(tmp_path / 'new', {'seeds': 3})
  with pytest.raises(UserError, match=r'holds another study:\n  seeds: 3 -> 4'):
    results.check_same(tmp_path / 'new', {'seeds': 4})


def test_more_may_be_asked_and_nothing_else(tmp_path):
  def keep(**scores):
    terms = {'seeds': 3, 'scores': scores}
    results.check_same(tmp_path, terms, growing=('scores',))

  keep(blimp={'limit': 50})
  keep(blimp={'limit': 50}, cloze={'limit': 9})
  keep()  # As without the folder of data.
  with pytest.raises(UserError, match=r'scores\.cloze\.limit: 9 -> 8'):
    keep(cloze={'limit': 8})
  with pytest.raises(UserError, match=r'scores\.blimp\.limit: 50 -> 40'):
    keep(blimp={'limit': 40})


def test_what_failed_is_told(tmp_path):
  write(tmp_path / 'cells/a/seed-0/failed.json', {'status': 2})
  assert results.failures(tmp_path) == [
    {'where': 'cells/a/seed-0', 'status': 2}
  ]
