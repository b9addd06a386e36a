"""Metrics of classes and entities are those of hand-made counts."""

import math
import re

import numpy as np
import pytest

from lm.tasks import metrics
from lm.types import UserError

HALF = {  # Two of three found, one of three wrong.
  'labels': [1, 1, 0, 0, 1],
  'predictions': [1, 0, 1, 0, 1],
}
THREE = {'labels': [0, 1, 2, 2], 'predictions': [0, 2, 2, 2]}
GLUE = {
  # 2 true positives, 1 false, 1 missed, no true negative: -1 / sqrt(3 3 1 1).
  'cola': ([1, 1, 1, 0], [1, 0, 1, 1], {'matthews': -1 / 3}),
  'sst2': ([1, 0, 0, 1], [1, 1, 0, 1], {'accuracy': 3 / 4}),
  'mrpc': (*HALF.values(), {'f1': 2 / 3, 'accuracy': 3 / 5}),
  'qqp': (*HALF.values(), {'f1': 2 / 3, 'accuracy': 3 / 5}),
  # Deviations -2 to 2 with -1.6, -.6, .4, 1.4, .4; ranks 1, 2, 3.5, 5, 3.5.
  'stsb': (
    [1.0, 2.0, 3.0, 4.0, 5.0],
    [5.0, 6.0, 7.0, 8.0, 7.0],
    {'pearson': 6 / math.sqrt(52), 'spearman': 8 / math.sqrt(95)},
  ),
  'mnli': (*THREE.values(), {'accuracy': 3 / 4}),
  'mnli_matched': (*THREE.values(), {'accuracy': 3 / 4}),
  'mnli_mismatched': (*THREE.values(), {'accuracy': 3 / 4}),
  'qnli': ([1, 0], [1, 1], {'accuracy': 1 / 2}),
  'rte': ([1, 0], [0, 1], {'accuracy': 0.0}),
  'wnli': ([1, 0], [1, 0], {'accuracy': 1.0}),
}


def test_all_tasks_of_glue_are_here():
  assert metrics.GLUE.keys() == GLUE.keys()


@pytest.mark.parametrize('task', GLUE)
@pytest.mark.parametrize('of', [list, np.array])
def test_a_task_of_glue_reports_its_metrics(task, of):
  labels, predictions, expected = GLUE[task]
  scores = metrics.classification(of(labels), of(predictions), glue=task)
  assert scores == pytest.approx(expected)
  assert all(type(score) is float for score in scores.values())


@pytest.mark.parametrize(
  'task, no, yes',
  [
    ('mrpc', 'not_equivalent', 'equivalent'),
    ('qqp', 'not_duplicate', 'duplicate'),
    ('qqp', '0', '1'),
  ],
)
def test_glue_reports_f1_of_its_positive_label_in_whatever_order(task, no, yes):
  labels, predictions = (
    np.array([no, yes])[HALF[key]].tolist() for key in HALF
  )
  for classes in ((no, yes), (yes, no)):
    scores = metrics.classification(labels, predictions, classes, task)
    assert scores == pytest.approx({'f1': 2 / 3, 'accuracy': 3 / 5})


def test_glue_cannot_report_f1_of_labels_that_it_does_not_know():
  with pytest.raises(UserError, match=r"'equivalent'.*config\.task\.labels"):
    metrics.classification(['a', 'b'], ['a', 'b'], ('a', 'b'), 'mrpc')


def test_f1_is_of_the_second_of_two_classes():
  labels = ['好', '好', '好', '差']
  predictions = ['好', '好', '差', '差']
  scores = metrics.classification(labels, predictions, ('差', '好'))
  # Of 好: 2 found, none wrong, 1 missed; of 差: 1 found, 1 wrong.
  good, bad = 4 / 5, 2 / 3
  expected = {'accuracy': 3 / 4, 'f1': good, 'macro_f1': (good + bad) / 2}
  assert scores == pytest.approx(expected)
  other = metrics.classification(labels, predictions, ('好', '差'))
  assert other == pytest.approx({**expected, 'f1': bad})


