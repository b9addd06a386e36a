"""The fields of a config, and the config that a run was started with."""

import hashlib
import inspect
import json
import pathlib
from collections.abc import Callable, Collection, Mapping
from typing import Any

from lm.data import atomic

ABSENT = '(absent)'


def fields_of(
  function: Callable[..., Any], without: Collection[str] = ()
) -> dict[str, inspect.Parameter]:
  """Returns the arguments of `function` that a config section sets.

  Args:
    function: A builder; a `functools.partial` of one has its own defaults.
    without: Arguments that the caller sets.
  """
  parameters = inspect.signature(function, eval_str=True).parameters
  rest = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
  return {
    name: parameter
    for name, parameter in parameters.items()
    if parameter.kind not in rest and name not in without
  }


def write(config: Mapping[str, Any], path: pathlib.Path) -> None:
  """Writes a resolved config as JSON, atomically."""
  with atomic.new_file(path) as part:
    part.write_text(_text(config, indent=2) + '\n')


def read(path: pathlib.Path) -> dict[str, Any]:
  """Returns a config as it was written, with tuples restored."""
  return _tuples(json.loads(path.read_text()))


def sha256(config: Mapping[str, Any]) -> str:
  """Returns a hash that does not depend on the order of the keys."""
  return hashlib.sha256(_text(config).encode()).hexdigest()


def difference(
  stored: Mapping[str, Any], current: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
  """Returns `{'optimizer.b2': (old, new)}`, either of which may be `ABSENT`."""
  old, new = (dict(_leaves(_tuples(c))) for c in (stored, current))
  return {
    key: (old.get(key, ABSENT), new.get(key, ABSENT))
    for key in sorted(old.keys() | new.keys())
    if old.get(key, ABSENT) != new.get(key, ABSENT)
  }


def _text(config: Mapping[str, Any], **style: Any) -> str:
  return json.dumps(config, sort_keys=True, **style)


def _tuples(value: Any) -> Any:
  if isinstance(value, Mapping):
    return {key: _tuples(item) for key, item in value.items()}
  if isinstance(value, list | tuple):
    return tuple(_tuples(item) for item in value)
  return value


def _leaves(config: Mapping[str, Any], prefix: str = ''):
  for key, value in config.items():
    if isinstance(value, Mapping) and value:
      yield from _leaves(value, f'{prefix}{key}.')
    else:
      yield prefix + key, value
