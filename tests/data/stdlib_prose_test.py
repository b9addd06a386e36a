"""The embedded text is there, clean, and the same on every call."""

import sys

import pytest

from lm.data import stdlib_prose
from lm.types import UserError


def test_there_are_about_two_million_characters_of_english():
  documents = stdlib_prose.documents()
  text = '\n'.join(documents)

  assert 1.8e6 < len(text) < 2.8e6
  assert len(documents) > 5000
  assert text.count(' the ') / len(text.split()) > 0.03


@pytest.mark.parametrize(
  'start',
  [
    'The "assert" statement\n**********',
    'JSON (JavaScript Object Notation) <https://json.org> is a subset',  # module
    'This class implements rational numbers.\n\n',
    'Shuffle list x in place, and return None.',  # a method
    'generic_func.dispatch(cls) -> <function',  # a function within a function
  ],
)
def test_topics_and_docstrings_are_kept_without_indentation(start):
  assert any(text.startswith(start) for text in stdlib_prose.documents())
  assert all(text == text.strip() != '' for text in stdlib_prose.documents())


def test_no_text_is_of_the_tests_of_python_or_of_packages_beside_it():
  parts = {part for file in stdlib_prose.files() for part in file.parts}

  assert parts.isdisjoint({'test', 'tests', 'idle_test', 'site-packages'})
  assert {'json', 'pydoc_data', 'textwrap.py'} <= parts


def test_the_order_of_the_files_is_that_of_their_names():
  topics, *modules = stdlib_prose.files()
  depth = len(topics.parent.parent.parts)
  names = [module.parts[depth].removesuffix('.py') for module in modules]

  assert names == sorted(names)


def test_every_text_is_there_once():
  documents = stdlib_prose.documents()

  assert len(set(documents)) == len(documents)


def test_the_text_is_the_same_on_every_call_and_nothing_is_imported():
  expected = stdlib_prose.documents()
  before = set(sys.modules)

  assert stdlib_prose.files.__wrapped__() == stdlib_prose.files()
  assert stdlib_prose.documents.__wrapped__() == expected
  assert set(sys.modules) == before


def test_a_python_without_its_sources_is_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(stdlib_prose.sysconfig, 'get_path', lambda _: tmp_path)

  with pytest.raises(UserError, match='no sources of its standard library'):
    stdlib_prose.files.__wrapped__()
