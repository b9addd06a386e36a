"""Where the sentences of a text end, in English, Chinese and their like."""

import re

# A sentence ends in these, and in what closes a quotation after them, where
# no small letter follows (as in `e.g. this`); Chinese and Japanese put no space.
_STOP = re.compile(
  r'[.!?…。！？](?:["\'”’»)\]]*(?=\s+[^\sa-zß-öø-ÿ])'
  r'|(?<=[。！？])(?![。！？])[”’」』）】]*)'
)
_PARAGRAPH = re.compile(r'\n\s*\n')


def ends(text: str) -> list[int]:
  """Returns where the last characters of sentences stand.

  An empty line ends a sentence, as after a heading; the end of a text is one
  only where an empty line stands there.

      He said "No." Then
                  ^    ^   -> 12 17, if an empty line follows
  """
  stops = [match.end() - 1 for match in _STOP.finditer(text)]
  breaks = [_before(text, m.start()) for m in _PARAGRAPH.finditer(text)]
  return sorted({*stops, *breaks} - {-1})


def _before(text: str, place: int) -> int:
  """Returns the last place before `place` that is no space, or -1."""
  place -= 1
  while place >= 0 and text[place].isspace():
    place -= 1
  return place
