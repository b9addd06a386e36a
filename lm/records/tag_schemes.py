"""Tagging schemes for the boundaries of entities; all are converted to IOB2.

    words   Alex  lives  in  New    York   City
    IOB2    B-PER O      O   B-LOC  I-LOC  I-LOC
    IOB1    I-PER O      O   I-LOC  I-LOC  I-LOC    B- only after its like
    IOBES   S-PER O      O   B-LOC  I-LOC  E-LOC
    BMES    S-PER O      O   B-LOC  M-LOC  E-LOC
    BILOU   U-PER O      O   B-LOC  I-LOC  L-LOC
    BMEWO   W-PER O      O   B-LOC  M-LOC  E-LOC

(Ramshaw and Marcus 1995; Tjong Kim Sang and Veenstra 1999; Ratinov and Roth
2009.) Those that mark ends are redundant, so broken sequences are detected.
"""

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

_TAG = re.compile(r'O|([BIMESLUW])(?:[-_](.+))?')


class Broken(NamedTuple):
  """A sequence of tags that is invalid in a scheme.

  Attributes:
    place: The index of the word where it breaks.
    problem: What is wrong there, as a clause.
  """

  place: int
  problem: str


@functools.cache  # There are few tags, each of which occurs often.
def split(tag: str) -> tuple[str, str]:
  """Returns the role of a tag's word, and the type of its entity.

  Examples:
    >>> split('B-creative-work')
    ('B', 'creative-work')
  """
  match = _TAG.fullmatch(tag)
  return (match[1] or 'O', match[2] or '') if match else ('', '')


def invalid(tags: Sequence[str]) -> Broken | None:
  """Returns the first tag that belongs to no scheme."""
  for place, tag in enumerate(tags):
    if not split(tag)[0]:
      problem = f"tag {tag!r} is neither 'O' nor B-TYPE, I-TYPE and the like"
      return Broken(place, problem)
  return None


def recognize(sentences: Iterable[Sequence[str]]) -> str:
  """Returns the scheme in which most sentences are valid.

  If all are valid in two, such as IOBES and BMES without an entity of three
  words, both mean the same.
  """
  distinct = {tuple(tags) for tags in sentences}
  kept = {
    name: sum(not isinstance(read(tags), Broken) for tags in distinct)
    for name, read in SCHEMES.items()
  }
  return max(kept, key=kept.__getitem__)


def to_iob2(tags: Sequence[str], scheme: str) -> list[str] | Broken:
  """Returns the same entities in IOB2, or where the sequence breaks."""
  return SCHEMES[scheme](tags)


def _iob2(tags: Sequence[str]) -> list[str] | Broken:
  before = ('O', '')
  for place, tag in enumerate(tags):
    role, type = split(tag)
    if role not in ('B', 'I', 'O'):
      return _foreign(place, tag, 'IOB2')
    if role == 'I' and (before[0] == 'O' or before[1] != type):
      problem = f'tag {tag!r} continues no entity of its type (IOB2)'
      return Broken(place, problem)
    before = (role, type)
  return [_iob2_tag(*split(tag)) for tag in tags]


def _iob1(tags: Sequence[str]) -> list[str] | Broken:
  found, before = [], ('O', '')
  for place, tag in enumerate(tags):
    role, type = split(tag)
    if role not in ('B', 'I', 'O'):
      return _foreign(place, tag, 'IOB1')
    goes_on = before[0] != 'O' and before[1] == type
    if role == 'B' and not goes_on:
      problem = f'tag {tag!r} divides no two entities of its type (IOB1)'
      return Broken(place, problem)
    begins = role == 'I' and not goes_on
    found.append(_iob2_tag('B' if begins else role, type))
    before = (role, type)
  return found


def _closed(
  name: str, begin: str, inside: str, end: str, single: str
) -> Callable[[Sequence[str]], list[str] | Broken]:
  """Returns a reader for a scheme that marks the ends of entities."""

  def read(tags: Sequence[str]) -> list[str] | Broken:
    found, within = [], None
    for place, tag in enumerate(tags):
      role, type = split(tag)
      if role not in (begin, inside, end, single, 'O'):
        return _foreign(place, tag, name)
      follows = role in (inside, end)
      if within is not None and (not follows or type != within):
        problem = f'tag {tag!r} comes before {tags[place - 1]!r} ends ({name})'
        return Broken(place, problem)
      if within is None and follows:
        problem = f'tag {tag!r} continues no entity ({name})'
        return Broken(place, problem)
      within = type if role in (begin, inside) else None
      role = 'O' if role == 'O' else 'I' if follows else 'B'
      found.append(_iob2_tag(role, type))
    if within is not None:
      problem = f'the sentence ends before {tags[-1]!r} does ({name})'
      return Broken(len(tags) - 1, problem)
    return found

  return read


def _foreign(place: int, tag: str, scheme: str) -> Broken:
  problem = f'tag {tag!r} is none of {scheme}, to which most sentences keep'
  return Broken(place, problem)


def _iob2_tag(role: str, type: str) -> str:
  return f'{role}-{type}' if type else role


SCHEMES: Mapping[str, Callable[[Sequence[str]], list[str] | Broken]] = {
  'IOB2': _iob2,
  'IOB1': _iob1,
  'IOBES': _closed('IOBES', 'B', 'I', 'E', 'S'),
  'BMES': _closed('BMES', 'B', 'M', 'E', 'S'),
  'BILOU': _closed('BILOU', 'B', 'I', 'L', 'U'),
  'BMEWO': _closed('BMEWO', 'B', 'M', 'E', 'W'),
}
