"""Answers are scored as the official programs of SQuAD and CMRC score them.

The numbers are worked out by hand from those programs' rules, or are those of
`slow_*` below, which find the same in another way.
"""

import itertools
import json
import random
import string

import pytest

from lm.tasks import squad
from lm.types import UserError


def records(*answers):
  return [
    {'id': str(i), 'answers': [{'text': text, 'start': 0} for text in texts]}
    for i, texts in enumerate(answers)
  ]


def score_one(version, answers, prediction):
  scores = squad.score(version, records(answers), {'0': prediction})
  return scores['exact' if version == '2.0' else 'exact_match'], scores['f1']


@pytest.mark.parametrize(
  'text, plain',
  [
    ('The  Cat,\tsat!', 'cat sat'),
    ('An anthem of a band', 'anthem of band'),
    ('U.S.', 'us'),
    ('the-end', 'theend'),  # Marks go first, and then there is no `the`.
    ('a.n', ''),
    ('«Die Straße»', '«die straße»'),  # Only the marks of ASCII go.
    ('“a”', '“ ”'),
    ('ÄRGER', 'ärger'),
    ('thé', 'thé'),
    ('', ''),
  ],
)
def test_a_text_is_normalized_in_this_order(text, plain):
  assert squad.normalize(text) == plain


V1 = [
  (['Denver Broncos'], 'the denver broncos.', 100, 100),
  (['Denver Broncos'], 'Broncos', 0, 100 * 2 / 3),
  (['cat cat dog'], 'cat dog dog', 0, 100 * 2 / 3),  # As multisets.
  (['one two', 'three'], 'three', 100, 100),  # The best of all answers.
  # Exact match with one answer, and F1 with another, is allowed.
  (['one two three four', 'five'], 'two three', 0, 100 * 2 / 3),
  (['one'], '', 0, 0),
  (['in den Bergen'], 'Die Bergen', 0, 100 * 2 / 5),  # German articles stay.
  (['東京'], '東京。', 0, 0),  # Not a mark of ASCII.
  (['Zürich'], 'zu\u0308rich', 0, 0),  # Unicode is not normalized.
  (['the'], '', 100, 0),  # Both are empty: the same, but no word is shared.
]


@pytest.mark.parametrize('answers, prediction, exact, f1', V1)
def test_answers_score_by_the_rules_of_1_1(answers, prediction, exact, f1):
  assert score_one('1.1', answers, prediction) == pytest.approx((exact, f1))


@pytest.mark.parametrize('version', ['1.1', 'cmrc'])
def test_a_question_without_prediction_scores_0(version):
  rows = records(['one'], ['two'], ['three'], ['four'])
  scores = squad.score(version, rows, {'0': 'one', '3': 'one', '9': 'x'})
  expected = {'exact_match': 25, 'f1': 25, 'total': 4, 'missing': 2}
  assert scores == pytest.approx(expected)
  nothing = squad.score(version, rows, {})
  assert nothing == {'exact_match': 0, 'f1': 0, 'total': 4, 'missing': 4}


V2 = [
  *V1[:-1],
  (['the'], '', 100, 100),  # No word is left of the answer: there is none.
  (['the', 'one'], '', 0, 0),  # But then only the other one counts.
  (['the', 'one'], 'one', 100, 100),
  ([], '', 100, 100),
  ([], 'a', 100, 100),
  ([], '...', 100, 100),
  ([], 'one', 0, 0),
  (['one'], 'the', 0, 0),
]


@pytest.mark.parametrize('answers, prediction, exact, f1', V2)
def test_answers_score_by_the_rules_of_2_0(answers, prediction, exact, f1):
  assert score_one('2.0', answers, prediction) == pytest.approx((exact, f1))


def test_2_0_skips_questions_without_prediction_and_parts_the_others():
  rows = records(['one two'], ['three'], [], [], ['four'])
  predictions = {'0': 'one', '1': 'three', '2': '', '3': 'five'}
  scores = squad.score('2.0', rows, predictions)
  f1 = 100 * 2 / 3
  assert scores == pytest.approx(
    {
      'exact': 50,
      'f1': (f1 + 100 + 100 + 0) / 4,
      'total': 4,
      'HasAns_exact': 50,
      'HasAns_f1': (f1 + 100) / 2,
      'HasAns_total': 2,
      'NoAns_exact': 50,
      'NoAns_f1': 50,
      'NoAns_total': 2,
      'missing': 1,
    }
  )
  answered = squad.score('2.0', rows[:2], predictions)
  assert not any(name.startswith('NoAns') for name in answered)


