"""Converts values as users write them to the types of a signature."""

import ast
import collections.abc
import difflib
import inspect
import types
import typing
from collections.abc import Iterable
from typing import Any, Literal

from lm.types import UserError

NoneType = type(None)
NAMES = {
  int: 'an integer',
  float: 'a number',
  bool: 'true or false',
  str: 'a text',
  tuple: 'a tuple such as 1,2',
  collections.abc.Mapping: "a mapping such as {'a': 1}",
  NoneType: 'none',
}
WORDS = {NoneType: {'none': None}, bool: {'true': True, 'false': False}}
READ_BY = {int: (str,), float: (str, int)}


def convert(key: str, value: Any, kind: Any) -> Any:
  """Returns `value`, which may be written as text, as a `kind`.

  Args:
    key: The user's name for it, for messages.
    value: A text from a command line, or a value from a config file.
    kind: The annotation: a union, a Literal, a tuple, a mapping or a class.

  Raises:
    UserError: `value` is not a `kind`.
  """
  for option in _options(kind):
    try:
      return _as_one(value, option)
    except (KeyError, TypeError, ValueError):
      continue  # The next option, or the message for all of them.
  hint, choices = '', _choices(kind)
  if isinstance(value, str):
    wrong = [word for word in value.split(',') if word not in choices]
    hint = did_you_mean(wrong[0] if wrong else value, choices)
  raise UserError(f'{key} is {value!r}, but it is to be {name_of(kind)}.{hint}')


def name_of(kind: Any) -> str:
  """Returns a readable name of `kind`: `an integer or none`."""
  names = []
  for option in sorted(_options(kind), key=lambda o: o is NoneType):
    origin = typing.get_origin(option) or option
    names.append(NAMES.get(origin, getattr(origin, '__name__', str(origin))))
    choices = _choices(option)
    if origin is Literal:
      names[-1] = ' or '.join(choices)
    elif choices:
      names[-1] = f'any of {", ".join(choices)}, separated by commas'
  return ' or '.join(names)


def classes(kind: Any) -> tuple[type, ...]:
  """Returns the classes of the values of `kind`, except that of None."""
  origins = [typing.get_origin(option) or option for option in _options(kind)]
  anything = {Any: object, inspect.Parameter.empty: object, Literal: object}
  return tuple(anything.get(o, o) for o in origins if o is not NoneType)


def did_you_mean(word: str, known: Iterable[str]) -> str:
  """Returns ` Did you mean ...?`, or '' if nothing is similar."""
  near = difflib.get_close_matches(word, known, 1)
  return f' Did you mean {near[0]}?' if near else ''


def _options(kind: Any) -> list[Any]:
  """Returns the members of a union; str is last, since any text fits it."""
  union = typing.get_origin(kind) in (typing.Union, types.UnionType)
  members = typing.get_args(kind) if union else (kind,)
  order = [NoneType, bool, int, float]
  rank = lambda o: order.index(o) if o in order else len(order) + (o is str)
  return sorted(members, key=rank)


def _choices(kind: Any) -> list[str]:
  """Returns the values of the Literals in `kind`, also as items of a tuple."""
  found: list[str] = []
  for option in _options(kind):
    origin, args = typing.get_origin(option), typing.get_args(option)
    if origin is Literal:
      found += map(str, args)
    elif origin is tuple:
      found += [choice for item in args for choice in _choices(item)]
  return found


def _as_one(value: Any, kind: Any) -> Any:
  """Returns `value` as a `kind` that is not a union, or raises."""
  origin, args = typing.get_origin(kind) or kind, typing.get_args(kind)
  text = isinstance(value, str)
  if origin in (Any, inspect.Parameter.empty):
    return _literal(value) if text else value
  if origin is Literal:
    return {str(choice): choice for choice in args}[str(value)]
  if origin is tuple:
    return _as_tuple(value, args)
  if origin in (dict, collections.abc.Mapping):
    return dict(_literal(value) if text else value)
  if text and origin in WORDS:
    return WORDS[origin][value.lower()]
  if type(value) in READ_BY.get(origin, ()):
    return origin(value)
  if not isinstance(value, origin):
    raise ValueError
  if isinstance(value, bool) and origin is not bool:  # A subclass of int.
    raise ValueError
  return value


def _as_tuple(value: Any, kinds: tuple[Any, ...]) -> tuple[Any, ...]:
  if isinstance(value, str):
    listed = value.startswith(('(', '['))
    value = _literal(value) if listed else [v for v in value.split(',') if v]
  if not isinstance(value, tuple | list):
    raise ValueError
  kinds = kinds or (Any, ...)
  if kinds[-1] is Ellipsis:
    kinds = kinds[:1] * len(value)
  if len(kinds) != len(value):
    raise ValueError
  return tuple(convert('', item, kind) for item, kind in zip(value, kinds))


def _literal(text: str) -> Any:
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError):
    return text
