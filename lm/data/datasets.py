"""The text of a config, tokenized: from a source's name to two token stores."""

import dataclasses
import functools
import hashlib
import itertools
import json
import os
import pathlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from absl import logging

from lm.data import (
  atomic,
  corpora,
  mixture,
  pairs,
  remote,
  remote_cache,
  sentence_rows,
  sources,
  token_store,
  tokenizers,
)
from lm.data.corpora import Corpus
from lm.data.sources import Request, Source
from lm.data.token_store import TokenStore
from lm.data.tokenizers import Tokenizer
from lm.types import UserError

T = TypeVar('T')
MIXTURE = 'mixture'  # What `config.data.source` says of several corpora.


PACKINGS: dict[str, Callable[[TokenStore, Request], Source]] = {
  'windows': sources.windows,
  'documents': sources.packed,
  'sentences': sentence_rows.sentences,
  'pairs': pairs.pairs,
}


@dataclasses.dataclass(frozen=True)
class Dataset:
  """Text for training and for validation, and how examples are made of it.

  Attributes:
    tokenizer: What cuts all of it into tokens; if learned, from the text for
      training alone.
    tokenize: Makes the tokens of a split of each corpus, or finds them.
    weights: How much there is of each corpus in training.
    length: The tokens of an example.
    packing: How they are put together, a name in `PACKINGS`.
    rules: More of how examples are made: fields of `sources.Request`.
  """

  tokenizer: Tokenizer
  tokenize: Callable[[str], tuple[TokenStore, ...]]
  weights: tuple[float, ...]
  length: int
  packing: str
  rules: Mapping[str, Any]

  @property
  def mean_length(self) -> float:
    """How many tokens an example has."""
    return float(self.length)

  @functools.cached_property
  def train(self) -> tuple[TokenStore, ...]:
    """The tokens to learn from, of each corpus."""
    return self.tokenize('train')

  @functools.cached_property
  def validation(self) -> tuple[TokenStore, ...]:
    """The tokens to be tested on, of each corpus."""
    return self.tokenize('validation')

  def source(
    self,
    split: str,
    example_length: Callable[[int], int],
    seed: int | None,
    reads: tuple[str, ...] = (),
    marks: bool = False,
    batch_size: int = 1,
  ) -> Source:
    """Returns the examples of a split.

    Args:
      split: 'train' or 'validation'.
      example_length: How many tokens an objective needs for `length` of them.
      seed: Of their order; None for one pass as they stand.
      reads: What an objective reads beside the tokens.
      marks: Whether it reads packed documents between marks.
      batch_size: Of the batches; all rows are equally long, whatever it is.
    """
    del batch_size
    stores = self.train if split == 'train' else self.validation
    request = Request(
      example_length(self.length),
      seed,
      reads,
      self.tokenizer.vocabulary,
      marks=marks,
      **self.rules,
    )
    make = PACKINGS[self.packing]
    made = tuple(make(store, request) for store in stores)
    if len(made) == 1:
      return made[0]
    if seed is None:
      return mixture.Concatenation(made)
    return mixture.Mixture(made, mixture.shares_of(self.weights), seed)


def tokenize_here(
  corpus: Corpus,
  side: str,
  tokenizer: Tokenizer,
  directory: pathlib.Path,
  end_of_text: bool,
  workers: int,
  words: str,
) -> None:
  """Makes the token store of one side of a corpus on this machine."""
  token_store.build(
    corpus.documents(side),
    tokenizer,
    directory,
    end_of_text,
    workers or _num_cores(),
    words,
  )


def build(
  source: str,
  length: int,
  path: str = '',
  field: str = 'text',
  split: str = 'document',
  validation: float = 0.1,
  mixture: tuple[str, ...] = (),
  tokenizer: str = 'bpe',
  vocab_size: int | None = None,
  end_of_text: bool = True,
  packing: str = 'windows',
  duplicates: int = 0,
  pair: Literal['next_sentence', 'sentence_order'] = 'next_sentence',
  short_seq_prob: float = 0.1,
  words: Literal['tokenizer', 'spaces'] = 'tokenizer',
  cache: str = '',
  workers: int = 0,
  make_store: Callable[..., None] = tokenize_here,
) -> Dataset:
  """Returns the text that a config asks for, tokenized when it is first used.

  It is tokenized once; later runs find it.

  Args:
    source: A name in `corpora.SOURCES`, or `mixture`.
    length: The tokens of an example.
    path: Where the text is; see `corpora.build`, as for the next three.
    field: Which field or feature of it.
    split: How validation is split off.
    validation: The share that is.
    mixture: What is mixed, `SOURCE:PATH@WEIGHT` each, such as
      `text:books/*.txt@0.7`; the weight is of the examples.
    tokenizer: A kind to learn from the text, a name in `tokenizers.KINDS`; or
      the path or URL of one.
    vocab_size: How many tokens are learned; None where that is no choice.
    end_of_text: Whether each document ends with a token that says so.
    packing: How examples are made of documents: a name in `PACKINGS`.
    duplicates: How many versions of a row there are, with masks and pairs of
      their own, before the first comes again: BERT has 10; 0: no end of them.
    pair: Of `pairs`: whether the second text is foreign half of the time
      (BERT), or the two have changed places (ALBERT).
    short_seq_prob: Of `pairs`: the share of the documents whose pairs are
      shorter than a row.
    words: Where words begin, for masks of whole words: as the tokenizer's
      family tells, or after white space, as in Chinese that is segmented so.
    cache: Where stores and tokenizers are kept; '' for the environment's
      LM_CACHE, or else ~/.cache/lm. At a URL they are kept for all machines,
      each of which copies them.
    workers: How many processes tokenize; 0 for one for each core.
    make_store: Makes a store where there is none, as `tokenize_here` does.
  """
  if packing not in PACKINGS:
    raise UserError(
      f'config.data.packing is {packing!r}. Set it to one of'
      f' {", ".join(PACKINGS)}.'
    )
  if duplicates < 0:
    raise UserError(
      f'duplicates is {duplicates}, but it is how many versions of a row there'
      ' are. Set config.data.duplicates to 0, for no end of them, or more.'
    )
  mixed, weights = _corpora(source, path, field, split, validation, mixture)
  learned = tokenizer_of(cache, mixed, tokenizer, vocab_size, end_of_text)
  keep = _keeper(cache)

  def tokenize(side: str, corpus: Corpus) -> TokenStore:
    def make(directory: pathlib.Path) -> None:
      make_store(corpus, side, learned, directory, end_of_text, workers, words)

    settings = (token_store.VERSION, side, learned.fingerprint(), end_of_text)
    if words != 'tokenizer':
      settings += (words,)
    return keep(
      corpus.fingerprint(), 'tokens', settings, make, token_store.open
    )

  return Dataset(
    learned,
    lambda side: tuple(tokenize(side, corpus) for corpus in mixed),
    weights,
    length,
    packing,
    {'duplicates': duplicates, 'pair': pair, 'short_seq_prob': short_seq_prob},
  )


