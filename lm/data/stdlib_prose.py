"""English that every Python comes with: its help topics and its docstrings."""

import ast
import functools
import pathlib
import sys
import sysconfig
from collections.abc import Iterator

from lm.types import UserError

DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
# Tests are left out: many installations of Python lack them.
TESTS = {'idle_test', 'test', 'tests'}
TOPICS = 'pydoc_data/topics.py'


@functools.cache
def files() -> tuple[pathlib.Path, ...]:
  """Returns the sources that the text is taken from, in order of their names."""
  root = pathlib.Path(sysconfig.get_path('stdlib'))
  if not (root / TOPICS).exists():
    raise UserError(
      f'This Python has no sources of its standard library in {root}, so'
      " config.data.source='stdlib' has nothing to read. Use a Python that has"
      " them, or set config.data.source to 'text' and config.data.path."
    )
  found = [root / TOPICS]
  for name in sorted(sys.stdlib_module_names):
    found += [root / f'{name}.py', *sorted((root / name).rglob('*.py'))]
  return tuple(
    file
    for file in found
    if file.is_file() and TESTS.isdisjoint(file.relative_to(root).parts)
  )


@functools.cache
def documents() -> tuple[str, ...]:
  """Returns the topics that `help()` shows, and every docstring, each once.

  Each is kept whole, examples included, without its indentation. Sources are
  parsed, never imported, since importing some of them has side effects. The
  text is the same on every call, but differs between versions of Python.
  """
  topics, *modules = files()
  found = list(_topics(_parse(topics)))
  for module in modules:
    found += _docstrings(_parse(module))
  return tuple(filter(None, dict.fromkeys(map(str.strip, found))))


def _parse(file: pathlib.Path) -> ast.Module:
  return ast.parse(file.read_bytes())


def _topics(tree: ast.Module) -> Iterator[str]:
  """Yields the values of `topics = {name: text, ...}`."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Dict):
      yield from map(ast.literal_eval, node.values)


def _docstrings(tree: ast.Module) -> Iterator[str]:
  """Yields docstrings of the module, its classes and functions at any depth."""
  pending = [tree]
  while pending:
    node = pending.pop()
    yield ast.get_docstring(node) or ''
    inner = [part for part in node.body if isinstance(part, DEFINITIONS)]
    pending.extend(reversed(inner))
