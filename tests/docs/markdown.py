"""What README and docs have beside prose: commands and files."""

import pathlib
import re
import shlex
from collections.abc import Iterator
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md'))]
STARTS = tuple(
  f'{program} '
  for program in [
    'python',
    'pip',
    'make',
    'mkdocs',
    'tensorboard',
    'git',
    'gcloud',
    'kubectl',
    'squeue',
    'sbatch',
    'tail',
    'uv',
    'sha256sum',
  ]
)
MARK = re.compile(r'<!--(?: needs: (.+?))? -->')


class Command(NamedTuple):
  """What a reader is to type.

  Attributes:
    page: Where it stands, from the root.
    line: Its number there.
    argv: Its words; of some variables before it, none.
    needs: What it needs that not every machine has; '' if nothing.
  """

  page: str
  line: int
  argv: list[str]
  needs: str


class File(NamedTuple):
  """A fenced block that is called as a file is."""

  path: str
  language: str
  text: str


def commands(page: pathlib.Path) -> Iterator[Command]:
  """Yields the commands of a page, those over several lines as one.

  What a comment before a block says that it needs holds for the block.
  """
  lines = page.read_text().splitlines()
  number, fenced, needs = 0, False, ''
  while number < len(lines):
    first, line = number, lines[number]
    number += 1
    if line.lstrip().startswith('```'):
      fenced = not fenced
    indented = line.startswith('    ') or fenced
    if found := MARK.fullmatch(line.strip()):
      needs = found[1] or ''
    elif line.strip() and not indented:
      needs = ''
    if not indented or not line.strip().startswith(STARTS):
      continue
    text = line
    while text.endswith('\\'):
      text = text[:-1] + ' ' + lines[number].strip()
      number += 1
    argv = shlex.split(text, comments=True)
    where = page.relative_to(ROOT).as_posix()
    yield Command(where, first + 1, argv, needs)


def inline(page: pathlib.Path) -> Iterator[Command]:
  """Yields the commands that stand within sentences and tables."""
  where, text = page.relative_to(ROOT).as_posix(), page.read_text()
  for found in re.finditer(r'`(python -m [^`]+)`', text):
    line = text[: found.start()].count('\n') + 1
    yield Command(where, line, shlex.split(found[1]), '')


def files(page: pathlib.Path) -> Iterator[File]:
  """Yields the blocks of a page that have a title."""
  pattern = r'^```(\w+) title="([^"]+)"\n(.*?)^```$'
  for found in re.finditer(pattern, page.read_text(), re.M | re.S):
    yield File(found[2], found[1], found[3])


def put(file: File, root: pathlib.Path) -> None:
  """Writes a file, or makes the change that a diff shows."""
  path = root / file.path
  if file.language != 'diff':
    path.write_text(file.text)
    return
  lines = file.text.splitlines(keepends=True)
  old = ''.join(line[1:] for line in lines if not line.startswith('+'))
  new = ''.join(line[1:] for line in lines)
  text = path.read_text()
  assert text.count(old) == 1, f'{file.path} has not once:\n{old}'
  path.write_text(text.replace(old, new))
