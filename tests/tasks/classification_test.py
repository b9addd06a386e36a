import json
import math

import numpy as np
import pytest

from lm.data import tokenizers
from lm.tasks.classification import classification
from lm.tasks.task import Answers, Reader
from lm.types import UserError

TEXTS = ('a fine film', 'a bad film', 'it was fine', 'it was bad', 'so so')
LABELS = ('good', 'poor', 'good', 'poor', 'poor')
ROWS = [
  {'id': str(n), 'where': f'x:{n}', 'text': text, 'label': label}
  for n, (text, label) in enumerate(zip(TEXTS, LABELS))
]


def reader(objective='label', form='causal', length=32):
  tokenizer = tokenizers.train('bytes', TEXTS)
  return Reader(tokenizer, form, objective, length, 16)


def task(objective='label', form='causal', rows=ROWS, **settings):
  return classification(reader(objective, form), lambda: rows, **settings)


def test_a_row_ends_and_has_the_number_of_its_label():
  table = task().encode(ROWS)
  row = table.ragged['tokens']['tokens'].row(0)
  assert bytes(row[:-1].tolist()) == b'a fine film' and row[-1] == 256
  np.testing.assert_array_equal(table.single['label'], [0, 1, 0, 1, 1])
  np.testing.assert_array_equal(table.single['label_weights'], np.ones(5))


def test_a_class_counts_as_much_as_the_config_says():
  table = task(class_weights=(3.0, 0.5)).encode(ROWS)
  np.testing.assert_array_equal(
    table.single['label_weights'], [3, 0.5, 3, 0.5, 0.5]
  )


def test_a_text_without_a_label_weighs_nothing():
  rows = [ROWS[0], {'id': '9', 'where': 'y:1', 'text': 'new'}]
  table = task().encode(rows)
  np.testing.assert_array_equal(table.single['label_weights'], [1, 0])


def test_labels_are_those_of_the_training_data_unless_they_are_given():
  assert task().taken == {'labels': ('good', 'poor')}
  given = ('poor', 'good', 'fair')
  found = task(labels=given)
  assert found.num_labels == 3
  np.testing.assert_array_equal(
    found.encode(ROWS).single['label'], [1, 0, 1, 0, 0]
  )


def test_the_highest_score_is_the_prediction_and_all_add_up_to_one():
  made = task().predict(
    ROWS[:1], None, Answers({'label': [np.array([0.0, 2.0], np.float32)]})
  )
  share = 1 / (1 + math.exp(-2))
  assert made[0]['id'] == '0' and made[0]['prediction'] == 'poor'
  assert made[0]['probabilities'] == pytest.approx(
    {'good': 1 - share, 'poor': share}, abs=1e-5
  )
  json.dumps(made)


def test_predictions_are_scored_by_accuracy_and_f1():
  found = task()
  made = [{'prediction': label} for label in ('good', *LABELS[:2], *LABELS[3:])]
  # good good poor poor poor beside good poor good poor poor
  scores = found.score(ROWS, made)
  assert scores['accuracy'] == pytest.approx(3 / 5)
  assert scores['f1'] == pytest.approx(2 / 3)  # Of 'poor': 2 of 3 and 2 of 3.


def test_pairs_of_numbers_are_a_regression():
  rows = [
    {'id': '0', 'where': 'x:1', 'text': 'a', 'text_pair': 'b', 'label': 3.2},
    {'id': '1', 'where': 'x:2', 'text': 'a', 'text_pair': 'c', 'label': 1.0},
  ]
  found = task(rows=rows, glue='stsb')
  table = found.encode(rows)
  assert table.single['label'].dtype == np.float32
  assert found.num_labels == 1
  scores = [np.array([2.0]), np.array([1.0])]
  made = found.predict(rows, table, Answers({'label': scores}))
  assert [one['prediction'] for one in made] == [2.0, 1.0]
  assert found.score(rows, made)['pearson'] == pytest.approx(1)


@pytest.mark.parametrize('form', ['causal', 'encoder_decoder'])
def test_in_words_the_name_of_the_class_is_written(form):
  found = task(
    'answers', form, template='review: {text}', names=('positive', 'negative')
  )
  table = found.encode(ROWS)
  source = table.ragged['source']['source'].row(1)
  target = table.ragged['target']['target'].row(1)
  assert bytes(source[:-1].tolist()) == b'review: a bad film'
  assert bytes(target[:-1].tolist()) == b'negative'
  assert source[-1] == target[-1] == 256
  texts = ['positive', ' negative ', 'no idea', '', 'negative']
  made = found.predict(ROWS, table, Answers(texts=texts))
  assert [one['prediction'] for one in made] == ['good', 'poor', '', '', 'poor']
  # What is no class is wrong.
  assert found.score(ROWS, made)['accuracy'] == pytest.approx(3 / 5)


def test_t5_writes_a_number_in_steps_of_a_fifth():
  rows = [
    {'id': '0', 'where': 'x:1', 'text': 'a', 'text_pair': 'b', 'label': 3.27}
  ]
  found = task(
    'answers',
    rows=rows,
    glue='stsb',
    template='stsb sentence1: {text} sentence2: {text_pair}',
  )
  table = found.encode(rows)
  target = table.ragged['target']['target'].row(0)
  assert bytes(target[:-1].tolist()) == b'3.2'
  made = found.predict(rows, table, Answers(texts=['2.6']))
  assert made[0]['prediction'] == 2.6


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'labels': ('one',)}, 'nothing to tell apart'),
    ({'class_weights': (1.0,)}, r'config\.task\.class_weights has 1 values'),
    ({'glue': 'sst3'}, 'sst3'),
    ({'names': ('a', 'b', 'c')}, r'config\.task\.names has 3'),
  ],
)
def test_what_does_not_fit_is_refused(settings, message):
  with pytest.raises(UserError, match=message):
    task(**settings)


def test_a_template_with_another_field_is_refused():
  found = task('answers', template='{text} {headline}')
  with pytest.raises(UserError, match=r'config\.task\.template'):
    found.encode(ROWS)
  with pytest.raises(UserError, match='cannot be done with objective'):
    task('tags')
