"""Labelled data for the applications: records of five kinds, from many formats.

A record is a mapping with an `id`, given by the data or made of its file's name
and its number there, and its location `where`, for messages. In addition:

    texts      text, text_pair (if any), label (a float for regression)
    entities   words, tags (in IOB2)
    questions  context, question, answers [{'text', 'start'}], title
    pairs      source, target
    dialogues  turns (speakers alternate)

Unlabelled records have no `label`, `tags`, `answers` or `target`. A question
whose `answers` are [] has no answer in its context.
"""

import collections
import dataclasses
import difflib
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

from absl import logging

from lm.records import dialogues, pairs, questions, tagged_sentences, texts
from lm.records.files import KEY, Fault, Record, Request, not_text
from lm.types import UserError

Reader = Callable[[Request], Iterator[Record | Fault]]
OnError = Literal['error', 'skip']

SOURCES: Mapping[str, Mapping[str, Reader]] = {
  'texts': {
    'tsv': texts.tsv,
    'csv': texts.comma_separated,
    'jsonl': texts.json_lines,
    'glue': texts.glue,
    'tfds': texts.tfds,
  },
  'entities': {
    'conll': tagged_sentences.conll,
    'jsonl': tagged_sentences.json_lines,
    'tfds': tagged_sentences.tfds,
  },
  'questions': {
    'squad': questions.squad,
    'jsonl': questions.json_lines,
    'tfds': questions.tfds,
  },
  'pairs': {
    'parallel': pairs.parallel,
    'tsv': pairs.tsv,
    'jsonl': pairs.json_lines,
    'tfds': pairs.tfds,
  },
  'dialogues': {
    'dailydialog': dialogues.dailydialog,
    'kdconv': dialogues.kdconv,
    'chatterbot': dialogues.chatterbot,
    'instructions': dialogues.instructions,
    'jsonl': dialogues.json_lines,
  },
}


@dataclasses.dataclass(frozen=True)
class Records:
  """The result of reading.

  Attributes:
    rows: The records, in the order of the data.
    left_out: The number of entries left out, by reason.
  """

  rows: tuple[Record, ...]
  left_out: Mapping[str, int] = dataclasses.field(default_factory=dict)


def read(
  kind: str,
  source: str,
  path: str,
  *,
  split: str = '',
  columns: tuple[str, ...] = (),
  on_error: OnError = 'error',
) -> Records:
  """Returns the records of a kind that are at `path`.

  Args:
    kind: 'texts', 'entities', 'questions', 'pairs' or 'dialogues'.
    source: Their format, a name in `SOURCES[kind]`.
    path: A file, a glob, a URL, or whatever the format takes; '{split}' in it
      is replaced.
    split: The split, if the format has several or the path names '{split}';
      otherwise ignored.
    columns: The columns of the fields, as 'field=column' (see `tables`); () if
      the format defines them.
    on_error: What to do with unusable entries: 'error' raises on the first,
      'skip' leaves them out and counts them.

  Raises:
    UserError: An entry is unusable, or there is none.
  """
  reader = _reader(kind, source)
  if on_error not in ('error', 'skip'):
    raise UserError(
      f"config.data.on_error is {on_error!r}. Set it to 'error' or 'skip'."
    )
  request = Request(_path(path, split), split, tuple(columns))
  rows, seen, left_out = [], {}, collections.Counter()
  for row in reader(request):
    row = row if isinstance(row, Fault) else _sound(row, seen)
    if not isinstance(row, Fault):
      rows.append(row)
    elif on_error == 'error':
      raise UserError(
        f'{row.where}: {row.problem}. Mend or remove it, or set'
        " config.data.on_error to 'skip', which leaves such entries out."
      )
    else:
      left_out[row.reason] += row.entries
  _say(left_out, len(rows), request.path)
  if not rows:
    raise UserError(
      f'{KEY} is {path!r}, in which no entry can be used. Give a'
      f' path that has {kind}, as config.data.format {source!r} reads them.'
    )
  return Records(tuple(rows), types.MappingProxyType(dict(left_out)))


def check_labels(
  rows: Sequence[Record],
  labels: Sequence[str],
  on_error: OnError = 'error',
) -> Records:
  """Returns the records whose label or tags are among `labels`.

  Records without a label are kept.

  Raises:
    UserError: One is not, and `on_error` is 'error'.
  """
  known = frozenset(labels)
  kept, left_out = [], collections.Counter()
  for row in rows:
    named = row.get('tags', [row['label']] if 'label' in row else [])
    unknown = next((label for label in named if label not in known), None)
    if unknown is None:
      kept.append(row)
    elif on_error == 'error':
      near = difflib.get_close_matches(str(unknown), labels, n=1)
      raise UserError(
        f'{row["where"]}: its label is {unknown!r}, which is none of'
        f' {", ".join(map(repr, labels))}.'
        + (f' Did you mean {near[0]!r}?' if near else '')
        + ' Mend it, add it to config.task.labels, or set config.data.on_error'
        " to 'skip'."
      )
    else:
      left_out['an unknown label'] += 1
  _say(left_out, len(kept), 'the records')
  return Records(tuple(kept), types.MappingProxyType(dict(left_out)))


def _reader(kind: str, source: str) -> Reader:
  if kind not in SOURCES:
    raise UserError(
      f'The kind of records is {kind!r}. Set it to one of {", ".join(SOURCES)}.'
    )
  if source not in SOURCES[kind]:
    raise UserError(
      f'config.data.format is {source!r}, from which {kind} are not read. Set'
      f' it to one of {", ".join(SOURCES[kind])}.'
    )
  return SOURCES[kind][source]


def _path(path: str, split: str) -> str:
  if '{split}' in path and not split:
    raise UserError(f'{KEY} is {path!r}, but no split is named. Name the file.')
  return path.replace('{split}', split)


def _sound(row: Record, seen: dict[str, str]) -> Record | Fault:
  """Returns a record, or its fault by the checks that all kinds share."""
  where, id = row['where'], row['id']
  if id in seen:
    problem = f'its id is {id!r}, which is that of {seen[id]} too'
    return Fault(where, 'a duplicate id', problem)
  for value in row.values():
    texts = value if isinstance(value, list) else [value]
    whole = '\n'.join(text for text in texts if isinstance(text, str))
    if fault := not_text(where, whole):
      return fault
  seen[id] = where
  return row


def _say(left_out: Mapping[str, int], kept: int, path: str) -> None:
  if left_out:
    count = sum(left_out.values())
    reasons = ', '.join(f'{n} for {reason}' for reason, n in left_out.items())
    logging.warning(
      'Left out %d of %d entries of %s: %s.', count, count + kept, path, reasons
    )
