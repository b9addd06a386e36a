"""Sentence boundaries, in English, Chinese and similar languages."""

import re

# A sentence ends in these and any closing quotes or brackets, if no lowercase
# letter follows (as in `e.g. this`). Chinese and Japanese put no space between.
_STOP = re.compile(
  r'[.!?…。！？](?:["\'”’»)\]]*(?=\s+[^\sa-zß-öø-ÿ])'
  r'|(?<=[。！？])(?![。！？])[”’」』）】]*)'
)
_PARAGRAPH = re.compile(r'\n\s*\n')


def ends(text: str) -> list[int]:
  """Returns the positions of the last characters of sentences.

  An empty line ends a sentence, as after a heading; the end of a text does so
  only if an empty line stands there.

      He said "No." Then
                  ^    ^   -> 12 17, if an empty line follows
  """
  stops = [match.end() - 1 for match in _STOP.finditer(text)]
  breaks = [_before(text, m.start()) for m in _PARAGRAPH.finditer(text)]
  return sorted({*stops, *breaks} - {-1})


def _before(text: str, place: int) -> int:
  """Returns the last position before `place` that is not white space, or -1."""
  place -= 1
  while place >= 0 and text[place].isspace():
    place -= 1
  return place
