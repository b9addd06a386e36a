"""The records of a config, for training, for choosing and for the test."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from absl import logging

from lm.data import buckets as bucketing, datasets, tokenizers
from lm.data.buckets import Bucketed, Table
from lm.data.corpora import Corpus
from lm.data.sources import Source
from lm.data.tokenizers import Tokenizer
from lm.records import reading, splits
from lm.records.reading import OnError
from lm.tasks.task import Record, Task
from lm.types import UserError

SOURCE = 'records'  # What `config.data.source` says of a task.
SPLITS = ('train', 'validation', 'test')
# What is told apart when records are divided: those that share it stay together.
TOGETHER = {'questions': 'title', 'pairs': 'source'}
# What is text of a record, for a tokenizer to learn from.
TEXTS = {
  'texts': ('text', 'text_pair'),
  'entities': ('words',),
  'questions': ('context', 'question'),
  'pairs': ('source', 'target'),
  'dialogues': ('turns',),
}
# What a record lacks whose answer is not known; in a dialogue all is known.
ANSWERS = {
  'texts': 'label',
  'entities': 'tags',
  'questions': 'answers',
  'pairs': 'target',
}


@dataclasses.dataclass(frozen=True)
class Labelled:
  """Records, and how examples are made of them.

  Attributes:
    tokenizer: What cuts all of them into tokens.
    length: The most tokens of a row; of the source, where there is one.
    target_length: Of what is written.
    read: Gives the records of a split.
    every: Gives all for training, also those held out and those of which only a
      few are learned from.
    boundaries: Of the buckets; see `lm.data.buckets.widths`.
    on_error: What becomes of a record with a label that there is not.
    task: What makes rows of them; None: nothing yet.
  """

  tokenizer: Tokenizer
  length: int
  target_length: int
  read: Callable[[str], tuple[Record, ...]]
  every: Callable[[], tuple[Record, ...]]
  boundaries: tuple[int, ...]
  on_error: OnError = 'error'
  task: Task | None = None

  def doing(self, task: Task) -> 'Labelled':
    """Returns the records of a task, whose labels are those that it knows."""

    @functools.cache
    def known(split: str) -> tuple[Record, ...]:
      rows, labels = self.read(split), task.taken.get('labels')
      if not labels:
        return rows
      return reading.check_labels(rows, labels, self.on_error).rows

    return dataclasses.replace(self, task=task, read=known)

  @property
  def mean_length(self) -> float:
    """How many tokens an example for training has, source and target."""
    table = self.table('train')
    return float(sum(table.sizes(axis).mean() for axis in table.ragged))

  def table(self, split: str) -> Table:
    """Returns the rows of a split."""
    return _table(self, split)

  def source(
    self,
    split: str,
    example_length: Callable[[int], int],
    seed: int | None,
    reads: tuple[str, ...] = (),
    marks: bool = False,
    batch_size: int = 1,
  ) -> Source:
    """Returns the examples of a split, in batches; see `Dataset.source`."""
    del example_length, reads, marks
    return self.batches(self.table(split), batch_size, seed)

  def batches(
    self, table: Table, batch_size: int, seed: int | None = None
  ) -> Bucketed:
    """Returns a table in batches."""
    most = {
      axis: self.target_length if axis == 'target' else self.length
      for axis in table.ragged
    }
    widths = bucketing.widths(most, self.boundaries)
    return Bucketed(table, batch_size, widths, seed)

  def __hash__(self):
    return id(self)

  def __eq__(self, other):
    return self is other


@functools.lru_cache(maxsize=8)
def _table(data: Labelled, split: str) -> Table:
  return data.task.encode(data.read(split))


@dataclasses.dataclass(frozen=True)
class Files:
  """Where records are, and which of them are learned from; see `build`."""

  kind: str
  format: str
  paths: Mapping[str, str]
  columns: tuple[str, ...]
  on_error: OnError
  held_out: float
  few_shot: int
  distinct: bool
  seed: int

  def read(self, split: str) -> tuple[Record, ...]:
    """Returns the records of a split, as a run uses them."""
    if split == 'train':
      return self._learned_from
    if split == 'test' or self.paths['validation']:
      return self.every(split)
    return tuple(self._divided[1])

  def every(self, split: str) -> tuple[Record, ...]:
    """Returns the records of a split, as they are found."""
    if split not in self._found:
      self._found[split] = self._read(split)
    return self._found[split]

  @functools.cached_property
  def _found(self) -> dict[str, tuple[Record, ...]]:
    return {}

  def _read(self, split: str) -> tuple[Record, ...]:
    where, own = self.paths[split], ''
    if not where:
      raise UserError(
        f'config.data.{split} is empty. Set it to where the records are.'
      )
    if self.format == 'tfds':  # One dataset has all splits.
      own = 'train' if split == 'train' else where
      where = self.paths['train']
    found = reading.read(
      self.kind,
      self.format,
      where,
      split=own,
      columns=self.columns,
      on_error=self.on_error,
    )
    logging.info('%s: %d records for %s.', where, len(found.rows), split)
    answer = ANSWERS.get(self.kind)
    for row in found.rows if split == 'train' and answer else ():
      if answer not in row:
        raise UserError(
          f'{row["where"]} has no {answer}, so nothing is learned from it. Set'
          ' config.data.columns to what names it, or leave it out of'
          ' config.data.train.'
        )
    return found.rows

  @functools.cached_property
  def _divided(self) -> tuple[Sequence[Record], Sequence[Record]]:
    if self.paths['validation']:
      return self.every('train'), self.every('validation')
    by = TOGETHER.get(self.kind, '')
    return splits.divide(self.every('train'), self.held_out, self.seed, by=by)

  @functools.cached_property
  def _learned_from(self) -> tuple[Record, ...]:
    rows, chosen_by = self._divided
    if self.distinct:
      test = self.every('test') if self.paths['test'] else ()
      rows = splits.without_duplicates(rows, [*chosen_by, *test])
    if self.few_shot:
      rows = splits.few_shot(rows, self.few_shot, self.seed)
    return tuple(rows)


def build(
  kind: str,
  seed: int,
  source: Literal[SOURCE],
  length: int,
  format: str,
  train: str = '',
  validation: str = '',
  test: str = '',
  columns: tuple[str, ...] = (),
  on_error: OnError = 'error',
  held_out: float = 0.1,
  few_shot: int = 0,
  distinct: bool = False,
  tokenizer: str = 'wordpiece',
  vocab_size: int | None = None,
  end_of_text: bool = True,
  target_length: int = 64,
  buckets: tuple[int, ...] = (),
  cache: str = '',
) -> Labelled:
  """Returns the records that a config asks for, read when they are first used.

  Args:
    kind: Of the records; that of the task.
    seed: Of what is drawn among them.
    source: That these are records, and no running text.
    length: The most tokens of a row; of the source, where there is one.
    format: How the files are written, a name in `lm.records.reading.SOURCES`.
    train: Where the records for training are: a file, a glob or a URL; of
      'tfds' a dataset.
    validation: Those that the best checkpoint is chosen by; of 'tfds' a split;
      '': a share of `train`.
    test: Those that are scored in the end alone; '': none.
    columns: Which columns or fields mean what, as `lm.records.reading` says.
    on_error: What becomes of a record that is not as it should be: 'skip' is
      said and counted.
    held_out: That share.
    few_shot: Learn from so many records of each class only, drawn by `seed`;
      of tasks without classes, from so many; 0: from all.
    distinct: Whether a record for training that is among those to be scored,
      too, is left out.
    tokenizer: A kind to learn from all texts for training, or the path or URL
      of one; as the next two of running text.
    vocab_size: How many tokens are learned.
    end_of_text: Whether there is a token that ends a text.
    target_length: The most tokens of what is written.
    buckets: Widths of batches; (): four, halved each time.
    cache: Where tokenizers are kept, as of running text.
  """
  if not 0 < held_out < 1:
    raise UserError(
      f'held_out is {held_out}, but it is a share of the records for training.'
      ' Set config.data.held_out above 0 and below 1.'
    )

  found = Files(
    kind=kind,
    format=format,
    paths={'train': train, 'validation': validation, 'test': test},
    columns=columns,
    on_error=on_error,
    held_out=held_out,
    few_shot=few_shot,
    distinct=distinct,
    seed=seed,
  )
  mixed = []
  if tokenizer in tokenizers.KINDS:
    mixed = [corpus(kind, found.every('train'))]
  learned = datasets.tokenizer_of(
    cache, mixed, tokenizer, vocab_size, end_of_text
  )
  return Labelled(
    learned,
    length,
    target_length,
    found.read,
    lambda: found.every('train'),
    buckets,
    on_error,
  )


def corpus(kind: str, rows: Sequence[Record]) -> Corpus:
  """Returns the texts of records as a corpus whose train side is all of it."""
  texts = [text for row in rows for text in texts_of(kind, row)]
  digest = hashlib.sha256(json.dumps(texts).encode()).hexdigest()
  return Corpus(
    name=f'records-{kind}',
    parts=(lambda side: iter(texts if side == 'train' else ()),),
    files=(),
    settings=('records', kind, digest),
  )


def texts_of(kind: str, row: Record) -> Iterable[str]:
  """Yields what is text of a record."""
  for field in TEXTS[kind]:
    value = row.get(field)
    if isinstance(value, str):
      yield value
    elif value and kind == 'entities':
      yield ' '.join(value)
    elif value and kind == 'dialogues':  # As they are read, line by line.
      yield '\n'.join(value)
    elif value:
      yield from value
