"""Text from TensorFlow Datasets, read without TensorFlow."""

import functools
import importlib
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow_datasets as tfds

from lm.data import text_files
from lm.types import UserError

# TFDS knows the datasets of these modules only once they are imported: its own
# import of all of them stops at the first that needs TensorFlow.
MODULES = ('question_answering', 'summarization', 'text', 'translate')
# The only format that can be read without TensorFlow.
FILE_FORMAT = 'array_record'
KEY = 'config.data.path'
CHUNK = 1024  # Examples read at once; one at a time takes three times as long.


def prepare(path: str, field: str) -> tfds.core.DatasetBuilder:
  """Returns the builder of a dataset, which is downloaded and built if needed.

  Args:
    path: As for `find`.
    field: The feature to read.

  Raises:
    UserError: There is no such dataset or feature, or it cannot be built here.
  """
  builder = find(path)
  _check(builder, field)  # Before anything is downloaded.
  build(builder, path)
  if 'train' not in builder.info.splits:
    raise UserError(
      f'config.data.path is {path!r}, but that dataset has no train split, only'
      f' {list(builder.info.splits)}. Set config.data.path to one that has it.'
    )
  return builder


def find(path: str, key: str = KEY) -> tfds.core.DatasetBuilder:
  """Returns the builder of a dataset, which may not be built yet.

  Args:
    path: A name as TFDS writes it (`glue/sst2:2.0.0`), or a builder class of
      the user as `package.module:Class`.
    key: The config key of the path, for messages.

  Raises:
    UserError: There is no such dataset.
  """
  module, _, name = path.rpartition(':')
  if module and name.isidentifier():  # Not a name with a version.
    return _own_builder(path, module, name, key)
  return _by_name(path, key)


def build(builder: tfds.core.DatasetBuilder, path: str, key: str = KEY) -> None:
  """Downloads and builds a dataset if needed.

  It is stored where TFDS keeps its datasets: in `TFDS_DATA_DIR` from the
  environment, or `~/tensorflow_datasets`.

  Args:
    builder: The builder of the dataset.
    path: The path that it was found by, for messages.
    key: The config key of the path, for messages.

  Raises:
    UserError: It cannot be built here.
  """
  try:
    builder.download_and_prepare()
  except ImportError as error:
    raise UserError(
      f'{key} is {path!r}, and to build that dataset TFDS needs'
      f' {error.name}, which is not installed. Build it where that is, with'
      f' file_format={FILE_FORMAT!r}, and set TFDS_DATA_DIR to where it lies;'
      ' reading it needs nothing more.'
    ) from error


def examples(
  builder: tfds.core.DatasetBuilder, split: str, part: range | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
  """Yields the examples of a split, each with its number from 0.

  Args:
    builder: The builder of a dataset that has been built.
    split: A name, or a part as in 'train[:10%]'.
    part: The numbers of the examples to read; None means all.
  """
  source = builder.as_data_source(split=split)
  part = range(len(source)) if part is None else part
  for start in range(part.start, part.stop, CHUNK):
    chunk = range(start, min(start + CHUNK, part.stop))
    yield from zip(chunk, source.__getitems__(chunk))


def readers(
  builder: tfds.core.DatasetBuilder, field: str, split: str
) -> Iterator[Callable[[], Iterator[str]]]:
  """Yields a reader of each part of one of the dataset's own splits.

  A part has about `text_files.PART` bytes. A reader needs the files of the
  dataset, but not the code that built it.
  """
  info = builder.info.splits[split]
  num_parts = 1 + info.num_bytes // text_files.PART
  size = 1 + info.num_examples // num_parts
  directory = pathlib.Path(builder.data_path)
  for start in range(0, info.num_examples, size):
    part = range(start, min(start + size, info.num_examples))
    yield functools.partial(documents, directory, field, split, part)


def documents(
  directory: pathlib.Path, field: str, split: str, part: range
) -> Iterator[str]:
  """Yields the text of the examples whose numbers are in `part`."""
  builder = tfds.builder_from_directory(directory)
  for number, example in examples(builder, split, part):
    try:
      document = example[field].decode()
    except UnicodeDecodeError as error:
      raise UserError(
        f'Example {number} of split {split!r} of dataset {builder.name} is'
        f' not UTF-8 in {field!r}: {error}. Set config.data.field to a text.'
      ) from error
    if document.strip():
      yield document


def files(
  builder: tfds.core.DatasetBuilder, splits: tuple[str, ...]
) -> Iterator[pathlib.Path]:
  """Yields the files that hold the examples of `splits`."""
  for split in splits:
    yield from map(pathlib.Path, builder.info.splits[split].filepaths)


def _by_name(path: str, key: str) -> tfds.core.DatasetBuilder:
  for module in MODULES:
    importlib.import_module(f'tensorflow_datasets.{module}')
  try:
    return tfds.builder(path, file_format=FILE_FORMAT)
  except ValueError as error:  # The rest of its message is hundreds of names.
    reason = str(error).splitlines()[0]
    raise UserError(
      f'{key} is {path!r}, which TFDS cannot open: {reason} Give a'
      ' name of its catalogue (tensorflow.org/datasets), such as'
      " 'glue/sst2', or a builder class of yours as 'package.module:Class'."
    ) from error


def _own_builder(
  path: str, module: str, name: str, key: str
) -> tfds.core.DatasetBuilder:
  try:
    builder_class = getattr(importlib.import_module(module), name)
  except (ModuleNotFoundError, AttributeError) as error:
    raise UserError(
      f'{key} is {path!r}, but there is no such class: {error}. It'
      " is to be 'package.module:Class', importable from where you start."
    ) from error
  return builder_class(file_format=FILE_FORMAT)


def _check(builder: tfds.core.DatasetBuilder, field: str) -> None:
  texts = [
    name
    for name, feature in builder.info.features.items()
    if isinstance(feature, tfds.features.Text)
  ]
  if field not in texts:
    raise UserError(
      f'config.data.field is {field!r}, but the texts of dataset'
      f' {builder.name} are called {texts}. Set config.data.field to one.'
    )
