"""WikiText (Merity et al. 2017) as plain text: articles, detokenized.

Its files hold words separated by spaces, with their own notation: `@-@` for a
hyphen inside a word, `<unk>` for a rare one, spaces around punctuation. A model
that is to read ordinary text should not learn it.
"""

import itertools
import pathlib
import re
from collections.abc import Iterable, Iterator

from lm.data import text_files
from lm.types import UserError

_TITLE = re.compile(r' = [^=].*[^=] = ?\n')  # Of an article; sections have ==.
_HEADING = re.compile(r'^\s*(?:= )+(.*?)(?: =)+\s*$')
_RULES = tuple(
  (re.compile(pattern), replacement)
  for pattern, replacement in (
    (r' ?<unk>', ''),
    (r' ?@([-,.–])@ ?', r'\1'),  # 1 @,@ 000 and well @-@ known.
    (r'" ([^"]*) "', r'"\1"'),
    (r"(?<= )' ([^']*) '(?= |$)", r"'\1'"),
    (r" ('(?:s|t|re|ve|ll|d|m)\b)", r'\1'),
    (r"(?<=s) '(?= )", "'"),  # The brothers ' house.
    (r' ([.,;:!?)\]%’”])', r'\1'),
    (r'([(\[$£€#“‘]) ', r'\1'),
    (r' ([–—/]) ', r'\1'),
    (r' {2,}', ' '),
  )
)


def detokenize(line: str) -> str:
  """Returns a line as it was before it was split into words.

  Examples:
    >>> detokenize(" The 10 @,@ 000 people 's <unk> ( of Paris ) came .")
    "The 10,000 people's (of Paris) came."
  """
  line = _HEADING.sub(r'\1', line).strip()
  for pattern, replacement in _RULES:
    line = pattern.sub(replacement, line)
  return line.strip()


def articles(files: Iterable[pathlib.Path]) -> Iterator[str]:
  """Yields the text of each article, one paragraph per line."""
  for file in files:
    article = []
    for before, line, after in _triples(text_files.lines(file)):
      # Similar lines of the text have no blank lines on both sides.
      title = _TITLE.fullmatch(line) and before.isspace() and after.isspace()
      if title and article:
        yield '\n'.join(article)
        article = []
      if text := detokenize(line):
        article.append(text)
    if article:
      yield '\n'.join(article)


def _triples(lines: Iterable[str]) -> Iterator[tuple[str, str, str]]:
  """Yields each line between the one before and the one after it."""
  before, *rest = itertools.tee(itertools.chain(['\n'], lines, ['\n']), 3)
  line, after = (itertools.islice(it, n, None) for n, it in enumerate(rest, 1))
  return zip(before, line, after)


def sides(
  files: Iterable[pathlib.Path],
) -> dict[str, tuple[pathlib.Path, ...]]:
  """Returns the files of each side, judging by their names.

  Raises:
    UserError: One of the two sides has none.
  """
  found = {
    side: tuple(file for file in files if mark in file.name)
    for side, mark in (('train', 'train'), ('validation', 'valid'))
  }
  for side, own in found.items():
    if not own:
      raise UserError(
        f'None of the files of config.data.path is for {side}: WikiText has one'
        ' with "train" and one with "valid" in its name. Name both, as in'
        " 'wikitext2/*.txt'."
      )
  return found
