"""Tokenized text: from the name of a source to two token stores."""

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
from typing import Any, Literal, NamedTuple, TypeVar

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
MIXTURE = 'mixture'  # The `config.data.source` for several corpora.


PACKINGS: dict[str, Callable[[TokenStore, Request], Source]] = {
  'windows': sources.windows,
  'documents': sources.packed,
  'sentences': sentence_rows.sentences,
  'pairs': pairs.pairs,
}


@dataclasses.dataclass(frozen=True)
class Dataset:
  """Text for training and for validation, and how examples are made from it.

  Attributes:
    tokenizer: The tokenizer of all text; if learned, from the training text
      only.
    tokenize: Returns the token stores of a split, one per corpus.
    weights: The weight of each corpus in training.
    length: Tokens per example.
    packing: How examples are made from documents: a name in `PACKINGS`.
    rules: Further settings of the examples: fields of `sources.Request`.
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
    """The tokens to train on, one store per corpus."""
    return self.tokenize('train')

  @functools.cached_property
  def validation(self) -> tuple[TokenStore, ...]:
    """The tokens to evaluate on, one store per corpus."""
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
      example_length: How many tokens an objective needs for `length` inputs.
      seed: Seed of their order; None for a single pass in order.
      reads: What an objective reads besides the tokens.
      marks: Whether packed documents stand between special tokens.
      batch_size: Unused, since all rows have the same length.
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
  """Builds the token store of one side of a corpus on this machine."""
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
  """Returns the dataset that a config specifies, tokenized on first use.

  It is tokenized once; later runs find it in the cache.

  Args:
    source: A name in `corpora.SOURCES`, or `mixture`.
    length: Tokens per example.
    path: Where the text is; for this and the next three, see `corpora.build`.
    field: The field or feature with the text.
    split: How validation is split off.
    validation: The share for validation.
    mixture: The corpora to mix, each `SOURCE:PATH@WEIGHT`, such as
      `text:books/*.txt@0.7`; weights are shares of the examples.
    tokenizer: A kind to learn from the text, a name in `tokenizers.KINDS`; or
      the path or URL of a tokenizer.
    vocab_size: Number of tokens to learn; None where it cannot be chosen.
    end_of_text: Whether each document ends with an end token.
    packing: How examples are made from documents: a name in `PACKINGS`.
    duplicates: Versions of a row, each with its own masks and pairs, before
      the first is repeated: BERT has 10; 0 means no repetition.
    pair: For `pairs`: whether the second text is from another document half of
      the time (BERT), or the two are swapped (ALBERT).
    short_seq_prob: For `pairs`: the share of documents whose pairs are shorter
      than a row.
    words: Where words begin, for whole-word masking: by the rules of the
      tokenizer's family, or after white space, as in segmented Chinese.
    cache: Where stores and tokenizers are kept; '' means LM_CACHE from the
      environment, or else ~/.cache/lm. A URL is shared by all machines, each
      of which copies from it.
    workers: Number of tokenizing processes; 0 means one per core.
    make_store: Builds a missing store, as `tokenize_here` does.
  """
  check(source, path, split, validation, mixture, packing, duplicates)
  parts = _parts(source, path, split, mixture)
  mixed = [
    corpora.build(part.source, part.path, field, part.split, validation)
    for part in parts
  ]
  weights = tuple(part.weight for part in parts)
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


def check(
  source: str,
  path: str = '',
  split: str = 'document',
  validation: float = 0.1,
  mixture: tuple[str, ...] = (),
  packing: str = 'windows',
  duplicates: int = 0,
  **others: Any,
) -> None:
  """Raises UserError for what needs no look at the text; see `build`."""
  del others
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
  for part in _parts(source, path, split, mixture):
    corpora.check(part.source, part.path, part.split, validation)


def tokenizer_of(
  cache: str,
  mixed: Sequence[Corpus],
  tokenizer: str,
  vocab_size: int | None,
  end_of_text: bool,
) -> Tokenizer:
  """Returns the tokenizer of a config, learned from the training text.

  Args:
    cache: Where it is kept; see `build`, also for the other arguments.
    mixed: The corpora to learn from; unused if `tokenizer` is a location.
    tokenizer: A kind, or the location of a tokenizer.
    vocab_size: Number of tokens to learn.
    end_of_text: Whether there is an end token.
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


class _Part(NamedTuple):
  """A corpus of a mixture; see `corpora.build`."""

  source: str
  path: str
  split: str
  weight: float


def _parts(
  source: str, path: str, split: str, mixture: tuple[str, ...]
) -> list[_Part]:
  """Returns the corpora of a config."""
  if (source == MIXTURE) != bool(mixture):
    raise UserError(
      f'config.data.source is {source!r} and config.data.mixture {mixture}. Set'
      " the first to 'mixture' and the second to what is mixed, as in"
      ' text:books/*.txt@0.7,jsonl:web.jsonl@0.3, or neither.'
    )
  if not mixture:
    return [_Part(source, path, split, 1.0)]
  parts = []
  for part in mixture:
    match = re.fullmatch(r'(\w+)(?::(.*))?@([\d.eE+-]+)', part)
    if match is None:
      raise UserError(
        f'config.data.mixture has {part!r}, which is not SOURCE:PATH@WEIGHT.'
        ' Write it as in text:books/*.txt@0.7, or dialogues@0.1.'
      )
    name, where, weight = match.groups()
    own_split = split if name == 'text' else 'document'
    parts.append(_Part(name, where or '', own_split, float(weight)))
  return parts


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
  """Returns the contents of a cached directory, which is made if missing.

  Args:
    root: The parent of all such directories; from a URL they are copied.
    corpus: The fingerprint of the text.
    kind: What is cached: 'tokens' or 'tokenizer'.
    settings: What else determines the contents, and so the name.
    make: Makes the directory, atomically.
    read: Reads it; raises `UserError` if it is damaged.
  """
  decides = json.dumps([corpus, *settings])
  name = hashlib.sha256(decides.encode()).hexdigest()[:16]
  here = pathlib.Path(root).expanduser()
  if remote.is_url(root):
    url, here = f'{root.rstrip("/")}/{kind}-{name}', remote.home()
    make = functools.partial(remote_cache.copy_or_make, url, kind, make)
  directory = here / f'{kind}-{name}'
  with atomic.locked(directory):  # Other processes find what the first made.
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
  if hasattr(os, 'sched_getaffinity'):  # Linux: the cores that we may use.
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1
