"""Tokenizers, learned from text or read from published files."""

import dataclasses
import functools
import hashlib
import json
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tokenizers
from jaxtyping import Bool, Int, Integer

from lm.data import (
  pipelines,
  remote,
  token_tables,
  vocabulary_files,
  vocabulary_training,
)
from lm.types import UserError, Vocabulary

KINDS = vocabulary_training.KINDS


@dataclasses.dataclass(frozen=True, eq=False)
class Tokenizer:
  """A tokenizer, with the same interface for every kind.

  Special tokens that are written in a text, as in `Paris is a [MASK].`, are
  recognized as such.

  Attributes:
    pipeline: The tokenizer of the `tokenizers` library that does the work.
    bos_id: Begins a text. Every role is None if the family has none.
    eos_id: Ends a text.
    pad_id: Pads a row.
    unk_id: Stands for text that no other token stands for.
    mask_id: Hides a token.
    cls_id: Represents a whole text.
    sep_id: Stands between two texts and after them.
  """

  pipeline: tokenizers.Tokenizer
  bos_id: int | None = None
  eos_id: int | None = None
  pad_id: int | None = None
  unk_id: int | None = None
  mask_id: int | None = None
  cls_id: int | None = None
  sep_id: int | None = None

  @functools.cached_property
  def vocab_size(self) -> int:
    """All ids are below this."""
    return max(self._ids.values()) + 1

  @functools.cached_property
  def kind(self) -> str:
    """One of `KINDS`."""
    model = self._steps['model']
    if model['type'] != 'BPE':
      return model['type'].lower()
    if model['merges']:
      marks = self._ids.keys() >= {*pipelines.ROBERTA_SPECIALS}
      return 'roberta' if marks else 'bpe'
    return 'bytes' if self._byte_level else 'characters'

  @functools.cached_property
  def special_ids(self) -> frozenset[int]:
    """The tokens that are not text, and so are never masked."""
    added = self.pipeline.get_added_tokens_decoder()
    marks = {id for id, token in added.items() if token.special}
    return frozenset(marks.union(self._roles.values()))

  @property
  def end_id(self) -> int | None:
    """The token that follows a document: its end, or else the separator."""
    return self.sep_id if self.eos_id is None else self.eos_id

  @functools.cached_property
  def vocabulary(self) -> Vocabulary:
    """What an objective needs to know about the tokens."""
    marks = [f'<extra_id_{i}>' for i in range(pipelines.NUM_SENTINELS)]
    sentinels = tuple(self._ids[mark] for mark in marks if mark in self._ids)
    roles = {f'{role}_id': id for role, id in self._roles.items()}
    return Vocabulary(
      self.vocab_size, self.special_ids, sentinel_ids=sentinels, **roles
    )

  def encode(
    self, text: str, special_tokens: bool = False
  ) -> Int[np.ndarray, 'N']:
    """Returns the ids of a text, with special tokens around it if requested."""
    self._check([text])
    (encoding,) = self.pipeline.encode_batch_fast(
      [text], add_special_tokens=special_tokens
    )
    return np.array(encoding.ids, np.int32)

  def encode_batch(
    self, texts: Sequence[str], offsets: bool = True
  ) -> list[tokenizers.Encoding]:
    """Returns the tokens of many texts, without special tokens around them.

    Args:
      texts: Encoded on all cores, unless TOKENIZERS_PARALLELISM is false.
      offsets: Whether to compute where each token stands, which takes longer.
    """
    self._check(texts)
    encode = self.pipeline.encode_batch_fast
    if offsets:
      encode = self.pipeline.encode_batch
    return encode(list(texts), add_special_tokens=False)

  def decode(
    self,
    tokens: Sequence[int] | Int[np.ndarray, 'N'],
    special_tokens: bool = True,
  ) -> str:
    """Returns the text of ids, with or without special tokens."""
    ids = np.asarray(tokens, np.int64).tolist()
    return self.pipeline.decode(ids, skip_special_tokens=not special_tokens)

  @functools.cached_property
  def bytes_of_id(self) -> Int[np.ndarray, 'V'] | None:
    """How many bytes of text each id stands for, or None if that varies.

    With this table, `byte_lengths` needs no offsets.
    """
    if not (self._byte_level or self.kind == 'characters'):
      return None
    return token_tables.byte_table(
      self._ids, self.special_ids, self._byte_level
    )

  def byte_lengths(
    self, text: str, encoding: tokenizers.Encoding
  ) -> Int[np.ndarray, 'N']:
    """Returns how many UTF-8 bytes of the text each token stands for.

    They add up to the whole text, except special tokens written in it.
    """
    tokens = np.array(encoding.ids, np.int32)
    if self.bytes_of_id is not None:
      return self.bytes_of_id[tokens]
    marks = list(self.special_ids - {self.unk_id})
    lengths = token_tables.byte_lengths(text, encoding.offsets)
    return np.where(np.isin(tokens, marks), 0, lengths)

  def word_starts(
    self, tokens: Integer[np.ndarray, 'N']
  ) -> Bool[np.ndarray, 'N']:
    """Returns which tokens of a text begin a word, by the rules of the family.

    BERT splits words at punctuation too, and each ideograph is a word. The
    others split at white space only, which is part of the word after it.
    """
    begins, ends = self._word_tables
    starts = begins[tokens]
    starts[1:] |= ends[tokens[:-1]]
    starts[:1] = True
    return starts

  def fingerprint(self) -> str:
    """Returns a hash of everything that determines ids and their roles."""
    state = json.loads(self.pipeline.to_str()) | {'roles': self._roles}
    if self.kind == 'unigram':
      # Scores are float32; their text, read as float64, is slightly off.
      vocab = state['model']['vocab']
      state['model']['vocab'] = [(p, float(np.float32(s))) for p, s in vocab]
    canonical = json.dumps(state, sort_keys=True).encode()
    return hashlib.sha256(canonical).hexdigest()

  def save(self, directory: str | pathlib.Path) -> None:
    """Writes files that `load` and Hugging Face's AutoTokenizer can read."""
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    self.pipeline.save(str(directory / 'tokenizer.json'))
    pairs = ['token_type_ids'] if self.kind == 'wordpiece' else []
    config = {
      'tokenizer_class': 'PreTrainedTokenizerFast',
      'clean_up_tokenization_spaces': False,
      'model_input_names': ['input_ids', *pairs, 'attention_mask'],
    }
    for role, id in self._roles.items():
      config[f'{role}_token'] = self.pipeline.id_to_token(id)
    path = directory / 'tokenizer_config.json'
    path.write_text(json.dumps(config, indent=2) + '\n', 'utf-8')

  @functools.cached_property
  def _roles(self) -> dict[str, int]:
    ids = {role: getattr(self, f'{role}_id') for role in pipelines.ROLES}
    return {role: id for role, id in ids.items() if id is not None}

  @functools.cached_property
  def _ids(self) -> dict[str, int]:
    return self.pipeline.get_vocab()

  @functools.cached_property
  def _steps(self) -> dict[str, Any]:
    """The configuration of the pipeline, without its vocabulary."""
    steps = json.loads(self.pipeline.to_str())
    model = steps['model']
    steps['model'] = dict(type=model['type'], merges=bool(model.get('merges')))
    return steps

  @functools.cached_property
  def _byte_level(self) -> bool:
    """Whether pieces are exactly the bytes of the text, none added or lost."""
    cutter = self._steps['pre_tokenizer'] or {'type': None}
    last = cutter.get('pretokenizers', [cutter])[-1]
    if self._steps['normalizer'] or last['type'] != 'ByteLevel':
      return False
    return not last['add_prefix_space']

  @functools.cached_property
  def _word_tables(self) -> tuple[Bool[np.ndarray, 'V'], Bool[np.ndarray, 'V']]:
    spaces = {'wordpiece': None, 'unigram': '▁'}
    space = spaces.get(self.kind, 'Ġ' if self._byte_level else ' ')
    return token_tables.word_tables(self._ids, self.special_ids, space)

  def _check(self, texts: Sequence[str]) -> None:
    """Raises UserError for characters that the pipeline would silently drop."""
    if self.kind != 'characters':
      return
    marks = [self.pipeline.id_to_token(id) for id in self.special_ids]
    for text in texts:
      unknown = set(text).difference(self._ids)
      for mark in marks if unknown else ():
        text = text.replace(mark, '')
      unknown &= set(text)
      if unknown:
        character = min(unknown)
        raise UserError(
          f'The text holds {character!r} (U+{ord(character):04X}), which is'
          f' none of the {self.vocab_size} characters that the tokenizer has.'
          " Set config.data.tokenizer to 'bytes' or 'bpe', which have any, or"
          ' train on text that has it.'
        )


