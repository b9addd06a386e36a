"""Exact match and F1 of answers found in a text, by the official rules.

    '1.1'   SQuAD (Rajpurkar et al. 2016): words; every question has an answer.
            Also for German and other languages that separate words by spaces.
    '2.0'   SQuAD 2.0 (Rajpurkar et al. 2018): some have none, written as ''.
    'cmrc'  CMRC 2018 (Cui et al. 2019) and DRCD: Chinese, by characters.

Scores are out of 100, under the names of the official programs;
docs/metrics.md explains the rules.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from absl import logging

from lm.types import UserError

Version = Literal['1.1', '2.0', 'cmrc']
Record = Mapping[str, Any]  # With `id` and `answers`, each with `text`.

_ARTICLES = re.compile(r'\b(?:a|an|the)\b')
_PUNCTUATION = str.maketrans('', '', string.punctuation)
# From CMRC's program. It compares single characters, so its two-character
# ellipsis never matches.
_CHINESE_MARKS = frozenset('-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』')
_CHINESE = re.compile('[\u4e00-\u9fa5]')
# A word or a mark in a run without Chinese: a comma belongs to a word if a
# digit follows, a full stop if anything follows in the same run.
_OTHER_WORDS = re.compile(
  r"""(?:,(?=\d)|\.(?!\s*$)|[^\s.,;@#$%&?!"()\[\]{}<>«»‘„–—])+|\S"""
)


class _Score(NamedTuple):
  """The scores of one question, from 0 to 1."""

  exact: float
  f1: float


def score(
  version: str,
  records: Sequence[Record],
  predictions: Mapping[str, str],
  no_answer_probability: Mapping[str, float] | None = None,
  no_answer_threshold: float = 1.0,
) -> dict[str, float]:
  """Returns the scores of `predictions`, as the official program prints them.

  Always `f1`, `total` (questions that count) and `missing` (those without a
  prediction), with `exact_match`, or `exact` for version 2.0. That version adds
  HasAns_ and NoAns_ scores, of questions with and without an answer, and, given
  probabilities, `best_exact` and `best_f1` with their thresholds.

  Args:
    version: The rules, a `Version`.
    records: The questions.
    predictions: The answers by `id`; '' means no answer.
    no_answer_probability: For version 2.0, by `id`.
    no_answer_threshold: Above it, an answer counts as ''.
  """
  if version not in _SCORES:
    raise UserError(
      f'There is no version {version!r} of the rules. Set config.task.version'
      f' to one of {", ".join(_SCORES)}.'
    )
  ids = [record['id'] for record in records]
  if len(set(ids)) < len(ids) or not ids:
    raise UserError(
      f'{len(ids)} questions have {len(set(ids))} different ids. Give one'
      ' question at least, and each an id of its own.'
    )
  missing = sum(id not in predictions for id in ids)
  if missing:
    logging.warning('%d of %d questions have no prediction.', missing, len(ids))
  if version == '2.0':
    return _score_v2(
      records,
      predictions,
      dict(no_answer_probability or {}),
      no_answer_threshold,
    )
  scores = [
    _best(version, _answers(record), predictions[record['id']])
    for record in records
    if record['id'] in predictions
  ]
  exact, f1 = (100 * sum(column) / len(ids) for column in _columns(scores))
  return {
    'exact_match': exact,
    'f1': f1,
    'total': float(len(ids)),
    'missing': float(missing),
  }


def _answers(record: Record) -> list[str]:
  answers = [answer['text'] for answer in record['answers']]
  if not answers:
    raise UserError(
      f'Question {record["id"]!r} has no answer, of which only version 2.0'
      " knows. Set config.task.version='2.0', or leave such questions out."
    )
  return answers


def _best(version: Version, answers: Sequence[str], prediction: str) -> _Score:
  """Returns the best score of each kind over all correct answers."""
  scores = [_SCORES[version](answer, prediction) for answer in answers]
  return _Score(*map(max, _columns(scores)))


def _columns(scores: Sequence[_Score]) -> tuple[list[float], list[float]]:
  return [score.exact for score in scores], [score.f1 for score in scores]


def normalize(text: str) -> str:
  """Returns a text as SQuAD compares it.

  That is in lower case, without ASCII punctuation, then without the words a, an
  and the, and with single spaces between words.
  """
  plain = text.lower().translate(_PUNCTUATION)
  return ' '.join(_ARTICLES.sub(' ', plain).split())


def _harmonic(same: int, expected: int, found: int) -> float:
  """Returns F1, given the counts of common, expected and found units."""
  return 2 * same / (expected + found) if same else 0.0


def _score_v1(answer: str, prediction: str) -> _Score:
  expected, found = normalize(answer), normalize(prediction)
  words = expected.split(), found.split()
  same = (Counter(words[0]) & Counter(words[1])).total()
  return _Score(float(expected == found), _harmonic(same, *map(len, words)))


def _score_one_v2(answer: str, prediction: str) -> _Score:
  scored = _score_v1(answer, prediction)
  if normalize(answer) and normalize(prediction):
    return scored
  return _Score(scored.exact, scored.exact)  # '' matches only '', and fully.


def _score_v2(
  records: Sequence[Record],
  predictions: Mapping[str, str],
  probability: Mapping[str, float],
  threshold: float,
) -> dict[str, float]:
  scored = [record for record in records if record['id'] in predictions]
  if not scored:
    raise UserError(
      f'None of {len(records)} questions has a prediction: the first is'
      f' {records[0]["id"]!r}. Give predictions by the ids of the questions.'
    )
  without = [
    r['id'] for r in scored if probability and r['id'] not in probability
  ]
  if without:
    raise UserError(
      f'{len(without)} questions have no probability of no answer, the first is'
      f' {without[0]!r}. Give one for each, or for none.'
    )
  has_answer = {record['id']: bool(record['answers']) for record in scored}
  raw = {}
  for record in scored:
    # An answer of articles and punctuation alone is none.
    answers = [answer['text'] for answer in record['answers']]
    answers = [text for text in answers if normalize(text)] or ['']
    raw[record['id']] = _best('2.0', answers, predictions[record['id']])
  final = {
    id: _Score(*(float(not has_answer[id]),) * 2)
    if probability.get(id, 0.0) > threshold
    else scores
    for id, scores in raw.items()
  }
  result = _mean(list(final.values()))
  for prefix, wanted in (('HasAns', True), ('NoAns', False)):
    some = [final[id] for id in final if has_answer[id] is wanted]
    if some:
      means = _mean(some)
      result |= {f'{prefix}_{name}': mean for name, mean in means.items()}
  if probability:
    for name, column in (('exact', 0), ('f1', 1)):
      gains = {
        id: raw[id][column] if has_answer[id] else -float(predictions[id] != '')
        for id in probability
        if id in raw
      }
      best, where = _best_threshold(gains, probability)
      none = sum(not some for some in has_answer.values())
      result[f'best_{name}'] = 100 * (none + best) / len(raw)
      result[f'best_{name}_thresh'] = where
  return {**result, 'missing': float(len(records) - len(scored))}


def _mean(scores: Sequence[_Score]) -> dict[str, float]:
  exact, f1 = (100 * sum(of) / len(scores) for of in _columns(scores))
  return {'exact': exact, 'f1': f1, 'total': float(len(scores))}


def _best_threshold(
  gains: Mapping[str, float], probability: Mapping[str, float]
) -> tuple[float, float]:
  """Returns the largest gain of answering over '' for all, and its threshold.

  Like the official program, it may separate questions of equal probability.

  Args:
    gains: The gain from answering each question.
    probability: The probability of no answer, by which questions are ordered.
  """
  total, best, threshold = 0.0, 0.0, 0.0
  for id in sorted(gains, key=lambda id: probability[id]):
    total += gains[id]
    if total > best:
      best, threshold = total, probability[id]
  return best, float(threshold)


def _score_chinese(answer: str, prediction: str) -> _Score:
  expected, found = _without_marks(answer), _without_marks(prediction)
  units = _chinese_units(expected), _chinese_units(found)
  same = _longest_common_run(*units)
  return _Score(float(expected == found), _harmonic(same, *map(len, units)))


def _without_marks(text: str) -> str:
  kept = (c for c in text.lower().strip() if c not in _CHINESE_MARKS)
  return ''.join(kept)


def _chinese_units(text: str) -> list[str]:
  """Returns each Chinese character, and each word between them."""
  units, rest = [], ''
  for character in text:
    if _CHINESE.match(character):
      units += [*_OTHER_WORDS.findall(rest), character]
      rest = ''
    else:
      rest += character
  return units + _OTHER_WORDS.findall(rest)


def _longest_common_run(first: Sequence[str], second: Sequence[str]) -> int:
  """Returns the length of the longest common contiguous sequence."""
  longest, before = 0, [0] * (len(second) + 1)
  for unit in first:
    row = [0]
    for column, other in enumerate(second):
      row.append(before[column] + 1 if unit == other else 0)
    longest, before = max(longest, *row), row
  return longest


_SCORES: Mapping[str, Callable[[str, str], _Score]] = {
  '1.1': _score_v1,
  '2.0': _score_one_v2,
  'cmrc': _score_chinese,
}
