"""Any task as text to text: a text to read, and a text to write.

A template turns a record into the text to read, such as T5's `sst2 sentence:
{text}` (Raffel et al. 2020, appendix D) or a prompt of your own.
"""

import string
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from absl import logging
from jaxtyping import Int

from lm.data.buckets import Ragged, Table
from lm.tasks.task import (
  Answers,
  Prediction,
  Reader,
  Record,
  Writing,
)
from lm.types import UserError

SHOWN = 2  # How many of the texts written for a set are logged.
MOST = 300  # The most characters of a source that are logged.
LINE = '\\n'  # A line break in a template on the command line.


def template(
  text: str, fields: Sequence[str], key: str = 'template'
) -> Callable[[Record], str]:
  """Returns a function that fills in a template from a record.

  Args:
    text: The template, with `{field}` where a field goes.
    fields: The fields it may name.
    key: Its key in `config.task`, for messages.

  Raises:
    UserError: It names another field, or none.
  """
  try:
    named = {name for _, name, _, _ in string.Formatter().parse(text) if name}
  except ValueError as error:
    raise UserError(
      f'config.task.{key} is {text!r}, which is no template: {error}. Write'
      ' {{ for a brace.'
    ) from error
  if not named or not named <= {*fields}:
    raise UserError(
      f'config.task.{key} is {text!r}. Name in it'
      f' {", ".join(f"{{{field}}}" for field in fields)}, or some of them, and'
      ' nothing else.'
    )
  plain = text.replace(LINE, '\n')
  return lambda record: plain.format(**{name: record[name] for name in named})


def encode(
  reader: Reader,
  sources: Sequence[str],
  targets: Sequence[str],
  what: str = '',
) -> Table:
  """Returns a table of texts to read and to write, both with an end token.

  Texts that are too long are truncated, and their number is logged.

  Args:
    reader: How the model reads.
    sources: The texts to read.
    targets: The texts to write; '' if unknown.
    what: What the records are, for the log.
  """
  source = ended(reader, sources, 'source', what)
  target = ended(reader, targets, 'target', what)
  return table(source, target, np.arange(len(sources)))


def table(
  source: Ragged, target: Ragged, record: Int[np.ndarray, 'N']
) -> Table:
  """Returns a table of texts to read and to write.

  Args:
    source: The tokens to read, with an end token.
    target: The tokens to write, with an end token; empty if unknown.
    record: The record of each row.
  """
  columns = {'source': {'source': source}, 'target': {'target': target}}
  return Table(columns, {'record': record})


def ended(
  reader: Reader,
  texts: Sequence[str],
  side: Literal['source', 'target'],
  what: str = '',
) -> Ragged:
  """Returns texts of one side as tokens with an end token; logs truncations.

  Args:
    reader: How the model reads.
    texts: The texts; an empty target is unknown, and has no tokens.
    side: Which side they are.
    what: What the records are, for the log.
  """
  if side == 'source':
    most, key = reader.length, 'length'
  else:
    most, key = reader.target_length, 'target_length'
  end = reader.tokenizer.end_id
  rows, cut = [], 0
  encoded = reader.tokenizer.encode_batch(texts, offsets=False) if texts else []
  for text, encoding in zip(texts, encoded):
    ids = encoding.ids[: most - 1]
    cut += len(ids) < len(encoding.ids)
    asked = text or side == 'source'
    rows.append(np.array([*ids, end] if asked else [], np.int32))
  if cut:
    logging.info(
      'Of %d %s %d lose their end to config.data.%s.',
      len(texts),
      f'{side}s {what}'.strip(),
      cut,
      key,
    )
  return Ragged.of(rows)


def encoder(
  reader: Reader, text: str, what: str
) -> Callable[[Sequence[Record]], Table]:
  """Returns a function that encodes records of a source and maybe a target.

  Args:
    reader: How the model reads.
    text: The template to fill in with the source.
    what: What the records are, for the log.
  """
  fill = template(text, ('source',))

  def encode_rows(rows: Sequence[Record]) -> Table:
    targets = [row.get('target', '') for row in rows]
    return encode(reader, [fill(row) for row in rows], targets, what)

  return encode_rows


def predictions(
  rows: Sequence[Record], table: Table, answers: Answers
) -> list[Prediction]:
  """Returns the text written for each record, which has a single row."""
  del table
  made = [
    {'id': row['id'], 'prediction': text}
    for row, text in zip(rows, answers.texts)
  ]
  for row, one in list(zip(rows, made))[:SHOWN]:
    say(row['source'], one['prediction'], row.get('target'))
  return made


def say(source: str, made: str, expected: str | None = None) -> None:
  """Logs a source, the text written for it, and the expected one."""
  source = source if len(source) <= MOST else f'... {source[-MOST:]}'
  known = '' if expected is None else f'\n  expected: {expected}'
  logging.info('%s\n  written:  %s%s', source, made, known)


def writing(
  reader: Reader,
  max_new_tokens: int,
  beams: int = 1,
  eval_beams: int = 1,
  length_penalty: float = 1.0,
  beyond_source: int | None = None,
) -> Writing:
  """Returns how texts are generated, given the settings of a task.

  Args:
    reader: How the model reads.
    max_new_tokens: The most tokens; 0 means `reader.target_length`.
    beams: Beam width.
    eval_beams: Beam width for the evaluations during training.
    length_penalty: For beam search.
    beyond_source: The most tokens of a text beyond its source's.

  Raises:
    UserError: A setting is out of range.
  """
  counts = {'beams': beams, 'eval_beams': eval_beams}
  for key, value in counts.items():
    if value < 1:
      raise UserError(
        f'{key} is {value}, but it is how many texts are followed at once. Set'
        f' config.task.{key} to 1, for the likeliest token always, or more.'
      )
  if max_new_tokens < 0 or (beyond_source is not None and beyond_source < 0):
    raise UserError(
      f'max_new_tokens is {max_new_tokens} and beyond_source {beyond_source},'
      ' but they are numbers of tokens. Set config.task.max_new_tokens and'
      ' config.task.beyond_source to 0 or more.'
    )
  most = max_new_tokens or reader.target_length
  return Writing(most, beams, length_penalty, eval_beams, beyond_source)
