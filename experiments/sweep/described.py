"""Reads the file of a sweep, names its points, and checks their configs."""

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

LONGEST = 100  # Characters of a name.


@dataclasses.dataclass(frozen=True)
class Run:
  """A run of a sweep.

  Attributes:
    name: Made of its point.
    point: The values of the fields that vary, by key.
    config: The whole config.
    place: The workdir.
  """

  name: str
  point: Point
  config: Mapping[str, Any]
  place: pathlib.Path


def read(path: str) -> Points | Search:
  """Returns what the `get_sweep(over)` of a file returns.

  Raises:
    UserError: The file has no such function, or it returns no points.
  """
  module = config_file.module(path, 'sweep')
  if not hasattr(module, 'get_sweep'):
    raise UserError(
      f'{path} has no get_sweep. Write `def get_sweep(over):` in it, which'
      ' returns the points of the sweep, such as'
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
  if not over.are_points(found) or not found:
    raise UserError(
      f'{path} gives {found!r}, but a sweep is a list of points, such as'
      " over.values('optimizer.learning_rate', 1e-3, 3e-3)."
    )
  return [dict(point) for point in found]


def runs(asked: Asked, points: Points, root: pathlib.Path) -> list[Run]:
  """Returns the runs of a sweep, with checked configs.

  Args:
    asked: The config of all runs, and its overrides.
    points: What varies, for each run.
    root: The workdirs are in `root/runs`.

  Raises:
    UserError: A key or a value is invalid, or two points are the same.
  """
  names = names_of(points)
  found = []
  for name, point in zip(names, points):
    if same := point.keys() & asked.overrides.keys():
      raise UserError(
        f'--config.{min(same)} is given, but the sweep varies it. Leave one of'
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
      f'config.seeds is {config["seeds"]}, but each run of a sweep has one seed.'
      " Set it to 1, and vary the seed: over.values('seed', 0, 1, 2)."
    )
  return config


def overridden(asked: Asked, point: Point) -> Asked:
  """Returns the config of a point, as it would be typed."""
  own = {key: cells.written(value) for key, value in point.items()}
  return Asked(asked.path, {**asked.overrides, **own})


def names_of(points: Points) -> list[str]:
  """Returns a name for each point.

  Adding points changes no name, unless a new key has the same last part as
  another one; see `shorts`.

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
  """Returns the name of a point, unique in a sweep over `keys`.

  >>> name_of({'data.path': 'a/*.txt'}, ['data.path'])
  'path=a-.txt-caffd7'
  """
  short = shorts({*keys})
  parts = [f'{short[key]}={_text(value)}' for key, value in point.items()]
  name = ','.join(parts) or 'plain'
  if len(name) > LONGEST or not all(map(_is_shown, point.values())):
    text = json.dumps(point, sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode()).hexdigest()[:6]
    name = f'{name[: LONGEST - 7]}-{digest}'
  return name


def shorts(keys: set[str]) -> dict[str, str]:
  """Returns the last part of each key; the whole key if two have the same.

  >>> shorts({'optimizer.name'})
  {'optimizer.name': 'name'}
  """
  ends = [key.rpartition('.')[2] for key in keys]
  return {
    key: key if ends.count(end) > 1 else end
    for key, end in ((key, key.rpartition('.')[2]) for key in keys)
  }


def _text(value: Any) -> str:
  text = f'{value:g}' if isinstance(value, float) else cells.written(value)
  return re.sub(r'[^\w.+-]+', '-', text).strip('-') or 'none'


def _is_shown(value: Any) -> bool:
  """Whether a name shows a value exactly."""
  if isinstance(value, float):
    return float(_text(value)) == value
  return _text(value) == cells.written(value)