def test_of_several_classes_each_counts_alike_for_f1():
  scores = metrics.classification([0, 0, 0, 1, 2], [0, 0, 1, 1, 0])
  # 2 found, 1 wrong, 1 missed; 1 found, 1 wrong; nothing found.
  f1 = (4 / 6 + 2 / 3 + 0) / 3
  assert scores == pytest.approx({'accuracy': 3 / 5, 'macro_f1': f1})


def test_an_answer_that_is_no_class_is_wrong_and_no_class_of_its_own():
  labels, predictions = ['yes', 'no', 'no'], ['yes', '', 'perhaps']
  scores = metrics.classification(labels, predictions, ('no', 'yes'))
  expected = {'accuracy': 1 / 3, 'f1': 1.0, 'macro_f1': 1 / 2}
  assert scores == pytest.approx(expected)


@pytest.mark.parametrize(
  'labels, predictions, task, expected',
  [
    ([0, 1], [1, 1], 'cola', {'matthews': 0.0}),
    ([1, 1], [1, 1], 'cola', {'matthews': 0.0}),
    ([0, 0], [0, 0], 'mrpc', {'f1': 0.0, 'accuracy': 1.0}),
    ([0, 1], [0, 0], 'qqp', {'f1': 0.0, 'accuracy': 0.5}),
    ([1.0, 2.0], [3.0, 3.0], 'stsb', {'pearson': 0.0, 'spearman': 0.0}),
    ([2.0, 2.0], [3.0, 4.0], 'stsb', {'pearson': 0.0, 'spearman': 0.0}),
    ([2.0], [3.0], 'stsb', {'pearson': 0.0, 'spearman': 0.0}),
    ([1.0, 2.0, 3.0], [2.0, 2.0 + 1e-15, 2.0], 'stsb', {}),
    ([0], [0], '', {'accuracy': 1.0, 'macro_f1': 1.0}),
    ([*range(30)], [*range(30)], '', {'accuracy': 1.0, 'macro_f1': 1.0}),
  ],
)
def test_what_is_not_defined_is_0_and_nothing_warns(
  labels, predictions, task, expected
):
  scores = metrics.classification(labels, predictions, (), task)
  assert {name: scores[name] for name in expected} == expected
  assert np.isfinite([*scores.values()]).all()


def counted(labels, predictions, label):
  found = missed = wrong = neither = 0
  for one, other in zip(labels, predictions):
    found += one == label == other
    missed += one == label != other
    wrong += one != label == other
    neither += one != label != other
  return found, missed, wrong, neither


@pytest.mark.parametrize('seed', range(20))
def test_classes_are_scored_as_counting_does(seed):
  rng = np.random.default_rng(seed)
  labels, predictions = rng.integers(0, 2, (2, 12)).tolist()
  found, missed, wrong, neither = counted(labels, predictions, 1)
  scores = metrics.classification(labels, predictions, (0, 1))
  assert scores['accuracy'] == pytest.approx((found + neither) / 12)
  f1 = 2 * found / max(2 * found + missed + wrong, 1)
  assert scores['f1'] == pytest.approx(f1)
  sums = found + missed, found + wrong, neither + missed, neither + wrong
  matthews = (found * neither - missed * wrong) / math.sqrt(
    math.prod(sums) or 1
  )
  scores = metrics.classification(labels, predictions, glue='cola')
  assert scores['matthews'] == pytest.approx(matthews)


@pytest.mark.parametrize(
  'arguments, message',
  [
    (([0, 1], [0]), '1 predictions for 2 examples'),
    (([], []), 'no predictions to score'),
    ((['a', 'b'], [0, 1]), "label is 'a', a prediction 0"),
    (([0, 1], [0, 1], ('a', 'b')), "a class 'a'"),
    (([0, 1], [0, 1], (), 'sst'), r"'sst'.*config\.task\.glue.*sst2"),
    (([0.0, 1.0], [0.0, math.nan], (), 'stsb'), 'prediction is no finite'),
    ((['a', 'b'], ['a', 'b'], (), 'stsb'), 'label is no finite'),
  ],
)
def test_what_cannot_be_scored_is_said(arguments, message):
  with pytest.raises(UserError, match=message):
    metrics.classification(*arguments)


