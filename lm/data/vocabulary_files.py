"""Reads the published formats of vocabularies."""

import json
import pathlib
import struct
from collections.abc import Iterator
from typing import Any

from tokenizers import Tokenizer, models

from lm.data import pipelines
from lm.types import UserError


def settings(directory: pathlib.Path) -> dict[str, Any]:
  """Returns what `tokenizer_config.json` says beside a vocabulary, if there."""
  path = directory / 'tokenizer_config.json'
  return json.loads(path.read_text('utf-8')) if path.is_file() else {}


def _tokenizer_json(path: pathlib.Path) -> Tokenizer:
  return Tokenizer.from_file(str(path))


def _byte_level(vocab: pathlib.Path, merges: pathlib.Path) -> Tokenizer:
  ids, pairs = models.BPE.read_file(str(vocab), str(merges))
  if ids.keys() >= {*pipelines.ROBERTA_SPECIALS}:
    return pipelines.roberta(ids, pairs)
  return pipelines.byte_level(ids, pairs)


def _wordpiece(path: pathlib.Path) -> Tokenizer:
  vocab = models.WordPiece.read_file(str(path))
  told = settings(path.parent)
  # Where nothing says: an uncased vocabulary has no word with a capital.
  capitals = any(piece[:1] != piece[:1].lower() for piece in vocab)
  return pipelines.wordpiece(
    vocab,
    lowercase=told.get('do_lower_case', not capitals),
    strip_accents=told.get('strip_accents'),
    chinese_characters=told.get('tokenize_chinese_chars', True),
  )


def _sentencepiece(path: pathlib.Path) -> Tokenizer:
  pieces, unk_id, charsmap = sentencepiece(path.read_bytes())
  number = settings(path.parent).get('extra_ids', pipelines.NUM_SENTINELS)
  marks = [(name, 0.0) for name in pipelines.sentinels(number)]
  return pipelines.t5(pieces + marks, unk_id, charsmap)


# In the order of preference, where a directory holds several.
FORMATS = (
  (('tokenizer.json',), _tokenizer_json),
  (('spiece.model',), _sentencepiece),
  (('vocab.json', 'merges.txt'), _byte_level),
  (('encoder.json', 'vocab.bpe'), _byte_level),
  (('vocab.txt',), _wordpiece),
)


def read(path: pathlib.Path) -> Tokenizer:
  """Returns the pipeline of a directory, or of one of its vocabulary files.

  Raises:
    UserError: The files are none of `FORMATS`, or are damaged.
  """
  directory = path if path.is_dir() else path.parent
  for names, reader in FORMATS:
    files = [directory / name for name in names]
    asked = path.is_dir() or path.name in names
    if asked and all(file.is_file() for file in files):
      try:
        return reader(*files)
      except Exception as error:
        damage = isinstance(error, ValueError) or type(error) is Exception
        if isinstance(error, UserError) or not damage:
          raise  # The library raises a plain Exception for a damaged file.
        raise UserError(
          f'{" and ".join(map(str, files))} cannot be read: {error}. Fetch the'
          ' tokenizer again, or name another in config.data.tokenizer.'
        ) from error
  formats = '; '.join(' with '.join(names) for names, _ in FORMATS)
  found = 'does not exist' if not path.exists() else 'is no tokenizer'
  raise UserError(
    f'{path} {found}. Looked for: {formats}. Set config.data.tokenizer to such'
    ' a file or its directory.'
  )


def sentencepiece(
  model: bytes,
) -> tuple[list[tuple[str, float]], int, bytes]:
  """Returns a SentencePiece model's pieces with scores, unknown id, charsmap.

  Of `sentencepiece_model.proto`: pieces (1) have text (1), score (2) and type
  (3, where 2 is the unknown); training (2) a model type (3, where 1 is
  Unigram); normalization (3) a character map (2).
  """
  pieces, unk_id, charsmap = [], None, b''
  for number, value in _fields(model):
    if number == 1:
      piece = {1: b'', 2: 0.0, 3: 1} | dict(_fields(value))
      if piece[3] == 2:
        unk_id = len(pieces)
      pieces.append((piece[1].decode(), piece[2]))
    elif number == 2 and dict(_fields(value)).get(3, 1) != 1:
      raise UserError(
        'The SentencePiece model is not a Unigram, which alone is read here.'
        ' Give its tokenizer.json, named by config.data.tokenizer.'
      )
    elif number == 3:
      charsmap = dict(_fields(value)).get(2, b'')
  if unk_id is None:
    raise ValueError('it holds no piece for unknown characters')
  return pieces, unk_id, charsmap


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
  """Yields the number and the value of each field of a protocol buffer."""
  position = 0

  def take(size: int) -> bytes:
    nonlocal position
    position += size
    if position > len(message):
      raise ValueError('it is cut short')
    return message[position - size : position]

  def variable_length() -> int:
    value, shift, byte = 0, 0, 0x80
    while byte & 0x80:
      byte = take(1)[0]
      value |= (byte & 0x7F) << shift
      shift += 7
    return value

  while position < len(message):
    number, wire_type = divmod(variable_length(), 8)
    if wire_type == 0:
      yield number, variable_length()
    elif wire_type == 1:
      yield number, struct.unpack('<d', take(8))[0]
    elif wire_type == 2:
      yield number, take(variable_length())
    elif wire_type == 5:
      yield number, struct.unpack('<f', take(4))[0]
    else:
      raise ValueError(f'it has a field of the unknown type {wire_type}')
