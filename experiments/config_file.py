"""Reads config files, applies overrides, and fills in the builders' defaults.

A config file lists only what matters to it. Everything else that can be set is
in the signatures of what its sections build, so the resolved config lists all
fields, and a key that nothing would consume is an error.
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

# The fields of a section: `fields(name, preset) -> {'num_layers': Parameter}`.
# The arguments are the section's selectors, which are config fields too, and
# determine the others. The section '' is the top level of the config.
Sections = Mapping[str, Callable[..., Mapping[str, inspect.Parameter]]]


class Asked(NamedTuple):
  """A config as given on the command line, to be passed to another command.

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

  A value comes from `overrides`, else the file, else the builder or its preset.
  A field that the file lists for one builder is dropped if an override selects
  another builder that has no such field.

  Args:
    path: FILE.py or FILE.py:VARIANT.
    overrides: By dotted key, `{'model.num_layers': 2}`; texts are parsed.
    sections: The fields of each section.
    inherited: Returns, for the `init_from` of a run, the sections that it takes
      over. The model's replaces that of the file, others override its fields.

  Raises:
    UserError: A key or a value is invalid.
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
  """Returns the same as `load`, given the content of the file `path`."""
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
  """Returns the content of a config file, from its `get_config(variant)`."""
  name, _, variant = path.partition(':')
  found = module(name, 'config')
  if not hasattr(found, 'get_config'):
    raise UserError(
      f"{name} has no get_config. Write `def get_config(variant=''):` in it,"
      ' which returns a ConfigDict, as the files in configs/ do.'
    )
  try:
    return config_dict.ConfigDict(found.get_config(variant)).to_dict()
  except ValueError as error:  # A config raises this for unknown variants.
    raise UserError(f'{path}: {error}') from error


def module(name: str, flag: str) -> types.ModuleType:
  """Returns a Python file as a module, executed.

  Args:
    name: The path of the file.
    flag: The flag that names it, for messages.
  """
  file = pathlib.Path(name)
  if not file.is_file():
    there = sorted(str(f) for f in file.parent.glob('*.py') if f.stem[0] != '_')
    variant = ' or --config=FILE.py:VARIANT' if flag == 'config' else ''
    raise UserError(
      f'There is no {flag} file {name}.{values.did_you_mean(name, there)} Set'
      f' --{flag}=FILE.py{variant}, from here or as a whole path; there are'
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
    if parameter.default is None:  # It may stay None, whatever its type.
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
    # The right name in the wrong section is close, in the right one closer.
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
  """Returns dotted keys as sections; None values keep their type."""
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
        # A mapping that is a value stays a mapping, as its builder expects.
        config[section] = config_dict.ConfigDict(convert_dict=False)
      part = config[section]
    part[field] = value
  return config