def test_entities_are_scored_as_seqeval_shows_it():
  # The example of its README: of two entities one is right.
  gold = [
    ['O', 'O', 'O', 'B-MISC', 'I-MISC', 'I-MISC', 'O'],
    ['B-PER', 'I-PER', 'O'],
  ]
  found = [
    ['O', 'O', 'B-MISC', 'I-MISC', 'I-MISC', 'I-MISC', 'O'],
    ['B-PER', 'I-PER', 'O'],
  ]
  expected = {'f1': 0.5, 'precision': 0.5, 'recall': 0.5, 'lost_to_length': 0}
  for metric in ('f1', 'precision', 'recall'):
    expected |= {f'{metric}_MISC': 0.0, f'{metric}_PER': 1.0}
  assert metrics.entities(gold, found) == pytest.approx(expected)


def test_an_entity_that_does_not_begin_is_none():
  # Of the same README: by conlleval's rule it would be right.
  scores = metrics.entities([['B-NP', 'I-NP', 'O']], [['I-NP', 'I-NP', 'O']])
  assert scores['f1'] == 0.0


@pytest.mark.parametrize(
  'length, found, lost', [(6, 3, 0), (5, 2, 1), (4, 2, 1), (2, 1, 2), (0, 0, 3)]
)
def test_entities_beyond_the_end_are_lost_and_missed(length, found, lost):
  tags = ['B-组织', 'I-组织', 'B-PER', 'O', 'B-PER', 'I-PER']
  scores = metrics.entities([tags, ['O']], [tags[:length], []])
  cut = length == 5  # The last entity is predicted, but shorter.
  assert scores['lost_to_length'] == lost
  assert scores['recall'] == pytest.approx(found / 3)
  assert scores['precision'] == pytest.approx(found / max(found + cut, 1))


@pytest.mark.parametrize(
  'gold, found, f1',
  [
    ([['O']], [['O']], {'f1': 0.0}),
    ([[]], [[]], {'f1': 0.0}),
    ([['O']], [['B-A']], {'f1': 0.0}),
    ([['B-A']], [['O']], {'f1': 0.0, 'f1_A': 0.0}),
    ([['I-A']], [['B-B']], {'f1': 0.0}),
    ([['B-a-b', 'O']], [['B-a-b', 'B-c']], {'f1': 2 / 3, 'f1_a-b': 1.0}),
  ],
)
def test_sentences_without_entities_are_no_exception(gold, found, f1):
  scores = metrics.entities(gold, found)
  scores = {name: each for name, each in scores.items() if 'f1' in name}
  assert scores == pytest.approx(f1)


def spans(tags):
  """Returns entities as the matches of an expression in a text of the tags."""
  text = ''.join(tag[-1] if tag[0] == 'B' else tag[-1].lower() for tag in tags)
  found = re.finditer('Xx*|Yy*', text)
  return {(match.start(), match.end(), match[0][0]) for match in found}


@pytest.mark.parametrize('seed', range(20))
def test_entities_are_those_that_an_expression_matches(seed):
  rng = np.random.default_rng(seed)
  tags = np.array(['O', 'B-X', 'I-X', 'B-Y', 'I-Y'])
  gold, found = (tags[rng.integers(0, 5, 30)].tolist() for _ in range(2))
  one, other = spans(gold), spans(found)
  right = len(one & other)
  scores = metrics.entities([gold], [found])
  assert scores['recall'] == pytest.approx(right / len(one))
  assert scores['precision'] == pytest.approx(right / len(other))


@pytest.mark.parametrize(
  'gold, found, message',
  [
    ([['O']], [['O', 'O']], 'Sentence 0 has 1 tags, and 2'),
    ([['O'], ['S-PER']], [['O'], ['O']], "Sentence 1 has the tag 'S-PER'"),
    ([['O']], [['PER']], "'PER'"),
    ([['O']], [], '0 tagged sentences for 1'),
  ],
)
def test_tags_that_cannot_be_scored_are_said(gold, found, message):
  with pytest.raises(UserError, match=message):
    metrics.entities(gold, found)