def train(
  kind: str,
  documents: Iterable[str],
  vocab_size: int | None = None,
  end_of_text: bool = True,
) -> Tokenizer:
  """Learns a tokenizer from text; the same text gives the same one anywhere.

  Args:
    kind: One of `KINDS`.
    documents: The text, which WordPiece and Unigram hold in memory at once.
    vocab_size: Number of tokens, special ones included; fewer if the text has
      no more. None for bytes and characters, where it cannot be chosen.
    end_of_text: Whether `<|endoftext|>` is the last token. WordPiece and
      Unigram have other end tokens.
  """
  pipeline = vocabulary_training.learn(kind, documents, vocab_size, end_of_text)
  tokenizer = Tokenizer(pipeline, **pipelines.role_ids(pipeline, {}))
  fixed = kind in ('characters', 'bytes')
  return _checked(tokenizer, vocab_size) if fixed else tokenizer


def load(path: str | pathlib.Path) -> Tokenizer:
  """Reads a tokenizer from a directory or file: published, or saved here.

  Raises:
    UserError: There is none, or its files are damaged.
  """
  path = pathlib.Path(path)
  pipeline = vocabulary_files.read(path)
  directory = path if path.is_dir() else path.parent
  told = vocabulary_files.settings(directory)
  tokenizer = Tokenizer(pipeline, **pipelines.role_ids(pipeline, told))
  if tokenizer.kind not in KINDS:
    raise UserError(
      f'{path} holds a tokenizer of the kind {tokenizer.kind}, which is none'
      f' of {", ".join(KINDS)}. Name another in config.data.tokenizer.'
    )
  return tokenizer


def build(
  tokenizer: str,
  documents: Iterable[str],
  vocab_size: int | None = None,
  end_of_text: bool = True,
) -> Tokenizer:
  """Trains the kind that a config names, or loads one from a path or URL."""
  if tokenizer in KINDS:
    return train(tokenizer, documents, vocab_size, end_of_text)
  if remote.is_url(tokenizer):
    return _checked(load(remote.fetch(tokenizer)), vocab_size)
  if not pathlib.Path(tokenizer).exists():
    raise UserError(
      f'config.data.tokenizer is {tokenizer!r}, which is neither a kind of'
      f' tokenizer ({", ".join(KINDS)}) nor a path of this machine, nor a URL.'
      ' A published one is given as the directory of its files.'
    )
  return _checked(load(tokenizer), vocab_size)


def _checked(tokenizer: Tokenizer, vocab_size: int | None) -> Tokenizer:
  if vocab_size not in (None, tokenizer.vocab_size):
    raise UserError(
      f'config.data.vocab_size is {vocab_size}, but the tokenizer has'
      f' {tokenizer.vocab_size} tokens. Set it to that, or to None.'
    )
  return tokenizer
