"""The records of a config, for training, validation and test."""

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

SOURCE = 'records'  # The `config.data.source` of every task.
SPLITS = ('train', 'validation', 'test')
# The field by which records are split: those that share it stay together.
TOGETHER = {'questions': 'title', 'pairs': 'source'}
# The text fields of a record, for training a tokenizer.
TEXTS = {
  'texts': ('text', 'text_pair'),
  'entities': ('words',),
  'questions': ('context', 'question'),
  'pairs': ('source', 'target'),
  'dialogues': ('turns',),
}
# The field that a record lacks if its answer is unknown; dialogues have none.
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
    tokenizer: The tokenizer of all texts.
    length: The most tokens of a row, or of the source if there is one.
    target_length: The most tokens of a target.
    read: Returns the records of a split.
    every: Returns all training records, including those that are held out or
      that few-shot selection leaves out.
    boundaries: Bucket widths; see `lm.data.buckets.widths`.
    on_error: What to do with a record whose label the task does not have.
    task: The task that encodes them as rows; None if not set yet.
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
    """Returns the same data for `task`, checked against the labels it knows."""

    @functools.cache
    def known(split: str) -> tuple[Record, ...]:
      rows, labels = self.read(split), task.taken.get('labels')
      if not labels:
        return rows
      return reading.check_labels(rows, labels, self.on_error).rows

    return dataclasses.replace(self, task=task, read=known)

  @property
  def mean_length(self) -> float:
    """The mean number of tokens of a training example, source plus target."""
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
  """Where records are, and which of them are trained on; see `build`."""

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
    """Returns all records of a split, as read from its files."""
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
          f' config.data.columns to what names it, as in {answer}=stars, or'
          f' config.data.format, which is {self.format!r}, to that of the file;'
          ' or leave it out of config.data.train.'
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
  """Returns the records that a config specifies, read on first use.

  Args:
    kind: The kind of records, that of the task.
    seed: Seed of the random splits and samples.
    source: Marks these as records, as opposed to running text.
    length: The most tokens of a row, or of the source if there is one.
    format: The file format, a name in `lm.records.reading.SOURCES`.
    train: The training records: a file, a glob or a URL; for 'tfds' a dataset.
    validation: The records by which the best checkpoint is chosen; for 'tfds' a
      split; '' means a share of `train`.
    test: The records that are scored only at the end; '' means none.
    columns: Which columns or fields mean what; see `lm.records.reading`.
    on_error: What to do with a malformed record: 'skip' logs and counts it.
    held_out: The share of `train` used if `validation` is ''.
    few_shot: Train on only this many records of each class, drawn by `seed`, or
      this many in all for tasks without classes; 0 means all.
    distinct: Whether to drop training records that are also among those to be
      scored.
    tokenizer: A kind to train on all training texts, or the path or URL of one;
      like the next two, as for running text.
    vocab_size: The vocabulary size of a trained tokenizer.
    end_of_text: Whether it has an end-of-text token.
    target_length: The most tokens of a target.
    buckets: Widths of batches; () means four, halved each time.
    cache: Where tokenizers are kept, as for running text.
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
  """Returns the texts of records as a corpus, all on its train side."""
  texts = [text for row in rows for text in texts_of(kind, row)]
  digest = hashlib.sha256(json.dumps(texts).encode()).hexdigest()
  return Corpus(
    name=f'records-{kind}',
    parts=(lambda side: iter(texts if side == 'train' else ()),),
    files=(),
    settings=('records', kind, digest),
  )


def texts_of(kind: str, row: Record) -> Iterable[str]:
  """Yields the texts of a record."""
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
