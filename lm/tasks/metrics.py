"""The metrics of each application, computed by the field's own libraries.

Accuracy, F1, correlations and distinct-n are at most 1; BLEU, chrF and ROUGE
are out of 100, as usually reported. docs/metrics.md has the exact definitions.
Nothing here warns: a score that is undefined is 0.
"""

import re
import warnings
from collections.abc import Callable, Mapping, Sequence, Sized
from typing import Any, Literal, NamedTuple

import numpy as np

from lm.types import UserError

Labels = Sequence[Any] | np.ndarray
# What is counted: words and punctuation marks, or, in a language without
# spaces, characters.
Unit = Literal['words', 'characters']

# What the GLUE benchmark (Wang et al. 2019, table 1) reports for each task.
GLUE: Mapping[str, tuple[str, ...]] = {
  'cola': ('matthews',),
  'sst2': ('accuracy',),
  'mrpc': ('f1', 'accuracy'),
  'qqp': ('f1', 'accuracy'),
  'stsb': ('pearson', 'spearman'),
  'mnli': ('accuracy',),
  'mnli_matched': ('accuracy',),
  'mnli_mismatched': ('accuracy',),
  'qnli': ('accuracy',),
  'rte': ('accuracy',),
  'wnli': ('accuracy',),
}
# The label whose F1 GLUE reports; in its files it is 1.
GLUE_POSITIVE = {
  'mrpc': ('equivalent', '1'),
  'qqp': ('duplicate', '1'),
}
# Sacrebleu's tokenizer for a language, if it is not 13a.
BLEU_TOKENIZERS = {'zh': 'zh', 'ja': 'char', 'th': 'char'}


class Scores(NamedTuple):
  """Scores, and what is needed to reproduce them.

  Attributes:
    values: The scores by name, out of 100.
    signature: Sacrebleu's signatures, one for each score, joined by spaces.
  """

  values: dict[str, float]
  signature: str


def _check_pairs(expected: Sized, found: Sized, what: str) -> None:
  if len(expected) != len(found):
    raise UserError(
      f'There are {len(found)} {what} for {len(expected)} examples. Give one'
      ' for each, in the same order.'
    )
  if not len(expected):
    raise UserError(
      f'There are no {what} to score. Set config.data so that what is'
      ' evaluated on has an example at least.'
    )


def check_glue(task: str) -> None:
  """Raises UserError if `task` is neither a GLUE task nor ''."""
  if task and task not in GLUE:
    raise UserError(
      f'There is no task {task!r} of GLUE. Set config.task.glue to one of'
      f" {', '.join(GLUE)}, or to '' for accuracy and F1."
    )


def classification(
  labels: Labels,
  predictions: Labels,
  classes: Sequence[Any] = (),
  glue: str = '',
) -> dict[str, float]:
  """Returns accuracy and F1, or what GLUE reports for a task.

  `f1` is that of the second of two classes, or of GLUE's positive class;
  `macro_f1` is the mean of the F1 of each class.

  Args:
    labels: The correct answers, names or indices; numbers for 'stsb'.
    predictions: Those of a model. Anything that is not a class is simply wrong.
    classes: All classes in order; () means those of the labels, sorted.
    glue: A name in `GLUE`; '' if it is not a GLUE task.
  """
  check_glue(glue)
  _check_pairs(labels, predictions, 'predictions')
  expected, found = np.asarray(labels), np.asarray(predictions)
  classes = list(classes) or np.unique(expected).tolist()
  if len({_is_name(expected), _is_name(found), _is_name(classes)}) > 1:
    raise UserError(
      f'A label is {labels[0]!r}, a prediction {predictions[0]!r} and a class'
      f' {classes[0]!r}. Give all as names, or all as numbers.'
    )
  two = ('accuracy', 'f1', 'macro_f1')
  metrics = GLUE.get(glue) or (
    two if len(classes) == 2 else ('accuracy', 'macro_f1')
  )
  scores = {}
  for metric in metrics:
    if metric == 'f1':
      score = _f1(expected, found, [_positive(classes, glue)])
    elif metric == 'macro_f1':
      score = _f1(expected, found, classes)
    else:
      score = _COMPARE[metric](expected, found)
    scores[metric] = float(score)
  return scores


def _is_name(values: Labels) -> bool:
  return np.asarray(values).dtype.kind == 'U'


