"""The text of a config, tokenized: from a source's name to two token stores."""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import time
from collections.abc import Callable
from typing import TypeVar

from absl import logging

from lm.data import atomic, corpora, sources, token_store, tokenizers
from lm.data.sources import Source
from lm.data.token_store import TokenStore
from lm.data.tokenizers import Tokenizer
from lm.types import UserError

T = TypeVar('T')


@dataclasses.dataclass(frozen=True)
class Dataset:
  """Text for training and for validation, and how examples are made of it.

  Attributes:
    tokenizer: What cuts both into tokens; if learned, from `train` alone.
    tokenize: Makes the tokens of a split, or finds them.
    length: The tokens of an example.
    packing: How they are put together, a name in `sources.PACKINGS`.
  """

  tokenizer: Tokenizer
  tokenize: Callable[[str], TokenStore]
  length: int
  packing: str

  @functools.cached_property
  def train(self) -> TokenStore:
    """The tokens to learn from."""
    return self.tokenize('train')

  @functools.cached_property
  def validation(self) -> TokenStore:
    """The tokens to be tested on."""
    return self.tokenize('validation')

  def source(
    self,
    split: str,
    example_length: Callable[[int], int],
    seed: int | None,
  ) -> Source:
    """Returns the examples of a split.

    Args:
      split: 'train' or 'validation'.
      example_length: How many tokens an objective needs for `length` of them.
      seed: Of their order; None for one pass as they stand.
    """
    store = self.train if split == 'train' else self.validation
    make = sources.PACKINGS[self.packing]
    return make(store, example_length(self.length), seed)


def build(
  source: str,
  length: int,
  path: str = '',
  field: str = 'text',
  split: str = 'document',
  validation: float = 0.1,
  tokenizer: str = 'bpe',
  vocab_size: int | None = None,
  end_of_text: bool = True,
  packing: str = 'windows',
  cache: str = '',
  workers: int = 0,
) -> Dataset:
  """Returns the text that a config asks for, tokenized when it is first used.

  It is tokenized once; later runs find it.

  Args:
    source: A name in `corpora.SOURCES`.
    length: The tokens of an example.
    path: Where the text is; see `corpora.build`, as for the next three.
    field: Which field or feature of it.
    split: How validation is split off.
    validation: The share that is.
    tokenizer: A kind to learn from the text, a name in `tokenizers.KINDS`; or
      the path of one.
    vocab_size: How many tokens are learned; None where that is no choice.
    end_of_text: Whether each document ends with a token that says so.
    packing: How examples are made of documents: a name in `sources.PACKINGS`.
    cache: Where stores and tokenizers are kept; '' for the environment's
      LM_CACHE, or else ~/.cache/lm.
    workers: How many processes tokenize; 0 for one for each core.
  """
  if packing not in sources.PACKINGS:
    raise UserError(
      f'config.data.packing is {packing!r}. Set it to one of'
      f' {", ".join(sources.PACKINGS)}.'
    )
  corpus = corpora.build(source, path, field, split, validation)
  root = cache or os.environ.get('LM_CACHE') or '~/.cache/lm'
  keep = functools.partial(
    _keep, pathlib.Path(root).expanduser(), corpus.fingerprint()
  )

  def learn(directory: pathlib.Path) -> None:
    text = corpus.documents('train')
    with atomic.new_directory(directory) as path:
      tokenizers.train(tokenizer, text, vocab_size, end_of_text).save(path)

  if tokenizer in tokenizers.KINDS:
    settings = (tokenizer, vocab_size, end_of_text)
    learned = keep('tokenizer', settings, learn, tokenizers.load)
  else:
    learned = tokenizers.build(tokenizer, (), vocab_size, end_of_text)

  def tokenize(side: str) -> TokenStore:
    def make(directory: pathlib.Path) -> None:
      token_store.build(
        corpus.documents(side),
        learned,
        directory,
        end_of_text,
        workers or _num_cores(),
      )

    settings = (token_store.VERSION, side, learned.fingerprint(), end_of_text)
    return keep('tokens', settings, make, token_store.open)

  return Dataset(learned, tokenize, length, packing)


def _keep(
  root: pathlib.Path,
  corpus: str,
  kind: str,
  settings: tuple,
  make: Callable[[pathlib.Path], None],
  read: Callable[[pathlib.Path], T],
) -> T:
  """Returns what `make` once left in a directory that is named by its content.

  Args:
    root: Where all such directories are.
    corpus: The fingerprint of the text.
    kind: What is kept.
    settings: What decides it, apart from the text.
    make: Makes the directory, whole or not at all.
    read: Reads it, and raises `UserError` where it is damaged.
  """
  decides = json.dumps([corpus, *settings])
  name = hashlib.sha256(decides.encode()).hexdigest()[:16]
  directory = root / f'{kind}-{name}'
  if directory.exists():
    try:
      return read(directory)
    except UserError as error:
      logging.warning('%s It is removed and built anew now.', error)
      atomic.remove(directory)
  began = time.monotonic()
  make(directory)
  logging.info('Built %s in %.1f s.', directory, time.monotonic() - began)
  return read(directory)


def _num_cores() -> int:
  if hasattr(os, 'sched_getaffinity'):  # Linux: those that we may use.
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1
