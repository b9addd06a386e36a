"""A sweep: its file is read, its points get names, and every key is checked."""

import dataclasses
import hashlib
import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from experiments import cells, config_file, origins
from experiments.config_file import Asked
from experiments.launch.job import check_config
from experiments.sweep import over
from experiments.sweep.over import Point, Points, Range, Search
from lm.training.sections import SECTIONS
from lm.types import UserError

LONGEST = 100  # Letters of a name.


@dataclasses.dataclass(frozen=True)
class Run:
  """One of a sweep.

  Attributes:
    name: Made of what varies.
    point: That, by key.
    config: The whole of it.
    place: Its workdir.
  """

  name: str
  point: Point
  config: Mapping[str, Any]
  place: pathlib.Path


def read(path: str) -> Points | Search:
  """Returns what the `get_sweep(over)` of a file does.

  Raises:
    UserError: It is no such file, or goes over nothing.
  """
  module = config_file.module(path, 'sweep')
  if not hasattr(module, 'get_sweep'):
    raise UserError(
      f'{path} has no get_sweep. Write `def get_sweep(over):` in it, which'
      ' returns what there is to go over, such as'
      " over.values('optimizer.learning_rate', 1e-3, 3e-3)."
    )
  found = module.get_sweep(over)
  if isinstance(found, Search):
    return found
  if isinstance(found, Range):
    raise UserError(
      f'{path} gives a range of {found.key!r}, but not how many numbers of it.'
      ' Put it into over.draw(COUNT, ...), or over.search(TRIALS, ...).'
    )
  fine = isinstance(found, Sequence) and all(
    isinstance(point, Mapping) for point in found
  )
  if not fine or not found:
    raise UserError(
      f'{path} gives {found!r}, but it is to be a list of points, such as'
      " over.values('optimizer.learning_rate', 1e-3, 3e-3)."
    )
  return [dict(point) for point in found]


def runs(asked: Asked, points: Points, root: pathlib.Path) -> list[Run]:
  """Returns the runs of a sweep, all of whose configs can be.

  Args:
    asked: The config that all of them have, and its overrides.
    points: What varies.
    root: Their workdirs are in `root/runs`.

  Raises:
    UserError: A key or a value cannot be, or two points are the same.
  """
  names = names_of(points)
  found = []
  for name, point in zip(names, points):
    if same := point.keys() & asked.overrides.keys():
      raise UserError(
        f'--config.{min(same)} is given, but the sweep goes over it. Leave one of'
        ' them out.'
      )
    config = resolve(asked, point)
    check_config(config)
    found.append(Run(name, point, config, root / 'runs' / name))
  return found


def resolve(asked: Asked, point: Point) -> dict[str, Any]:
  """Returns the whole config of a point."""
  fields = {**asked.overrides, **point}
  config = config_file.load(
    asked.path, fields, SECTIONS, origins.sections
  ).to_dict()
  if config['seeds'] != 1:
    raise UserError(
      f'config.seeds is {config["seeds"]}, but each run of a sweep has a single'
      " one. Set it to 1, and go over them: over.values('seed', 0, 1, 2)."
    )
  return config


def overridden(asked: Asked, point: Point) -> Asked:
  """Returns the config of a point, as one would type it."""
  own = {key: cells.written(value) for key, value in point.items()}
  return Asked(asked.path, {**asked.overrides, **own})


def names_of(points: Points) -> list[str]:
  """Returns a name for each point, which does not change with others.

  >>> names_of([{'optimizer.learning_rate': 1e-3, 'seed': 1}])
  ['learning_rate=0.001,seed=1']
  """
  keys = [key for point in points for key in point]
  names = [name_of(point, keys) for point in points]
  for name, point in zip(names, points):
    if names.count(name) > 1:
      raise UserError(
        f'The sweep has {point} twice. Let its points differ; the same run'
        " several times is over.values('seed', 0, 1, 2)."
      )
  return names


def name_of(point: Point, keys: Sequence[str]) -> str:
  """Returns the name of a point, of a sweep over `keys`; no other has it.

  >>> name_of({'data.path': 'a/*.txt'}, ['data.path'])
  'path=a-.txt-caffd7'
  """
  shorts = _shorts({*keys})
  parts = [f'{shorts[key]}={_text(value)}' for key, value in point.items()]
  name = ','.join(parts) or 'plain'
  if len(name) > LONGEST or not all(map(_is_shown, point.values())):
    text = json.dumps(point, sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode()).hexdigest()[:6]
    name = f'{name[: LONGEST - 7]}-{digest}'
  return name


def _shorts(keys: set[str]) -> dict[str, str]:
  """Returns the last parts of keys, where these tell them apart."""
  ends = [key.rpartition('.')[2] for key in keys]
  return {
    key: key if ends.count(end) > 1 else end
    for key, end in ((key, key.rpartition('.')[2]) for key in keys)
  }


def _text(value: Any) -> str:
  text = f'{value:g}' if isinstance(value, float) else cells.written(value)
  return re.sub(r'[^\w.+-]+', '-', text).strip('-') or 'none'


def _is_shown(value: Any) -> bool:
  """Whether a name shows all of a value."""
  if isinstance(value, float):
    return float(_text(value)) == value
  return _text(value) == cells.written(value)
