"""The conventions that a program can check."""

import ast
import pathlib
import re
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).parents[1]
SOURCES = sorted(
  file.relative_to(ROOT).as_posix()
  for folder in ('lm', 'experiments')
  for file in (ROOT / folder).rglob('*.py')
)
MAX_FUNCTION = 60
MAX_FILE = 400
DRAWERS = re.compile(r'(^|_)(utils?|commons?|helpers?|managers?|misc)$')

# From the command line to the update of the parameters, the model included.
READING = (
  'experiments/train.py',
  'lm/training/loop.py',
  'lm/training/step.py',
  'lm/models/gpt.py',
  'lm/models/transformer.py',
)
MAX_READING = 800

# A path that is there on one machine only.
MACHINE_PATH = re.compile(
  r'(?<![\w.~:/$})-])/(home|root|Users|work|opt|mnt|tmp)/\w'
)
TEXT = ('.ipynb', '.json', '.jsonl', '.md', '.py', '.sh', '.toml', '.txt')

Function = ast.FunctionDef | ast.AsyncFunctionDef


def too_long(source: str) -> dict[str, int]:
  """Returns the lines of each function that has too many, docstring aside."""
  found = {}
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, Function):
      lines = node.end_lineno - node.lineno + 1
      if ast.get_docstring(node):
        lines -= node.body[0].end_lineno - node.body[0].lineno + 1
      if lines > MAX_FUNCTION:
        found[node.name] = lines
  return found


def public(body: list[ast.stmt]) -> Iterator[Function | ast.ClassDef]:
  """Yields the public functions and classes, and the methods of those."""
  for node in body:
    named = isinstance(node, Function | ast.ClassDef)
    if named and not node.name.startswith('_'):
      yield node
      if isinstance(node, ast.ClassDef):
        yield from public(node.body)


def undocumented(source: str) -> list[str]:
  """Returns the names of what is public and nowhere has a docstring.

  A method may be explained once, in the protocol that its class follows.
  """
  tree = ast.parse(source)
  explained = {'setup'}  # By flax.
  explained |= {n.name for n in public(tree.body) if ast.get_docstring(n)}
  names = [n.name for n in public(tree.body) if n.name not in explained]
  if tree.body and not ast.get_docstring(tree):
    names.insert(0, 'the module')
  return names


def test_files_and_functions_are_small():
  sources = {file: (ROOT / file).read_text() for file in SOURCES}
  lines = {file: len(text.splitlines()) for file, text in sources.items()}
  assert {file: n for file, n in lines.items() if n > MAX_FILE} == {}
  functions = {file: too_long(text) for file, text in sources.items()}
  assert {file: long for file, long in functions.items() if long} == {}


def test_all_that_is_public_says_what_it_is():
  bare = {file: undocumented((ROOT / file).read_text()) for file in SOURCES}
  assert {file: names for file, names in bare.items() if names} == {}


def test_no_file_is_a_drawer():
  assert [f for f in SOURCES if DRAWERS.search(pathlib.Path(f).stem)] == []


def test_the_way_to_the_update_reads_in_one_sitting():
  lines = [len((ROOT / file).read_text().splitlines()) for file in READING]
  assert sum(lines) <= MAX_READING, dict(zip(READING, lines))


def test_no_file_names_a_path_of_one_machine():
  folders = [
    folder
    for folder in ROOT.iterdir()
    if folder.is_dir()
    and not folder.name.startswith('.')
    and folder.name not in ('runs', 'build')  # What is not kept.
  ]
  kept = [f for f in ROOT.iterdir() if f.is_file()]
  kept += [f for folder in folders for f in folder.rglob('*')]
  named = [
    f'{file.relative_to(ROOT)}:{number}: {line.strip()}'
    for file in [*kept, ROOT / '.ci/run']
    if file.suffix in TEXT or file.name in ('Makefile', 'run')
    for number, line in enumerate(file.read_text().splitlines(), 1)
    if MACHINE_PATH.search(line)
  ]
  assert named == []


def test_these_checks_can_fail():
  body = '\n'.join(['  x = 1'] * MAX_FUNCTION)
  fits = body.removesuffix('\n  x = 1')
  assert too_long(f'def f():\n{fits}') == {}
  assert too_long(f'def f():\n  "A"\n{fits}') == {}
  assert too_long(f'def f():\n{body}') == {'f': MAX_FUNCTION + 1}
  one = 'class A:\n  "A."\n  def f(self): ...\n  def _g(self): ...'
  two = 'class B:\n  "B."\n  def f(self): "F."'
  assert undocumented(one) == ['the module', 'f']
  assert undocumented(f'{one}\n{two}') == ['the module']
  for stem in ('utils', 'data_utils', 'helper', 'state_manager'):
    assert DRAWERS.search(stem)
  for stem in ('futile', 'managers_of', 'common_crawl'):
    assert not DRAWERS.search(stem)
  for folder in ('home', 'Users', 'tmp'):
    assert MACHINE_PATH.search(f'open("/{folder}/me")')
    assert not MACHINE_PATH.search(f'https://a.b/{folder}/me')