def _positive(classes: Sequence[Any], glue: str) -> Any:
  """Returns the class whose F1 is reported."""
  if glue not in GLUE_POSITIVE:
    return classes[1]
  if not _is_name(classes):
    return 1
  names = GLUE_POSITIVE[glue]
  known = [label for label in classes if label in names]
  if len(known) != 1:
    raise UserError(
      f'GLUE reports F1 of {glue} for {names[0]!r}, but the classes are'
      f' {classes}. Set config.task.labels as GLUE names them.'
    )
  return known[0]


def _accuracy(labels: np.ndarray, predictions: np.ndarray) -> float:
  return np.mean(labels == predictions)


def _f1(
  labels: np.ndarray, predictions: np.ndarray, classes: Sequence[Any]
) -> float:
  """Returns the mean of the F1 of each of `classes`."""
  from sklearn.metrics import f1_score

  wanted = np.array(classes)
  each = f1_score(
    labels, predictions, labels=wanted, average=None, zero_division=0
  )
  return np.mean(each)


def _matthews(labels: np.ndarray, predictions: np.ndarray) -> float:
  from sklearn.metrics import matthews_corrcoef

  if len(np.unique(np.concatenate([labels, predictions]))) < 2:
    return 0.0  # The library would warn.
  return matthews_corrcoef(labels, predictions)


def _pearson(labels: np.ndarray, predictions: np.ndarray) -> float:
  from scipy import stats

  return _correlation(stats.pearsonr, labels, predictions)


def _spearman(labels: np.ndarray, predictions: np.ndarray) -> float:
  from scipy import stats

  return _correlation(stats.spearmanr, labels, predictions)


def _correlation(
  of: Callable[..., Any], labels: np.ndarray, predictions: np.ndarray
) -> float:
  for name, values in (('label', labels), ('prediction', predictions)):
    if values.dtype.kind not in 'iuf' or not np.isfinite(values).all():
      raise UserError(
        f'A {name} is no finite number among {values[:3].tolist()}, ...; only'
        ' numbers correlate. If the model itself says so, its training has'
        ' diverged: lower config.optimizer.learning_rate.'
      )
  labels, predictions = labels.astype(float), predictions.astype(float)
  if min(np.ptp(labels), np.ptp(predictions)) == 0:
    return 0.0  # A constant correlates with nothing.
  with warnings.catch_warnings():
    # The warning that correlations of nearly constant scores are inexact.
    warnings.simplefilter('ignore', RuntimeWarning)
    return of(labels, predictions).statistic


_COMPARE = {
  'accuracy': _accuracy,
  'matthews': _matthews,
  'pearson': _pearson,
  'spearman': _spearman,
}


def entities(
  labels: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]
) -> dict[str, float]:
  """Returns the scores of exact matches of entities, span and type.

  Computed by seqeval in strict mode: `B-` begins an entity, and an `I-` that
  continues none belongs to none. `f1`, `precision` and `recall` are over all
  entities; with the suffix `_TYPE`, those of each type in `labels`.

  Args:
    labels: The tags of each sentence: O, B-TYPE and I-TYPE.
    predictions: Those of a model. Tags missing at the end of a sentence that
      was too long count as O; `lost_to_length` is the number of entities that
      cannot be found because of that.
  """
  from seqeval.metrics import classification_report
  from seqeval.scheme import IOB2, Tokens

  _check_pairs(labels, predictions, 'tagged sentences')
  expected, found, lost = [], [], 0
  for index, (gold, answer) in enumerate(zip(labels, predictions)):
    _check_tags(index, gold, answer)
    missing = len(gold) - len(answer)
    expected.append(list(gold))
    found.append([*answer, *['O'] * missing])
    if missing:
      spans = Tokens(expected[-1], IOB2).entities
      lost += sum(span.end > len(answer) for span in spans)
  names = {tag[2:] for tags in expected for tag in tags if tag != 'O'}
  scores = {'f1': 0.0, 'precision': 0.0, 'recall': 0.0}
  if names or any(tag != 'O' for tags in found for tag in tags):
    report = classification_report(
      expected,
      found,
      mode='strict',
      scheme=IOB2,
      zero_division=0,
      output_dict=True,
    )
    rows = {'': report['micro avg']}
    rows |= {f'_{name}': report[name] for name in sorted(names & report.keys())}
    keys = {'f1': 'f1-score', 'precision': 'precision', 'recall': 'recall'}
    scores = {
      metric + suffix: float(row[key])
      for suffix, row in rows.items()
      for metric, key in keys.items()
    }
  return {**scores, 'lost_to_length': float(lost)}


