"""Entries of TensorFlow Datasets, keyed by the names of a record's fields.

Examples:
  >>> entries(Request('glue/sst2', 'validation'), texts.FIELDS)
  Entry('glue/sst2 validation:entry 1', 'validation:1', {'text': 'a charming ...',
   'label': 'positive', 'id': 1})

Class numbers of TFDS are replaced by names; -1, which stands for an unknown
class, becomes None.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lm.records import tables
from lm.records.files import KEY, Entry, Fault, Request
from lm.records.tables import Fields
from lm.types import UserError


def entries(
  request: Request, fields: Fields, supervised: Sequence[str] = ()
) -> Iterator[Entry | Fault]:
  """Yields the examples of a split, not validated.

  Args:
    request: A dataset as TFDS names it, or a builder class of your own as
      `package.module:Class`, and its split, which may be a slice.
    fields: The fields of the record.
    supervised: The fields that the dataset's own supervised keys map to, if
      neither `columns` nor usual names identify the columns.
  """
  from lm.data import tfds_text  # Importing TFDS takes a second.

  builder = tfds_text.find(request.path, KEY)
  name = '/'.join(filter(None, (builder.name, builder.builder_config_name)))
  features = builder.info.features
  names = tuple(features)
  pair = builder.info.supervised_keys
  if supervised and pair and not request.columns and not fields.usual(names):
    columns = dict(zip(supervised, pair))
  else:
    columns = tables.columns_of(names, request, fields, name)
  tfds_text.build(builder, request.path, KEY)
  _check(request.split, tuple(builder.info.splits), name)
  for number, example in tfds_text.examples(builder, request.split):
    values = {
      field: _plain(example[column], features[column])
      for field, column in columns.items()
    }
    where = f'{name} {request.split}:entry {number + 1}'
    yield Entry(where, f'{request.split}:{number + 1}', values)


def _check(split: str, known: Sequence[str], name: str) -> None:
  asked = [part.partition('[')[0] for part in split.split('+')]
  if unknown := [part for part in asked if part not in known]:
    raise UserError(
      f'The split is {split!r}, but dataset {name} has no {unknown[0]!r}, only'
      f' {", ".join(known)}. Set config.data.validation and test to splits of'
      ' it.'
    )


def _plain(value: Any, feature: Any) -> Any:
  """Returns a value as JSON would represent it."""
  inner = getattr(feature, 'feature', feature)
  if isinstance(value, dict):
    return {key: _plain(each, inner[key]) for key, each in value.items()}
  if isinstance(value, np.ndarray) and value.ndim:
    return [_plain(each, inner) for each in value]
  if isinstance(value, list | tuple):
    return [_plain(each, inner) for each in value]
  if isinstance(value, bytes):
    return value.decode(errors='surrogateescape')
  names = getattr(inner, 'names', None)
  if names:
    return names[int(value)] if value >= 0 else None
  return value.item() if isinstance(value, np.generic | np.ndarray) else value