def test_a_probability_beyond_the_threshold_counts_as_no_answer():
  rows = records(['one'], [], ['two'], [])
  predictions = {'0': 'one', '1': 'three', '2': 'two', '3': 'four'}
  chances = {'0': 0.2, '1': 0.6, '2': 0.8, '3': 0.5}
  scores = squad.score('2.0', rows, predictions, chances, 0.5)
  # Right: 0 is answered, 1 is not. Wrong: 2 is not, and 3, at 0.5, is.
  assert scores['exact'] == scores['f1'] == 50
  whole = squad.score('2.0', rows, predictions, chances)
  assert whole['exact'] == 50  # 0 and 2.


def test_the_best_threshold_is_found():
  rows = records(['one two'], [], ['three'], [], ['four'])
  predictions = {'0': 'one', '1': 'x', '2': 'three', '3': '', '4': 'five'}
  chances = {'4': 0.9, '3': 0.7, '2': 0.5, '1': 0.3, '0': 0.1}
  scores = squad.score('2.0', rows, predictions, chances)
  # Nothing answered 2; 0: exact 0, F1 2/3; 1: -1; 2: +1; 3: 0; 4: 0.
  assert scores['best_exact'] == pytest.approx(100 * 2 / 5)
  assert scores['best_exact_thresh'] == 0.0
  assert scores['best_f1'] == pytest.approx(100 * (2 + 2 / 3) / 5)
  assert scores['best_f1_thresh'] == 0.1
  without = squad.score('2.0', rows, predictions)
  assert 'best_f1' not in without


def test_questions_of_one_probability_count_in_the_order_given():
  rows, predictions = records(['one'], []), {'0': 'one', '1': 'two'}
  for order, best in (('01', 100), ('10', 50)):  # 1 and +1 -1, or -1 +1.
    chances = dict.fromkeys(order, 0.5)
    scores = squad.score('2.0', rows, predictions, chances)
    assert scores['best_f1'] == best


CHINESE = [
  (['北京大学'], '北京大学。', 100, 100),
  (['《红楼梦》'], '红楼梦', 100, 100),
  (['红楼梦'], '红 楼 梦', 0, 100),  # Spaces part nothing, but differ.
  (['北京大学'], '在北京的大学', 0, 100 * 2 * 2 / 10),  # 北京, in one piece.
  (['北京大学'], '学大京北', 0, 100 * 2 * 1 / 8),
  (['中国'], '日本', 0, 0),
  (['中国', '日本'], '日本人', 0, 100 * 2 * 2 / 5),
  (['iPhone 手机'], 'IPHONE手机', 0, 100),  # A word of Latin letters is one.
  (['Wi-Fi'], 'wifi', 100, 100),
  (['3,000 人'], '约3,000人', 0, 100 * 2 * 2 / 5),  # 约 | 3,000 | 人
  (['2,000 人'], '3,000 人', 0, 100 * 2 * 1 / 4),
  (['U.S. Army, yes.'], 'army', 0, 100 * 2 * 1 / 6),  # u.s. army , yes .
  (['1998–2004'], '1998', 0, 100 * 2 * 1 / 4),
  (['是…的'], '是的', 0, 100 * 2 * 1 / 5),  # An ellipsis is not removed.
  (['中国'], '', 0, 0),
  (['。'], '', 100, 0),  # Nothing is left of either.
]


@pytest.mark.parametrize('answers, prediction, exact, f1', CHINESE)
def test_chinese_answers_score_by_the_rules_of_cmrc(
  answers, prediction, exact, f1
):
  assert score_one('cmrc', answers, prediction) == pytest.approx((exact, f1))


def slow_words(text):
  """Normalizes by characters and words, without expressions."""
  kept = [c for c in text.lower() if c not in string.punctuation]
  # An article is what no letter, digit or underscore touches.
  runs = itertools.groupby(kept, lambda c: c.isalnum() or c == '_')
  runs = [''.join(run) for _, run in runs]
  articles = ('a', 'an', 'the')
  return ''.join(' ' if run in articles else run for run in runs).split()


def slow_f1(expected, found):
  """Merges two sorted lists to count what both have."""
  one, other, same = sorted(expected), sorted(found), 0
  while one and other:
    if one[-1] == other[-1]:
      same += 1
      one.pop()
      other.pop()
    elif one[-1] > other[-1]:
      one.pop()
    else:
      other.pop()
  if not same:
    return 0.0
  precision, recall = same / len(found), same / len(expected)
  return 200 * precision * recall / (precision + recall)


