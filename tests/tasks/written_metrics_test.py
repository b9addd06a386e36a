"""Scores of texts are those that the papers' formulas give by hand."""

import math

import pytest

from lm.tasks import metrics
from lm.types import UserError


def test_bleu_is_the_mean_of_the_precisions():
  # 5 of 6 words (one `the` too many), 3 of 5 pairs, 2 of 4, 1 of 3.
  scores = metrics.translation(
    ['the cat sat on the mat'], ['the cat sat on a mat'], 'en'
  )
  bleu = 100 * (5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25
  assert scores.values['bleu'] == pytest.approx(bleu)


def test_a_short_translation_is_punished():
  scores = metrics.translation(
    ['the cat sat on'], ['the cat sat on a mat'], 'en'
  )
  assert scores.values['bleu'] == pytest.approx(100 * math.exp(1 - 6 / 4))


def test_chrf_is_of_characters():
  # 2 of 3 characters, 1 of 2 pairs, no triple; there is nothing longer.
  scores = metrics.translation(['abc'], ['abd'], 'en')
  assert scores.values['chrf'] == pytest.approx(100 * (2 / 3 + 1 / 2) / 3)


def test_chinese_is_compared_by_characters():
  arguments = ['我喜欢猫。'], ['我喜欢狗。']
  # 4 of 5, 2 of 4, 1 of 3; of 2 none, for which half of one is counted.
  bleu = 100 * (4 / 5 * 2 / 4 * 1 / 3 * (1 / 2) / 2) ** 0.25
  for language in ('zh', 'zh-CN', 'ZH_Hant'):
    scores = metrics.translation(*arguments, language)
    assert scores.values['bleu'] == pytest.approx(bleu)
  assert metrics.translation(*arguments, 'en').values['bleu'] == 0.0


def test_marks_are_words_and_case_counts():
  same = metrics.translation(['Ein Hund bellt .'], ['Ein Hund bellt.'], 'de')
  assert same.values['bleu'] == pytest.approx(100)
  other = metrics.translation(['ein hund bellt.'], ['EIN HUND BELLT.'], 'de')
  assert other.values['bleu'] < 50


@pytest.mark.parametrize('language, tokenizer', [('de', '13a'), ('zh', 'zh')])
def test_the_signature_tells_what_another_needs_to_know(language, tokenizer):
  bleu, chrf = metrics.translation(['a'], ['a'], language).signature.split(' ')
  for part in ('BLEU|', 'nrefs:1', 'case:mixed', f'tok:{tokenizer}', 'version'):
    assert part in bleu
  for part in ('chrF2|', 'nrefs:1', 'case:mixed', 'nc:6', 'nw:0', 'version:'):
    assert part in chrf


def test_an_empty_translation_scores_0():
  for hypotheses in ([''], ['', '']):
    scores = metrics.translation(hypotheses, ['a b'] * len(hypotheses), 'en')
    assert scores.values == {'bleu': 0.0, 'chrf': 0.0}


def test_rouge_compares_stems():
  # By stems 3 of 3 and of 4 words, and 2 of 2 and of 3 pairs, are the same.
  scores = metrics.summarisation(['The cats sat.'], ['the cat sat down'])
  words, pairs = 100 * 6 / 7, 100 * 4 / 5
  expected = {'rouge1': words, 'rouge2': pairs, 'rougeL': words}
  assert scores == pytest.approx({**expected, 'rougeLsum': words})


@pytest.mark.parametrize('between', ['. ', '\n'])
def test_rouge_takes_the_union_over_sentences(between):
  # Lin 2004, section 3.2: w1 w2 w3 w5 are common to w1 ... w5 and two others.
  first, second = 'w1 w3 w8 w9 w5', 'w1 w2 w6 w7 w8'
  summary = f'{first}{between}{second}'
  scores = metrics.summarisation([summary], ['w1 w2 w3 w4 w5'])
  assert scores['rougeLsum'] == pytest.approx(100 * 2 * 4 / (5 + 10))
  # In one piece, w1 w3 w5 are all that stand in this order.
  assert scores['rougeL'] == pytest.approx(100 * 2 * 3 / (5 + 10))


def test_rouge_is_a_mean_and_an_empty_summary_scores_0():
  scores = metrics.summarisation(['one two', ''], ['one two', 'three'])
  assert scores == pytest.approx(dict.fromkeys(scores, 50.0))


def test_chinese_summaries_are_compared_by_characters():
  scores = metrics.summarisation(['我喜欢。'], ['我喜 欢猫。'], 'characters')
  assert scores['rouge1'] == pytest.approx(100 * 2 * 4 / (4 + 5))
  assert scores['rouge2'] == pytest.approx(100 * 2 * 2 / (3 + 4))


def test_replies_that_repeat_are_less_distinct():
  # 4 different among 7, I do not know; 3 among 5 pairs.
  replies = ['I do not know', 'i do not']
  assert metrics.dialogue(replies) == pytest.approx(
    {'distinct_1': 4 / 7, 'distinct_2': 3 / 5, 'reply_length': 3.5}
  )


@pytest.mark.parametrize(
  'replies, unit, expected',
  [
    (["Don't, don't!"], 'words', (5 / 8, 5 / 7, 8)),  # don ' t , don ' t !
    (['你好，你 好', ''], 'characters', (3 / 5, 3 / 4, 2.5)),
    (['', ''], 'words', (0, 0, 0)),
    (['one'], 'words', (1, 0, 1)),
  ],
)
def test_replies_are_counted_by_words_or_characters(replies, unit, expected):
  scores = metrics.dialogue(replies, unit)
  assert [*scores.values()] == pytest.approx([*expected])


@pytest.mark.parametrize(
  'score, message',
  [
    (lambda: metrics.translation(['a'], [], 'en'), '1 translations for 0'),
    (lambda: metrics.translation([], [], 'en'), 'no translations'),
    (lambda: metrics.summarisation([], ['a']), '0 summaries for 1'),
    (lambda: metrics.dialogue([]), 'no replies'),
  ],
)
def test_texts_that_cannot_be_scored_are_said(score, message):
  with pytest.raises(UserError, match=message):
    score()
