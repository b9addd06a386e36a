"""Byte pair encoding written a second time: slowly, and by its definition."""

import itertools
import re
import unicodedata
from collections import Counter

# GPT-2's pattern, over a string of the characters' kinds: `re` knows no \p{L}.
_CONTRACTION = re.compile(r"'(?:s|t|re|ve|m|ll|d)")
_WORD = re.compile(r' ?L+| ?N+| ?O+|[ S]+(?![LNO])|[ S]+')


def _kind(character: str) -> str:
  if character == ' ':
    return ' '
  if character.isspace():
    return 'S'
  category = unicodedata.category(character)[0]
  return category if category in 'LN' else 'O'


def words(text: str) -> Counter[bytes]:
  """Returns how often each of GPT-2's words stands in a text."""
  return Counter(word.encode() for word in split(text))


def split(text: str) -> list[str]:
  """Returns the words of a text, between which nothing is joined."""
  kinds = ''.join(map(_kind, text))
  found, position = [], 0
  while position < len(text):
    match = _CONTRACTION.match(text, position) or _WORD.match(kinds, position)
    found.append(text[position : match.end()])
    position = match.end()
  return found


def join(
  tokens: tuple[bytes, ...], pair: tuple[bytes, bytes]
) -> tuple[bytes, ...]:
  """Joins a pair wherever it stands, from left to right."""
  joined, position = [], 0
  while position < len(tokens):
    here = 2 if tokens[position : position + 2] == pair else 1
    joined.append(b''.join(tokens[position : position + here]))
    position += here
  return tuple(joined)


def segment(word: bytes, merges: list[tuple[bytes, bytes]]) -> list[bytes]:
  """Returns the tokens of a word: each merge in turn, where it applies."""
  rank = {pair: i for i, pair in enumerate(merges)}
  tokens = tuple(bytes([byte]) for byte in word)
  while found := rank.keys() & {*itertools.pairwise(tokens)}:
    tokens = join(tokens, min(found, key=rank.get))
  return list(tokens)


def as_bytes(piece: str) -> bytes:
  """Returns the bytes that a piece of GPT-2's vocabulary stands for."""
  return bytes(_BYTES[character] for character in piece)


def _bytes() -> dict[str, int]:
  visible = set(range(ord('!'), ord('~') + 1))
  visible |= set(range(ord('¡'), ord('¬') + 1))
  visible |= set(range(ord('®'), ord('ÿ') + 1))
  table, unused = {}, 256
  for byte in range(256):
    if byte in visible:
      table[chr(byte)] = byte
    else:
      table[chr(unused)] = byte
      unused += 1
  return table


_BYTES = _bytes()
