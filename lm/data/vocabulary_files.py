"""Reads the published vocabulary formats."""

import json
import pathlib
import re
import struct
from collections.abc import Iterator
from typing import Any

from tokenizers import Tokenizer, models

from lm.data import pipelines
from lm.types import UserError


def settings(directory: pathlib.Path) -> dict[str, Any]:
  """Returns the `tokenizer_config.json` beside a vocabulary, or {} if none."""
  path = directory / 'tokenizer_config.json'
  try:
    return json.loads(path.read_text('utf-8')) if path.is_file() else {}
  except ValueError as error:
    raise UserError(
      f'{path} cannot be read: {error}. Fetch the tokenizer again, or name'
      ' another in config.data.tokenizer.'
    ) from error


def _tokenizer_json(path: pathlib.Path) -> Tokenizer:
  return Tokenizer.from_file(str(path))


def _byte_level(vocab: pathlib.Path, merges: pathlib.Path) -> Tokenizer:
  ids, pairs = models.BPE.read_file(str(vocab), str(merges))
  if ids.keys() >= {*pipelines.ROBERTA_SPECIALS}:
    return pipelines.roberta(ids, pairs)
  pipeline = pipelines.byte_level(ids, pairs)
  if pipelines.END_OF_TEXT in ids:
    pipeline.add_special_tokens([pipelines.END_OF_TEXT])
  return pipeline


def _wordpiece(path: pathlib.Path) -> Tokenizer:
  # The library's reader would strip line separators that are pieces themselves.
  lines = path.read_text('utf-8').removesuffix('\n').split('\n')
  vocab = {piece: i for i, piece in enumerate(lines)}
  told = settings(path.parent)
  # The default: an uncased vocabulary has no word with a capital.
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


# In order of preference, if a directory holds several.
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
    UserError: The files match none of `FORMATS`, or are damaged.
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

  In `sentencepiece_model.proto`, pieces (1) have text (1), score (2) and type
  (3, where 2 is the unknown); training (2) has a model type (3, where 1 is
  Unigram); normalization (3) has a character map (2).
  """
  pieces, unk_id, charsmap = [], None, b''
  for number, value in _fields(model):
    if number == 1:
      piece = {2: bytes(4), 3: 1} | dict(_fields(value))
      if piece[3] == 2:
        unk_id = len(pieces)
      pieces.append((piece[1].decode(), *struct.unpack('<f', piece[2])))
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


# A field's number and type, then its value or size: varints of 7 bits per byte,
# least significant first, with the top bit set in all bytes but the last.
_HEAD = re.compile(rb'([\x80-\xff]*[\x00-\x7f])([\x80-\xff]*[\x00-\x7f])?')


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
  """Yields the number and the value of each field of a protocol buffer."""
  position = 0
  while position < len(message):
    head = _HEAD.match(message, position)
    if head is None:
      raise ValueError('it is cut short')
    key, value = (
      sum((byte & 0x7F) << 7 * i for i, byte in enumerate(raw or b''))
      for raw in head.groups()
    )
    number, wire_type = divmod(key, 8)
    if wire_type == 0:
      yield number, value
      position = head.end()
      continue
    start, size = {
      1: (head.end(1), 8),
      2: (head.end(), value),
      5: (head.end(1), 4),
    }.get(wire_type, (0, len(message) + 1))
    position = start + size
    if position > len(message):
      raise ValueError('it is cut short')
    yield number, message[start:position]
