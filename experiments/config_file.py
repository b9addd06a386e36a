"""Config files: read, completed with what builders default to, overridden.

A config file lists what matters for it. Everything else that can be set is in
the signatures of what its sections build, so the resolved config lists it all,
and a key that nothing would consume is an error.
"""

import difflib
import importlib.util
import inspect
import pathlib
import types
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from absl import logging
from ml_collections import config_dict

from experiments import values
from lm.types import UserError

# What a section can say: `fields(name, preset) -> {'num_layers': Parameter}`.
# Its arguments are the section's selectors, in the config as well; they decide
# which fields there are. The section '' is the top of the config.
Sections = Mapping[str, Callable[..., Mapping[str, inspect.Parameter]]]


class Asked(NamedTuple):
  """A config as it was asked for, to be handed on to another command.

  Attributes:
    path: FILE.py or FILE.py:VARIANT.
    overrides: Texts by dotted key.
  """

  path: str
  overrides: Mapping[str, str]


def load(
  path: str,
  overrides: Mapping[str, Any],
  sections: Sections,
  inherited: Callable[[str], Mapping[str, Any]] | None = None,
) -> config_dict.ConfigDict:
  """Returns the whole config, locked: every field of every section.

  A field is what `overrides` says, else the file, else the builder or its
  preset. A field that the file lists for one builder is dropped if an override
  chooses another one that has no such field.

  Args:
    path: FILE.py or FILE.py:VARIANT.
    overrides: By dotted key, `{'model.num_layers': 2}`; texts are parsed.
    sections: What each section can say.
    inherited: What a run lists that starts from another, by dotted key, of its
      `init_from`; whatever the file lists of these sections does not count.

  Raises:
    UserError: A key or a value that nothing can consume.
  """
  config = read(path)
  origin = overrides.get('init_from', config.get('init_from', ''))
  if origin and inherited:
    taken = inherited(origin)
    config = {**config, 'model': taken.pop('model')} | {
      section: {**config[section], **fields}
      for section, fields in taken.items()
    }
  return complete(path, config, overrides, sections)


def complete(
  path: str,
  config: Mapping[str, Any],
  overrides: Mapping[str, Any],
  sections: Sections,
) -> config_dict.ConfigDict:
  """Returns what `load` does for what the file `path` lists."""
  listed = _flat(config)
  known: dict[str, inspect.Parameter] = {}
  for section, fields in sections.items():
    prefix = f'{section}.' if section else ''
    selectors = _keyed(prefix, inspect.signature(fields).parameters)
    chosen = _values(path, selectors, listed, overrides)
    own = _keyed(prefix, fields(*chosen.values()))
    known |= selectors | own
    if selectors.keys() & overrides.keys():
      listed = _drop_orphans(path, prefix, known, listed)
  _check_known(f'{path}: ', listed, known)
  _check_known('', overrides, known)
  return _nested(known, _values(path, known, listed, overrides)).lock()


def read(path: str) -> Mapping[str, Any]:
  """Returns what the file lists, from its `get_config(variant)`."""
  name, _, variant = path.partition(':')
  found = module(name, 'config')
  if not hasattr(found, 'get_config'):
    raise UserError(
      f"{name} has no get_config. Write `def get_config(variant=''):` in it,"
      ' which returns a ConfigDict, as the files in configs/ do.'
    )
  try:
    return config_dict.ConfigDict(found.get_config(variant)).to_dict()
  except ValueError as error:  # How a config refuses a variant.
    raise UserError(f'{path}: {error}') from error


def module(name: str, flag: str) -> types.ModuleType:
  """Returns a file of Python, executed.

  Args:
    name: Of the file.
    flag: By which it is named, for the message if it is not there.
  """
  file = pathlib.Path(name)
  if not file.is_file():
    there = sorted(str(f) for f in file.parent.glob('*.py') if f.stem[0] != '_')
    variant = ' or --config=FILE.py:VARIANT' if flag == 'config' else ''
    raise UserError(
      f'There is no {flag} file {name}. Set --{flag}=FILE.py{variant}; there are'
      f' {", ".join(there) or "none"}.'
    )
  spec = importlib.util.spec_from_file_location(f'{flag}_{file.stem}', file)
  made = importlib.util.module_from_spec(spec)
  try:
    spec.loader.exec_module(made)
  except SyntaxError as error:
    raise UserError(f'{name} is not Python: {error}.') from error
  return made


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns sections as dotted keys: `{'seed': 0, 'model.name': 'gpt'}`."""
  flat = {}
  for key, value in config.items():
    if isinstance(value, Mapping):
      flat |= {f'{key}.{field}': item for field, item in value.items()}
    else:
      flat[key] = value
  return flat


def _keyed(prefix: str, parameters: Mapping[str, inspect.Parameter]):
  return {prefix + name: parameter for name, parameter in parameters.items()}


def _values(
  path: str,
  parameters: Mapping[str, inspect.Parameter],
  listed: Mapping[str, Any],
  overrides: Mapping[str, Any],
) -> dict[str, Any]:
  """Returns the value of each parameter, from the first place that has one."""
  found, missing = {}, []
  for key, parameter in parameters.items():
    kind = parameter.annotation
    if parameter.default is None:  # It may stay so, whatever its type.
      kind = kind | None
    if key in overrides:
      found[key] = values.convert(f'config.{key}', overrides[key], kind)
    elif key in listed:
      found[key] = values.convert(f'{path}: config.{key}', listed[key], kind)
    elif parameter.default is not parameter.empty:
      found[key] = parameter.default
    else:
      missing.append(f'config.{key}')
  if missing:
    raise UserError(
      f'{path} does not say {", ".join(missing)}, which has no default. Set it'
      f' there, or with --{missing[0]}=VALUE.'
    )
  return found


def _drop_orphans(
  path: str, prefix: str, known: Collection[str], listed: Mapping[str, Any]
) -> dict[str, Any]:
  orphans = [k for k in listed if k.startswith(prefix) and k not in known]
  if orphans:
    logging.warning(
      '%s lists %s for another choice than the one made: left out.',
      path,
      ', '.join(orphans),
    )
  return {key: listed[key] for key in listed if key not in orphans}


def _check_known(
  where: str, given: Collection[str], known: Collection[str]
) -> None:
  """Raises UserError, with the nearest name, unless all of `given` is known."""
  for key in given:
    if key in known:
      continue
    section, _, field = key.rpartition('.')
    siblings = [k for k in known if k.rpartition('.')[0] == section]
    # The right name in the wrong section is near, the right section nearer.
    by_field = {k.rpartition('.')[2]: k for k in [*known, *siblings]}
    near = difflib.get_close_matches(field, by_field, 1)
    if near:
      hint = f'Did you mean config.{by_field[near[0]]}?'
    else:
      names = siblings or dict.fromkeys(k.partition('.')[0] for k in known)
      hint = f'There are config.{", config.".join(names)}.'
    raise UserError(f'{where}There is no config.{key}. {hint}')


def _nested(
  parameters: Mapping[str, inspect.Parameter], flat: Mapping[str, Any]
) -> config_dict.ConfigDict:
  """Returns dotted keys as sections; what is None keeps its type."""
  config = config_dict.ConfigDict()
  for key, value in flat.items():
    if value is None:
      value = config_dict.placeholder(
        values.classes(parameters[key].annotation)
      )
    section, _, field = key.rpartition('.')
    part = config
    if section:
      if section not in config:
        # A mapping that is a value stays what its builder asks for.
        config[section] = config_dict.ConfigDict(convert_dict=False)
      part = config[section]
    part[field] = value
  return config
