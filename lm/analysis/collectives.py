"""The collective operations of a compiled step, read from its HLO.

Whatever a config asks for, this is what the devices do: which arrays they
gather or reduce, over which axes of the mesh, and how often in a step.
"""

import math
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

KINDS = (
  'all-reduce',
  'all-gather',
  'reduce-scatter',
  'all-to-all',
  'collective-permute',
)
BYTES = {'pred': 1, 's8': 1, 'u8': 1, 'bf16': 2, 'f16': 2, 's64': 8, 'f64': 8}
COMPUTATION = re.compile(r'^(?:ENTRY )?%(\S+) \(.*\{$')
CALLED = re.compile(
  r'(?:body|condition|calls|to_apply|\w+_computations?)='
  r'(%[^\s,]+|\{%[^}]*\})'
)
TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
COLLECTIVE = re.compile(rf' = (.+?) ({"|".join(KINDS)})\(')
SHAPE = re.compile(r'\b([a-z]\w*)\[([\d,]*)\]')


class Collective(NamedTuple):
  """A collective operation.

  Attributes:
    kind: One of `KINDS`.
    axes: The axes of the mesh that it spans.
    shapes: The shapes of its results on one device.
    size: The bytes of these.
    times: How often it runs in a step.
    origin: Where in the program it comes from.
  """

  kind: str
  axes: tuple[str, ...]
  shapes: tuple[tuple[int, ...], ...]
  size: int
  times: int
  origin: str


def read(hlo: str, mesh: Mapping[str, int]) -> list[Collective]:
  """Returns the collectives of a step, as compiled for the CPU.

  Args:
    hlo: `compiled.as_text()`.
    mesh: The sizes of its axes, by name.
  """
  computations, name = {}, ''
  for line in hlo.splitlines():
    if started := COMPUTATION.match(line):
      name = started[1]
      computations[name] = []
    elif computations:
      computations[name].append(line)
  # Each computation precedes those that call it, and the entry is last.
  times, found = dict.fromkeys(computations, 0), []
  times[name] = 1
  for name in reversed(computations):
    for line in computations[name]:
      trips = TRIPS.search(line)
      for called in CALLED.findall(line):
        for callee in re.findall(r'%([^\s,}]+)', called):
          times[callee] += times[name] * (int(trips[1]) if trips else 1)
      if match := COLLECTIVE.search(line):
        found.append(_one(line, match[2], match[1], times[name], mesh))
  return found


def total(found: Iterable[Collective]) -> int:
  """Returns the bytes of all collectives in a step."""
  return sum(one.size * one.times for one in found)


def _one(line, kind, results, times, mesh):
  shapes = [
    (dtype, tuple(int(size) for size in sizes.split(',') if size))
    for dtype, sizes in SHAPE.findall(results)
  ]
  size = sum(BYTES.get(dtype, 4) * math.prod(shape) for dtype, shape in shapes)
  together = groups(line, math.prod(mesh.values()))[0]
  places = np.unravel_index(together, tuple(mesh.values()))
  axes = tuple(
    axis for axis, place in zip(mesh, places) if len(np.unique(place)) > 1
  )
  origin = re.search(r'op_name="([^"]*)"', line)
  return Collective(
    kind,
    axes,
    tuple(shape for _, shape in shapes),
    size,
    times,
    origin[1] if origin else '',
  )


def groups(line: str, devices: int) -> Int[np.ndarray, 'N M']:
  """Returns the groups of devices of a collective, in any notation of XLA."""
  if pairs := re.search(r'source_target_pairs=\{(\{.*?\})\}', line):
    return _listed(pairs[1])
  text = line.partition('replica_groups=')[2]
  if listed := re.match(r'\{(\{.*?\})\}', text):
    return _listed(listed[1])
  if iota := re.match(r'\[([\d,]+)\]<=(\S+?)(,? |$)', text):
    return _ordered(iota[2]).reshape(_numbers(iota[1]))
  named = re.match(
    r"mesh\[(.*?)\](?:, device_ids=\((.*?)\))? \{((?:'\w+'(?:, ?)?)+)\}", text
  )
  if named:
    sizes = dict(re.findall(r"('\w+')=(\d+)", named[1]))
    shape = [int(size) for size in sizes.values()]
    ids = _ordered(named[2]) if named[2] else np.arange(devices)
    over = [[*sizes].index(axis) for axis in re.findall(r"'\w+'", named[3])]
    last = range(-len(over), 0)
    count = math.prod(shape[axis] for axis in over)
    return np.moveaxis(ids.reshape(shape), over, last).reshape(-1, count)
  if text.startswith('{}'):
    return np.arange(devices)[None]
  raise ValueError(f'No groups of devices are understood here: {line}')


def _listed(text):
  return np.array([_numbers(group) for group in re.findall(r'\{(.*?)\}', text)])


def _ordered(text):
  """Returns the devices of `[2,4]T(1,0)` as a flat array."""
  shape, _, order = text.partition('T')
  ids = np.arange(math.prod(_numbers(shape))).reshape(_numbers(shape))
  return (ids.transpose(_numbers(order)) if order else ids).reshape(-1)


def _numbers(text):
  return [int(number) for number in re.findall(r'\d+', text)]
