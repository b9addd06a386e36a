"""Subsets of labelled data: few-shot samples, held-out splits, deduplication.

All draws are counter-based: the same rows and seed give the same subsets.
"""

import collections
from collections.abc import Callable, Hashable, Iterable, Sequence

import numpy as np
from absl import logging
from jaxtyping import Int

from lm.data import randomness
from lm.records.files import Record
from lm.types import UserError

# The fields by which two records are the same, for each kind.
_KEYS = (
  ('question', 'context'),
  ('source', 'target'),
  ('text', 'text_pair'),
  ('words',),
  ('turns',),
)


def few_shot(
  rows: Sequence[Record], per_class: int, seed: int
) -> tuple[Record, ...]:
  """Returns a number of rows of each class, or in all if there are no classes.

  They keep their order; with the same seed, a smaller sample is a subset of a
  larger one.

  Args:
    rows: The rows to draw from. If `label` is a text, it is the class.
    per_class: The number of rows to draw.
    seed: Seed of the draw.

  Raises:
    UserError: A class has fewer.
  """
  if per_class < 1:
    raise UserError(
      f'few_shot is {per_class}, but no rows are nothing to learn from. Set'
      ' config.data.few_shot to 1 or more, or 0 for all.'
    )
  classes = collections.defaultdict(list)
  for place in _shuffled(len(rows), 'few_shot', seed):
    label = rows[place].get('label')
    classes[label if isinstance(label, str) else None].append(place)
  for label, places in classes.items():
    if len(places) < per_class:
      whose = 'in all' if label is None else f'of label {label!r}'
      raise UserError(
        f'few_shot is {per_class}, but there are {len(places)} records {whose}.'
        f' Set config.data.few_shot to {len(places)} or less.'
      )
  kept = [place for all in classes.values() for place in all[:per_class]]
  return tuple(rows[place] for place in sorted(kept))


def divide(
  rows: Sequence[Record], share: float, seed: int, by: str = ''
) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
  """Returns the rows to train on, and a share of them that is held out.

  Args:
    rows: The rows to split; both sides keep their order.
    share: The share to hold out. With `by`, it is met as closely as possible
      with whole groups, taken in a random order.
    seed: Seed of the draw.
    by: A field; rows with the same value stay on one side, such as, with
      'title', the questions about one article. If it is empty, the context is
      used.

  Raises:
    UserError: One side would be empty.
  """
  groups = collections.defaultdict(list)
  for place, row in enumerate(rows):
    whose = (row.get(by) or row.get('context')) if by else None
    groups[place if whose is None else whose].append(place)
  members = list(groups.values())
  order = _shuffled(len(members), 'divide', seed)
  sizes = np.cumsum([0, *(len(members[group]) for group in order)])
  count = int(np.argmin(np.abs(sizes - share * len(rows))))
  if not 0 < count < len(members):
    raise UserError(
      f'held_out is {share}, a share of {len(rows)} records'
      + (f' with {len(members)} different {by!r}' if by else '')
      + ', which leaves one side without any. Set config.data.held_out nearer to'
      ' 0.5, or give config.data.validation.'
    )
  held_out = {place for group in order[:count] for place in members[group]}
  sides = ([], [])
  for place, row in enumerate(rows):
    sides[place in held_out].append(row)
  return tuple(sides[0]), tuple(sides[1])


def without_duplicates(
  rows: Sequence[Record],
  others: Iterable[Record],
  key: Callable[[Record], Hashable] | None = None,
) -> tuple[Record, ...]:
  """Returns the rows that are not among `others`, and logs how many were.

  So `without_duplicates(train, scored)` leaves the scored set as it is, and
  `without_duplicates(scored, train)` the training set.

  Args:
    rows: The rows to filter.
    others: The rows to compare with.
    key: The part of a row to compare; None means all but the label.
  """
  key = key or content
  seen = {key(row) for row in others}
  kept = tuple(row for row in rows if key(row) not in seen)
  if len(kept) < len(rows):
    logging.warning(
      'Left out %d of %d records, which are in another set as well.',
      len(rows) - len(kept),
      len(rows),
    )
  return kept


def content(row: Record) -> tuple[Hashable, ...]:
  """Returns the input of a row, without its label and with single spaces.

  For a pair it is only the source, since its other translations leak it too.
  """
  fields = next((fields for fields in _KEYS if fields[0] in row), ())
  if fields[:1] == ('source',):
    fields = fields[:1]
  return tuple(_plain(row[field]) for field in fields if field in row)


def _plain(value: str | Sequence[str]) -> Hashable:
  if isinstance(value, str):
    return ' '.join(value.split())
  return tuple(map(_plain, value))


def _shuffled(size: int, purpose: str, seed: int) -> Int[np.ndarray, 'B']:
  """Returns the numbers below `size` in a random order."""
  return np.argsort(randomness.bits(seed, purpose, np.arange(size)))
