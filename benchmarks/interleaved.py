"""Times several ways of doing the same thing, in turns.

A machine is not equally fast all the time, and is still cool for whatever runs
first. So contenders take turns, each in the opposite order of the last, and are
compared within a turn: a ratio is the median over turns.
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
    contenders: Functions by name, each returning only when its work is done.
    turns: How often each is timed.
    warm_up: How often each runs before that, untimed, to compile.
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
  """Starts a contender as a process, yields its turn function, then ends it.

  In one process, the threads of libraries would interfere.

  Args:
    module: A module that calls `serve`.
    told: Its argument, as JSON.
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

  with started:  # Closes its input at the end, which ends it.
    yield turn


def serve(run: Callable[[], Any]) -> None:
  """Takes a turn whenever the parent process asks for it."""
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
  """Returns the median rate of each, for an `amount` of work per turn."""
  return {
    name: rounded(amount / statistics.median(times))
    for name, times in taken.items()
  }


def ratio(
  taken: Mapping[str, Sequence[float]], ours: str, peer: str
) -> dict[str, float]:
  """Returns the speedup of ours over the peer.

  `median` is the median over turns, `low` and `high` are the quartiles.
  """
  each = np.divide(taken[peer], taken[ours])
  low, median, high = map(rounded, np.quantile(each, (0.25, 0.5, 0.75)))
  return {'median': median, 'low': low, 'high': high}


def rounded(value: float) -> float:
  """Returns a number rounded to four digits, the precision of measurements."""
  return float(f'{value:.4g}')


def machine() -> dict[str, Any]:
  """Returns the processor, the number of cores, and the Python version."""
  return {
    'processor': _processor(),
    'cores': len(os.sched_getaffinity(0)),
    'python': platform.python_version(),
  }


def versions(*packages: str) -> dict[str, str]:
  """Returns the versions of those packages that are installed."""
  found = {}
  for package in packages:
    try:
      found[package] = metadata.version(package)
    except metadata.PackageNotFoundError:
      continue
  return found


def _processor() -> str:
  """Returns the processor's name on Linux, elsewhere its architecture."""
  told = pathlib.Path('/proc/cpuinfo')
  lines = told.read_text().splitlines() if told.exists() else []
  names = [line for line in lines if line.startswith('model name')]
  return names[0].partition(':')[2].strip() if names else platform.machine()