def tokenizer_of(
  cache: str,
  mixed: Sequence[Corpus],
  tokenizer: str,
  vocab_size: int | None,
  end_of_text: bool,
) -> Tokenizer:
  """Returns the tokenizer of a config, learned from what is for training.

  Args:
    cache: Where it is kept; see `build`, as for the rest.
    mixed: The text to learn from; of one that is there already, nothing.
    tokenizer: A kind, or where it is.
    vocab_size: How many tokens are learned.
    end_of_text: Whether there is a token that ends a text.
  """
  if tokenizer not in tokenizers.KINDS:
    return tokenizers.build(tokenizer, (), vocab_size, end_of_text)

  def learn(directory: pathlib.Path) -> None:
    text = itertools.chain.from_iterable(c.documents('train') for c in mixed)
    with atomic.new_directory(directory) as path:
      tokenizers.train(tokenizer, text, vocab_size, end_of_text).save(path)

  return _keeper(cache)(
    '+'.join(corpus.fingerprint() for corpus in mixed),
    'tokenizer',
    (tokenizer, vocab_size, end_of_text),
    learn,
    tokenizers.load,
  )


def _corpora(
  source: str,
  path: str,
  field: str,
  split: str,
  validation: float,
  parts: tuple[str, ...],
) -> tuple[list[Corpus], tuple[float, ...]]:
  """Returns the corpora of a config, and the weight of each."""
  if (source == MIXTURE) != bool(parts):
    raise UserError(
      f'config.data.source is {source!r} and config.data.mixture {parts}. Set'
      " the first to 'mixture' and the second to what is mixed, as in"
      ' text:books/*.txt@0.7,jsonl:web.jsonl@0.3, or neither.'
    )
  if not parts:
    return [corpora.build(source, path, field, split, validation)], (1.0,)
  mixed, weights = [], []
  for part in parts:
    match = re.fullmatch(r'(\w+)(?::(.*))?@([\d.eE+-]+)', part)
    if match is None:
      raise UserError(
        f'config.data.mixture has {part!r}, which is not SOURCE:PATH@WEIGHT.'
        ' Write it as in text:books/*.txt@0.7, or dialogues@0.1.'
      )
    name, where, weight = match.groups()
    own_split = split if name == 'text' else 'document'
    mixed.append(corpora.build(name, where or '', field, own_split, validation))
    weights.append(float(weight))
  return mixed, tuple(weights)


def _keeper(cache: str) -> Callable[..., Any]:
  root = cache or os.environ.get('LM_CACHE') or '~/.cache/lm'
  return functools.partial(_keep, root)


def _keep(
  root: str,
  corpus: str,
  kind: str,
  settings: tuple,
  make: Callable[[pathlib.Path], None],
  read: Callable[[pathlib.Path], T],
) -> T:
  """Returns what `make` once left in a directory that is named by its content.

  Args:
    root: Where all such directories are; if it is a URL, they are copied.
    corpus: The fingerprint of the text.
    kind: What is kept.
    settings: What decides it, apart from the text.
    make: Makes the directory, whole or not at all.
    read: Reads it, and raises `UserError` where it is damaged.
  """
  decides = json.dumps([corpus, *settings])
  name = hashlib.sha256(decides.encode()).hexdigest()[:16]
  here = pathlib.Path(root).expanduser()
  if remote.is_url(root):
    url, here = f'{root.rstrip("/")}/{kind}-{name}', remote.home()
    make = functools.partial(remote_cache.copy_or_make, url, kind, make)
  directory = here / f'{kind}-{name}'
  with atomic.locked(directory):  # The others find what the first has made.
    return _read_or_make(directory, make, read)


def _read_or_make(
  directory: pathlib.Path,
  make: Callable[[pathlib.Path], None],
  read: Callable[[pathlib.Path], T],
) -> T:
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
