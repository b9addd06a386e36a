"""Times several ways of doing the same, in turns.

A machine is not equally fast all the time, and what is measured first finds it
cool. So the contenders take turns, each turn in the opposite order of the last,
and are compared within a turn: a ratio is the median of what the turns gave.
"""

import contextlib
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any

import numpy as np

ANSWER = 'turn: '


def seconds(
  contenders: Mapping[str, Callable[[], Any]], turns: int, warm_up: int = 1
) -> dict[str, list[float]]:
  """Returns how long each contender took in each turn.

  Args:
    contenders: By name; each returns only when its work is done.
    turns: How often each is timed.
    warm_up: How often each runs before, which compiles it and is not timed.
  """
  for run in contenders.values():
    for _ in range(warm_up):
      run()
  taken = {name: [] for name in contenders}
  order = list(contenders)
  for _ in range(turns):
    for name in order:
      began = time.perf_counter()
      contenders[name]()
      taken[name].append(time.perf_counter() - began)
    order.reverse()
  return taken


@contextlib.contextmanager
def process(module: str, told: Any) -> Iterator[Callable[[], Any]]:
  """Starts a contender of its own, whose turn is to be called; then ends it.

  In one process, the threads of one library would be in the other's way.

  Args:
    module: Calls `serve` with what it is told.
    told: Its argument, JSON.
  """
  started = subprocess.Popen(
    [sys.executable, '-m', module, json.dumps(told)],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
  )

  def turn():
    if started.poll() is None:
      started.stdin.write('\n')
      started.stdin.flush()
    for line in started.stdout:
      if line.startswith(ANSWER):
        return json.loads(line.removeprefix(ANSWER))
    raise RuntimeError(f'{module} has ended; see its messages above.')

  with started:  # At the end its input is closed, and so it ends.
    yield turn


def serve(run: Callable[[], Any]) -> None:
  """Takes a turn whenever the process that started this one asks for it."""
  for _ in sys.stdin:
    print(ANSWER + json.dumps(run()), flush=True)


def medians(taken: Mapping[str, Sequence[float]]) -> dict[str, float]:
  """Returns the median seconds of each contender."""
  return {
    name: rounded(statistics.median(times)) for name, times in taken.items()
  }


def rates(
  taken: Mapping[str, Sequence[float]], amount: float
) -> dict[str, float]:
  """Returns how much of `amount` each does in a second, at the median."""
  return {
    name: rounded(amount / statistics.median(times))
    for name, times in taken.items()
  }


def ratio(
  taken: Mapping[str, Sequence[float]], ours: str, peer: str
) -> dict[str, float]:
  """Returns how many times as fast as the peer ours is.

  `median` is that of the turns, and half of them lie from `low` to `high`.
  """
  each = np.divide(taken[peer], taken[ours])
  low, median, high = map(rounded, np.quantile(each, (0.25, 0.5, 0.75)))
  return {'median': median, 'low': low, 'high': high}


def rounded(value: float) -> float:
  """Returns a number to four digits: more was not measured."""
  return float(f'{value:.4g}')


def machine() -> dict[str, Any]:
  """Returns what measured: the processor, and how many cores there are."""
  return {
    'processor': _processor(),
    'cores': len(os.sched_getaffinity(0)),
    'python': platform.python_version(),
  }


def versions(*packages: str) -> dict[str, str]:
  """Returns the version of each of the packages that is installed."""
  found = {}
  for package in packages:
    try:
      found[package] = metadata.version(package)
    except metadata.PackageNotFoundError:
      continue
  return found


def _processor() -> str:
  """Returns its name as Linux tells it; else its architecture."""
  told = pathlib.Path('/proc/cpuinfo')
  lines = told.read_text().splitlines() if told.exists() else []
  names = [line for line in lines if line.startswith('model name')]
  return names[0].partition(':')[2].strip() if names else platform.machine()
