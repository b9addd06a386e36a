"""Minimal pairs: which of two sentences a model finds more likely.

BLiMP (Warstadt et al. 2020) has 67 paradigms of 1,000 pairs. A model is right
about a pair if the good sentence as a whole is more likely than the bad one;
ties count as wrong.
"""

import collections
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from flax import linen as nn
from jaxtyping import Bool

from lm.data.tokenizers import Tokenizer
from lm.scoring import batches, records, texts
from lm.types import PyTree, UserError

# The authors' accuracies, means over the paradigms, in per cent: recomputed
# from the file SUMMARY that they publish with the pairs.
AUTHORS = {'5-gram': 61.2, 'LSTM': 69.8, 'Transformer-XL': 69.6, 'GPT-2': 83.0}
CHANCE = 50.0
SUMMARY = 'models_summary.jsonl'
_COLUMNS = dict(zip(AUTHORS, ('ngram', 'lstm', 'txl', 'gpt2')))
# The paper has 12 phenomena, the files 13: this one is part of another.
_PART_OF = {'s-selection': 'argument_structure'}


class Pair(NamedTuple):
  """Two minimally different sentences, of which one is acceptable.

  Attributes:
    good: The acceptable one.
    bad: The other.
    paradigm: Its paradigm, the UID in the files.
    phenomenon: The phenomenon of the paradigm, one of 12.
    place: Its file and line.
  """

  good: str
  bad: str
  paradigm: str
  phenomenon: str
  place: str


def read(path: str, limit: int = 0) -> list[Pair]:
  """Returns the pairs of an archive, of a directory or a file of JSON lines.

  Args:
    path: BLiMP.zip as published, its directory, or one with its files.
    limit: The most pairs to take of each paradigm; 0 means all.

  Raises:
    UserError: There are none, or a line is malformed.
  """
  place = pathlib.Path(path).expanduser()
  if place.is_dir() and len(archives := sorted(place.glob('*.zip'))) == 1:
    path = str(archives[0])
  pairs, counts = [], collections.Counter()
  for file in records.find(path, ('.jsonl',)):
    if file.name == SUMMARY:
      continue
    every = records.read_zip if file.suffix == '.zip' else records.read
    for record in every(file):
      pair = _pair(record, file)
      counts[pair.paradigm] += 1
      if not limit or counts[pair.paradigm] <= limit:
        pairs.append(pair)
  if not pairs:
    raise UserError(
      f'{path} has no minimal pairs: no line of its .jsonl files has any. Set'
      ' --data to BLiMP.zip, or a directory with its files.'
    )
  return pairs


def judge(
  model: nn.Module,
  params: PyTree,
  tokenizer: Tokenizer,
  pairs: Sequence[Pair],
  form: str,
  *,
  batch_tokens: int = batches.TOKENS,
) -> dict[str, Any]:
  """Returns the `summary` of a model, and the number of tokens scored.

  `right` maps each pair, by paradigm and number, to whether the model is right;
  `ties` is the number of equally likely pairs.
  """
  spans = [
    texts.Span('', sentence, name=pair.place)
    for pair in pairs
    for sentence in (pair.good, pair.bad)
  ]
  found = texts.span_scores(
    model, params, tokenizer, spans, form, batch_tokens=batch_tokens
  )
  good, bad = found.log_probs.reshape(-1, 2).T
  right = good > bad
  return summary(pairs, right) | {
    'right': dict(zip(_ids(pairs), right.tolist())),
    'ties': int(np.sum(good == bad)),
    'tokens': int(found.num_tokens.sum()),
  }


def _ids(pairs: Sequence[Pair]) -> Iterator[str]:
  numbers = collections.Counter()
  for pair in pairs:
    yield f'{pair.paradigm}-{numbers[pair.paradigm]}'
    numbers[pair.paradigm] += 1


def summary(
  pairs: Sequence[Pair], right: Bool[np.ndarray, 'N']
) -> dict[str, Any]:
  """Returns the share of correct pairs, by paradigm and phenomenon.

  `accuracy` is the mean over all paradigms; that of a phenomenon is over its
  own. Paradigms count equally, however many pairs they have.
  """
  by_paradigm = collections.defaultdict(list)
  for pair, is_right in zip(pairs, right):
    by_paradigm[pair.paradigm].append(is_right)
  paradigms = {
    name: float(np.mean(by_paradigm[name])) for name in sorted(by_paradigm)
  }
  about = {pair.paradigm: pair.phenomenon for pair in pairs}
  phenomena = {
    phenomenon: _mean(v for k, v in paradigms.items() if about[k] == phenomenon)
    for phenomenon in sorted({*about.values()})
  }
  return {
    'accuracy': _mean(paradigms.values()),
    'phenomena': phenomena,
    'paradigms': paradigms,
    'pairs': len(pairs),
  }


def authors(path: str) -> dict[str, dict[str, float]]:
  """Returns the authors' accuracies by model and paradigm, in per cent.

  They are read from a file that is published with the pairs; the result is
  empty if it is not beside them.
  """
  place = pathlib.Path(path).expanduser()
  file = (place if place.is_dir() else place.parent) / SUMMARY
  if not file.is_file():
    return {}
  rows = [
    record.values
    for record in records.read(file)
    if record.values.get('UID') != 'overall'  # Means of the others.
  ]
  return {
    model: {row['UID']: 100 * row[column] for row in rows}
    for model, column in _COLUMNS.items()
  }


def _pair(record: records.Record, file: pathlib.Path) -> Pair:
  values: Mapping[str, Any] = {
    'UID': file.stem,
    'linguistics_term': '',
    **record.values,
  }
  record = record._replace(values=values)
  phenomenon = records.text(record, 'linguistics_term', empty=True)
  return Pair(
    good=records.text(record, 'sentence_good'),
    bad=records.text(record, 'sentence_bad'),
    paradigm=records.text(record, 'UID'),
    phenomenon=_PART_OF.get(phenomenon, phenomenon),
    place=record.place,
  )


def _mean(values: Iterable[float]) -> float:
  return float(np.mean([*values]))
