"""Entities as text: writes a list of them, and parses one.

    words     Ann Lee moved to Paris ; Bob stayed
    listing   person: Ann Lee; location: Paris; person: Bob

A listing is NONE, or items with '; ' between them, in the order of the words.
An item is the name of a type, ': ' and the words of the entity as they appear.
In both, ';' and ':' are escaped by doubling, for which every vocabulary has
tokens; T5's has none for a backslash.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lm.tasks.iob2 import Span

NONE = 'none'  # The listing of no entities.
_ITEM = re.compile('(?:;;|[^;])++')
_PARTS = re.compile('((?:::|[^:])*+):(.*)', re.DOTALL)


class Item(NamedTuple):
  """An item of a listing.

  Attributes:
    name: The name of a type; '' if the text is not an item, as when truncated.
    text: The text of the entity.
  """

  name: str
  text: str


class Found(NamedTuple):
  """The entities of a listing, located among some words.

  Attributes:
    entities: Those found, in the order of the words.
    spurious: Items that were listed but not found.
  """

  entities: list[Span]
  spurious: list[Item]


def write(items: Sequence[Item]) -> str:
  """Returns a listing."""
  listed = (f'{_double(name)}: {_double(text)}' for name, text in items)
  return '; '.join(listed) or NONE


def parse(listing: str) -> list[Item]:
  """Returns the items of a listing; malformed ones have no name."""
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
  """Returns where items occur among words.

  Each is searched for after the end of the one before, and matches the first
  words that are equal up to white space and NFKC, which some tokenizers do not
  preserve. An item that is not found, or whose name is no type's, is spurious.

  Args:
    items: The listed items, in order.
    words: The words of the sentence.
    types: The type of each name.
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
  """Returns the part of a text that all tokenizers keep: no spaces, NFKC."""
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