def slow_run(expected, found):
  """Looks for every part of one text in another."""
  parts = {
    expected[i:j]
    for i in range(len(expected))
    for j in range(i + 1, len(expected) + 1)
  }
  return max((len(part) for part in parts if part in found), default=0)


@pytest.mark.parametrize('version', ['1.1', '2.0'])
def test_words_score_as_slow_counting_does(version):
  rng = random.Random(0)
  pieces = ['a', 'the', 'an', 'b', 'C', 'B', 'é', '.', '-', ' ', ' ', '\n', '_']
  for _ in range(500):
    answer, prediction = (
      ''.join(rng.choices(pieces, k=rng.randrange(12))) for _ in range(2)
    )
    expected, found = slow_words(answer), slow_words(prediction)
    f1 = slow_f1(expected, found)
    if version == '2.0' and not (expected and found):
      f1 = 100.0 * (expected == found)
    exact = 100.0 * (expected == found)
    got = score_one(version, [answer], prediction)
    assert got == pytest.approx((exact, f1)), (answer, prediction)


def test_chinese_scores_as_slow_search_does():
  rng = random.Random(0)
  for _ in range(500):
    answer, prediction = (
      ''.join(rng.choices('中国人民。，', k=rng.randrange(9))) for _ in range(2)
    )
    expected, found = (
      ''.join(c for c in text if c not in '。，')
      for text in (answer, prediction)
    )
    both = len(expected) + len(found)
    f1 = 200 * slow_run(expected, found) / max(both, 1)
    exact = 100.0 * (expected == found)
    assert score_one('cmrc', [answer], prediction) == pytest.approx((exact, f1))


def test_the_best_threshold_is_that_of_trying_all():
  rng = random.Random(0)
  for _ in range(100):
    rows = records(
      *(['one two'] if rng.random() < 0.6 else [] for _ in '12345')
    )
    answers = {
      row['id']: rng.choice(['', 'one', 'one two', 'x']) for row in rows
    }
    shuffled = rng.sample(range(1, 10), len(rows))  # No two are the same.
    chances = {row['id']: n / 10 for row, n in zip(rows, shuffled)}
    found = squad.score('2.0', rows, answers, chances)
    for name in ('exact', 'f1'):
      tried = {
        limit: squad.score('2.0', rows, answers, chances, limit)[name]
        for limit in (0.0, *chances.values())
      }
      assert found[f'best_{name}'] == pytest.approx(max(tried.values()))
      limit = found[f'best_{name}_thresh']
      assert tried[limit] == pytest.approx(max(tried.values()))


@pytest.mark.parametrize(
  'version, answers, predictions, chances, message',
  [
    ('1.0', [['a']], {'0': 'a'}, None, r"'1\.0'.*config\.task\.version"),
    ('1.1', [['a'], []], {'0': 'a', '1': ''}, None, "'1' has no answer"),
    ('cmrc', [[]], {'0': ''}, None, "version='2.0'"),
    ('1.1', [], {}, None, '0 questions'),
    ('2.0', [['a']], {'x': 'a'}, None, "None of 1 questions.*'0'"),
    ('2.0', [['a'], []], {'0': '', '1': ''}, {'0': 0.5}, "first is '1'"),
  ],
)
def test_what_cannot_be_scored_is_said(
  version, answers, predictions, chances, message
):
  with pytest.raises(UserError, match=message):
    squad.score(version, records(*answers), predictions, chances)


def test_an_id_is_of_one_question():
  rows = records(['a'], ['b'])
  rows[1]['id'] = '0'
  with pytest.raises(UserError, match='2 questions have 1 different ids'):
    squad.score('1.1', rows, {'0': 'a'})


def read(path):
  articles = json.loads(path.read_text())['data']
  paragraphs = [each for article in articles for each in article['paragraphs']]
  return [
    {**question, 'context': paragraph['context']}
    for paragraph in paragraphs
    for question in paragraph['qas']
  ]


@pytest.mark.parametrize(
  'file, version',
  [
    ('xquad/xquad.en.json', '1.1'),
    ('xquad/xquad.de.json', '1.1'),
    ('xquad/xquad.zh.json', 'cmrc'),
    ('squad2_dev_half/dev-v2.0.json', '2.0'),
  ],
)
def test_the_answers_of_real_questions_are_right(shared, file, version):
  rows = read(shared / 'data' / file)
  answers = {
    row['id']: row['answers'][0]['text'] if row['answers'] else ''
    for row in rows
  }
  scores = squad.score(version, rows, answers)
  assert scores['exact' if version == '2.0' else 'exact_match'] == 100
  assert scores['f1'] == 100
