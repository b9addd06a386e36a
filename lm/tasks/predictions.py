"""Writes predictions to files, atomically, and reads them back.

The formats:

    jsonl  predictions.jsonl: {"id": ..., "prediction": ..., and more} per line
    glue   CoLA.tsv, SST-2.tsv, ...: as GLUE's server accepts
    squad  predictions.json, and na_prob.json: as SQuAD's programs accept
"""

import json
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lm.data import atomic
from lm.types import UserError

Row = Mapping[str, Any]  # `id`, `prediction`, and fields of the task.

NO_ANSWER = 'no_answer_probability'  # A field of a row, for 'squad'.


class Submission(NamedTuple):
  """The format in which GLUE's server accepts the predictions of a task.

  Attributes:
    file: The name of the file.
    labels: The text of each label; if empty, labels are numbers from 0 to 5.
    names: The names of the labels in the datasets, if they differ.
  """

  file: str
  labels: tuple[str, ...]
  names: tuple[str, ...] = ()


_BINARY = ('0', '1')
_THREE = ('entailment', 'neutral', 'contradiction')
_TWO = ('entailment', 'not_entailment')
SUBMISSIONS: Mapping[str, Submission] = {
  'cola': Submission('CoLA.tsv', _BINARY, ('unacceptable', 'acceptable')),
  'sst2': Submission('SST-2.tsv', _BINARY, ('negative', 'positive')),
  'mrpc': Submission('MRPC.tsv', _BINARY, ('not_equivalent', 'equivalent')),
  'qqp': Submission('QQP.tsv', _BINARY, ('not_duplicate', 'duplicate')),
  'stsb': Submission('STS-B.tsv', ()),
  'mnli': Submission('MNLI-m.tsv', _THREE),
  'mnli_matched': Submission('MNLI-m.tsv', _THREE),
  'mnli_mismatched': Submission('MNLI-mm.tsv', _THREE),
  'qnli': Submission('QNLI.tsv', _TWO),
  'rte': Submission('RTE.tsv', _TWO),
  'wnli': Submission('WNLI.tsv', _BINARY, ('not_entailment', 'entailment')),
  'ax': Submission('AX.tsv', _THREE),
}


def write(
  rows: Sequence[Row],
  directory: pathlib.Path,
  format: str = 'jsonl',
  task: str = '',
) -> list[pathlib.Path]:
  """Writes predictions to `directory`, and returns the files.

  Args:
    rows: The predictions.
    directory: Where to write; created if missing.
    format: One of `FORMATS`.
    task: For 'glue': a name in `SUBMISSIONS`.
  """
  if format not in FORMATS:
    raise UserError(
      f'There is no format {format!r} of predictions. Choose among'
      f' {", ".join(FORMATS)}.'
    )
  _check(rows)
  return FORMATS[format](rows, directory, task)


def write_jsonl(rows: Sequence[Row], path: pathlib.Path) -> None:
  """Writes one row per line to `path`."""
  _check(rows)
  for row in rows:
    for value in row.values():
      if isinstance(value, float | np.floating):
        _checked(row, value)
  _write(path, ''.join(f'{_json(dict(row))}\n' for row in rows))


def read(path: pathlib.Path) -> list[dict[str, Any]]:
  """Returns the rows of a file written by `write`; its suffix is the format.

  Those of predictions.json have the probabilities of na_prob.json beside it.
  For GLUE, ids are numbers, and labels are those of the server.
  """
  if path.suffix not in _READERS:
    raise UserError(
      f'{path} ends in none of {", ".join(_READERS)}, in which predictions do.'
      ' Give such a file.'
    )
  try:
    return _READERS[path.suffix](path)
  except FileNotFoundError as error:
    raise UserError(f'There is no {error.filename}.') from error


def _check(rows: Sequence[Row]) -> None:
  seen = set()
  for place, row in enumerate(rows):
    missing = {'id', 'prediction'} - row.keys()
    if missing:
      raise UserError(
        f'Prediction {place} has no {sorted(missing)[0]!r} among'
        f' {sorted(row)}. Give each an id and a prediction.'
      )
    if row['id'] in seen:
      raise UserError(
        f'Two predictions have the id {row["id"]!r}. Give each an id of its'
        ' own.'
      )
    seen.add(row['id'])


def _write(path: pathlib.Path, text: str) -> None:
  with atomic.new_file(path) as part:
    part.write_text(text, 'utf-8', newline='\n')


def _json(value: Any) -> str:
  return json.dumps(value, ensure_ascii=False, default=_plain)


def _checked(row: Row, value: Any) -> float:
  """Returns `value` of a row as a float; raises UserError unless finite."""
  try:
    number = float(value)
  except (TypeError, ValueError):
    number = math.nan
  if not math.isfinite(number):
    raise UserError(
      f'The prediction of {row["id"]!r} has {value!r} for a number. A model'
      ' whose training diverged gives such: lower'
      ' config.optimizer.learning_rate.'
    )
  return number


def _plain(value: Any) -> Any:
  """Returns a number or array of numpy as JSON can represent it."""
  if hasattr(value, 'tolist'):
    return value.tolist()
  raise TypeError(f'{value!r} is no part of a prediction.')