def _check_tags(
  index: int, labels: Sequence[str], predictions: Sequence[str]
) -> None:
  if len(predictions) > len(labels):
    raise UserError(
      f'Sentence {index} has {len(labels)} tags, and {len(predictions)} are'
      ' predicted. Give one a word at most.'
    )
  for tag in (*labels, *predictions):
    if not re.fullmatch('O|[BI]-.+', tag):
      raise UserError(
        f'Sentence {index} has the tag {tag!r}, which is none of O, B-TYPE and'
        ' I-TYPE. Turn the tags into these (IOB2) before they are scored.'
      )


def translation(
  hypotheses: Sequence[str], references: Sequence[str], target_language: str
) -> Scores:
  """Returns corpus-level `bleu` and `chrf`, computed by sacrebleu.

  Both are case-sensitive and take raw text, not tokenized.

  Args:
    hypotheses: The translations of a model.
    references: Human translations, one for each.
    target_language: Such as en, de, zh or zh-CN; decides the tokenizer of BLEU.
  """
  from sacrebleu.metrics import BLEU, CHRF

  _check_pairs(references, hypotheses, 'translations')
  language = re.split('[-_]', target_language.lower())[0]
  bleu = BLEU(tokenize=BLEU_TOKENIZERS.get(language, '13a'))
  values, signatures = {}, []
  for name, metric in (('bleu', bleu), ('chrf', CHRF())):
    score = metric.corpus_score(list(hypotheses), [list(references)])
    values[name] = float(score.score)
    signatures.append(f'{score.name}|{metric.get_signature()}')
  return Scores(values, ' '.join(signatures))


def summarisation(
  summaries: Sequence[str], references: Sequence[str], unit: Unit = 'words'
) -> dict[str, float]:
  """Returns the mean F1 of ROUGE-1, 2, L and Lsum, out of 100 (Lin 2004).

  Computed by rouge-score. Lsum works sentence by sentence: these are lines, or,
  in a text of one line, end with a punctuation mark.

  Args:
    summaries: The summaries of a model.
    references: Human summaries, one for each.
    unit: `words` are runs of the letters a to z and digits, Porter-stemmed, as
      published for English; `characters` is for Chinese.
  """
  from rouge_score.rouge_scorer import RougeScorer

  _check_pairs(references, summaries, 'summaries')
  kinds = ('rouge1', 'rouge2', 'rougeL', 'rougeLsum')
  tokenizer = _Characters() if unit == 'characters' else None
  scorer = RougeScorer(kinds, use_stemmer=True, tokenizer=tokenizer)
  scores = [
    scorer.score(_sentence_lines(reference), _sentence_lines(summary))
    for reference, summary in zip(references, summaries)
  ]
  return {
    kind: 100 * float(np.mean([score[kind].fmeasure for score in scores]))
    for kind in kinds
  }


class _Characters:
  """A tokenizer for rouge-score that splits a text into characters."""

  def tokenize(self, text: str) -> list[str]:
    return _units(text, 'characters')


def _sentence_lines(text: str) -> str:
  text = text.strip()
  if '\n' in text:
    return text
  return re.sub(r'(?<=[.!?])\s+|(?<=[。！？])(?=.)', '\n', text)


def dialogue(replies: Sequence[str], unit: Unit = 'words') -> dict[str, float]:
  """Returns how diverse the replies of a model are, and their mean length.

  `distinct_1` and `distinct_2` are the numbers of distinct unigrams and bigrams
  divided by the number of all of them (Li et al. 2016, section 5.2);
  `reply_length` is in `unit`s. Case is ignored.
  """
  if not replies:
    raise UserError('There are no replies to score. Give one at least.')
  texts = [_units(reply.lower(), unit) for reply in replies]
  scores = {
    'distinct_1': _distinct(texts, 1),
    'distinct_2': _distinct(texts, 2),
  }
  return {**scores, 'reply_length': sum(map(len, texts)) / len(texts)}


def _units(text: str, unit: Unit) -> list[str]:
  if unit == 'characters':
    return [character for character in text if not character.isspace()]
  return re.findall(r'\w+|[^\w\s]', text)


def _distinct(texts: Sequence[Sequence[str]], n: int) -> float:
  grams = [
    tuple(text[i : i + n]) for text in texts for i in range(len(text) - n + 1)
  ]
  return len(set(grams)) / len(grams) if grams else 0.0
