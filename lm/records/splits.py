"""Parts of labelled data: a few examples, a held-out slice, no duplicates.

All draws are counted: the same rows and seed give the same parts.
"""

import collections
from collections.abc import Callable, Hashable, Iterable, Sequence

import numpy as np
from absl import logging
from jaxtyping import Int

from lm.data import randomness
from lm.records.files import Record
from lm.types import UserError

# What makes two records one and the same, of whatever kind they are.
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
  """Returns so many rows of each class, or in all where there are no classes.

  They stay in their order; and fewer, of the same seed, are among more.

  Args:
    rows: To draw from. Those with a text as `label` have classes.
    per_class: How many.
    seed: Of the draw.

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
  """Returns the rows to learn from, and a share of them that is held out.

  Args:
    rows: To be divided; both sides keep their order.
    share: Of the rows, to be held out. With `by`, it is met as nearly as whole
      groups can, taken in a random order.
    seed: Of the draw.
    by: A field; rows in which it is the same stay on one side, as the questions
      of an article do with 'title'. Without a title, the context is.

  Raises:
    UserError: One side would have none.
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
  """Returns the rows of which none is among `others`, and logs how many were.

  So `without_duplicates(train, scored)` leaves what is scored as it is, and
  `without_duplicates(scored, train)` what is learned from.

  Args:
    rows: Some go.
    others: All stay.
    key: What of a row is compared; None: all that is asked and not the label.
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
  """Returns what is asked in a row, without its label and with one space each.

  Of a pair it is the source alone: other translations of it give it away too.
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