def _write_lines(
  rows: Sequence[Row], directory: pathlib.Path, task: str
) -> list[pathlib.Path]:
  del task
  path = directory / 'predictions.jsonl'
  write_jsonl(rows, path)
  return [path]


def _write_glue(
  rows: Sequence[Row], directory: pathlib.Path, task: str
) -> list[pathlib.Path]:
  if task not in SUBMISSIONS:
    raise UserError(
      f'GLUE has no task {task!r}. Set config.task.glue to one of'
      f' {", ".join(SUBMISSIONS)}.'
    )
  submission = SUBMISSIONS[task]
  lines = sorted(
    (_index(row['id'], task), _label(row, submission)) for row in rows
  )
  path = directory / submission.file
  text = ''.join(f'{index}\t{label}\n' for index, label in lines)
  _write(path, f'index\tprediction\n{text}')
  return [path]


def _index(id: Any, task: str) -> int:
  try:
    return int(id)
  except ValueError as error:
    raise UserError(
      f'The id {id!r} is no number, which the examples of GLUE ({task}) are'
      " called by. Give them the number of their line, or write 'jsonl'."
    ) from error


def _label(row: Row, submission: Submission) -> str:
  """Returns the server's text for the label that was predicted."""
  value, labels = row['prediction'], submission.labels
  if not labels:
    value = _checked(row, value)
    return f'{min(max(value, 0.0), 5.0):.3f}'
  if value in labels:
    return value
  if value in submission.names:
    return labels[submission.names.index(value)]
  if not isinstance(value, str) and value in range(len(labels)):
    return labels[int(value)]
  raise UserError(
    f'The prediction of {row["id"]!r} is {value!r}, which is no label for'
    f' {submission.file}: {", ".join(submission.names or labels)}. Set'
    ' config.task.labels to these.'
  )


def _write_squad(
  rows: Sequence[Row], directory: pathlib.Path, task: str
) -> list[pathlib.Path]:
  del task
  answers = {str(row['id']): row['prediction'] for row in rows}
  path, beside = directory / 'predictions.json', directory / 'na_prob.json'
  _write(path, _json(answers) + '\n')
  if not any(NO_ANSWER in row for row in rows):
    beside.unlink(missing_ok=True)  # It is from other predictions.
    return [path]
  without = [row['id'] for row in rows if NO_ANSWER not in row]
  if without:
    raise UserError(
      f'{len(without)} of {len(rows)} predictions have no {NO_ANSWER}, the'
      f' first is {without[0]!r}. Give one for each, or for none.'
    )
  chances = {str(row['id']): _checked(row, row[NO_ANSWER]) for row in rows}
  _write(beside, _json(chances) + '\n')
  return [path, beside]


def _read_lines(path: pathlib.Path) -> list[dict[str, Any]]:
  # A text may contain characters at which `splitlines` would split.
  lines = path.read_text('utf-8').split('\n')
  rows = []
  for number, line in enumerate(lines, 1):
    if line.strip():
      rows.append(_parsed(line, f'{path}:{number}'))
  return rows


def _parsed(text: str, place: str) -> dict[str, Any]:
  try:
    value = json.loads(text)
  except json.JSONDecodeError as error:
    raise UserError(f'{place} is no JSON: {error}. Write it anew.') from error
  if not isinstance(value, dict):
    raise UserError(f'{place} is {text[:60]}, not an object. Write it anew.')
  return value


def _read_glue(path: pathlib.Path) -> list[dict[str, Any]]:
  head, *lines = path.read_text('utf-8').rstrip('\n').split('\n')
  if head != 'index\tprediction':
    raise UserError(
      f"{path}:1 is {head!r}, and not 'index' and 'prediction' with a tab"
      ' between. Give a file that GLUE takes.'
    )
  numbers = path.name == SUBMISSIONS['stsb'].file
  rows = []
  for number, line in enumerate(lines, 2):
    index, tab, label = line.partition('\t')
    if not tab or not index.isdecimal():
      raise UserError(
        f'{path}:{number} is {line!r}, and not a number and a label with a tab'
        ' between. Write it anew.'
      )
    value = float(label) if numbers else label
    rows.append({'id': int(index), 'prediction': value})
  return rows


def _read_squad(path: pathlib.Path) -> list[dict[str, Any]]:
  answers = _parsed(path.read_text('utf-8'), str(path))
  beside, probability = path.with_name('na_prob.json'), {}
  if beside.exists():
    probability = _parsed(beside.read_text('utf-8'), str(beside))
  return [
    {'id': id, 'prediction': answer}
    | ({NO_ANSWER: probability[id]} if id in probability else {})
    for id, answer in answers.items()
  ]


_Writer = Callable[[Sequence[Row], pathlib.Path, str], list[pathlib.Path]]
FORMATS: Mapping[str, _Writer] = {
  'jsonl': _write_lines,
  'glue': _write_glue,
  'squad': _write_squad,
}
_READERS: Mapping[str, Callable[[pathlib.Path], list[dict[str, Any]]]] = {
  '.jsonl': _read_lines,
  '.tsv': _read_glue,
  '.json': _read_squad,
}
