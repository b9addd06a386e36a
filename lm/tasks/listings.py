"""Entities in words: a text that lists them, and back.

    words     Ann Lee moved to Paris ; Bob stayed
    listing   person: Ann Lee; location: Paris; person: Bob

A listing is NONE, or items with '; ' between them, in the order of the words.
An item is a name of a type, ': ' and the words of the entity as they stand
there. In both, ';' and ':' are written twice: doubled, they are tokens that
every vocabulary has, which T5's has of no backslash.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lm.tasks.iob2 import Span

NONE = 'none'  # What is listed where there is nothing.
_ITEM = re.compile('(?:;;|[^;])++')
_PARTS = re.compile('((?:::|[^:])*+):(.*)', re.DOTALL)


class Item(NamedTuple):
  """What is listed.

  Attributes:
    name: Of a type; '': the text is no item, as when it was broken off.
    text: Of the entity.
  """

  name: str
  text: str


class Found(NamedTuple):
  """What a listing says of some words.

  Attributes:
    entities: In the order of the words.
    spurious: What is listed, but not there.
  """

  entities: list[Span]
  spurious: list[Item]


def write(items: Sequence[Item]) -> str:
  """Returns a listing."""
  listed = (f'{_double(name)}: {_double(text)}' for name, text in items)
  return '; '.join(listed) or NONE


def parse(listing: str) -> list[Item]:
  """Returns what is listed; what is no item is one without a name."""
  found = []
  for part in _ITEM.findall(listing):
    parts = _PARTS.fullmatch(part)
    name, text = parts.groups() if parts else ('', part)
    item = Item(_single(name.strip()), _single(text.strip()))
    if any(item) and item != ('', NONE):
      found.append(item)
  return found


def find(
  items: Sequence[Item], words: Sequence[str], types: Mapping[str, str]
) -> Found:
  """Returns where items stand among words.

  Each is sought after the end of the one before, and is the first words that
  are the same but for white space and forms of characters (NFKC), with which
  some tokenizers take liberties. An item that is not found, or of whose name
  there is no type, is spurious.

  Args:
    items: Listed, in order.
    words: Of the sentence.
    types: By name.
  """
  entities, spurious, behind = [], [], 0
  for item in items:
    place = _place(item.text, words, behind) if item.name in types else None
    if place is None:
      spurious.append(item)
    else:
      behind = place[1]
      entities.append(Span(types[item.name], *place))
  return Found(entities, spurious)


def essence(text: str) -> str:
  """Returns what of a text no tokenizer changes: no white space, and NFKC."""
  bare = ''.join(text.split())
  return ''.join(unicodedata.normalize('NFKC', bare).split())


def _place(
  text: str, words: Sequence[str], behind: int
) -> tuple[int, int] | None:
  wanted = essence(text)
  for start in range(behind, len(words) if wanted else 0):
    for end in range(start + 1, len(words) + 1):
      read = essence(''.join(words[start:end]))
      if read == wanted and essence(words[start]):
        return start, end
      if len(read) > len(wanted):
        break
  return None


def _double(text: str) -> str:
  return re.sub('[;:]', r'\g<0>\g<0>', text)


def _single(text: str) -> str:
  return re.sub('([;:])\\1', r'\1', text)
