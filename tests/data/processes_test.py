"""Work in processes comes back in order, or says why it does not."""

import functools
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from lm.data import processes
from lm.types import UserError


def slow_where_even(item):
  time.sleep(0.02 * (item % 2 == 0))
  return item, os.getpid()


def die(item):
  if item == 9:
    os.kill(os.getpid(), signal.SIGKILL)
  return item


def fail(item):
  if item == 9:
    raise KeyError('item 9')
  return item


def meet(item, directory):
  """Goes on once two processes are here."""
  (directory / str(os.getpid())).touch()
  limit = time.monotonic() + 100
  while len(list(directory.iterdir())) < 2 and time.monotonic() < limit:
    time.sleep(0.01)
  return slow_where_even(item)


@pytest.mark.processes
def test_results_come_in_order_and_from_other_processes(tmp_path):
  work = functools.partial(meet, directory=tmp_path)
  done = list(processes.map_in_order(work, range(40), 2))
  assert [item for item, _ in done] == list(range(40))
  writers = {process for _, process in done}
  assert len(writers) == 2 and os.getpid() not in writers


@pytest.mark.parametrize('items, workers', [(15, 2), (40, 1)])
def test_little_work_and_one_worker_need_no_process(items, workers):
  done = list(processes.map_in_order(slow_where_even, range(items), workers))
  assert done == [(item, os.getpid()) for item in range(items)]


@pytest.mark.processes
def test_what_comes_in_is_not_read_far_ahead():
  read = []
  items = (read.append(item) or item for item in range(1000))
  results = processes.map_in_order(fail, items, 2)
  for _ in range(3):
    next(results)
  assert len(read) <= 3 + 3 * 2 + processes.FEW
  results.close()


@pytest.mark.processes
def test_a_killed_process_is_said_and_an_error_is_raised_here():
  with pytest.raises(UserError, match=r'config\.data\.workers, now 2, lower'):
    list(processes.map_in_order(die, range(30), 2))
  with pytest.raises(KeyError, match='item 9'):
    list(processes.map_in_order(fail, range(30), 2))
  assert threading.active_count() < 10


ENDLESS = """
import itertools, time
from tests.data import processes_test
from lm.data import processes

for result in processes.map_in_order(
  processes_test.slow_where_even, itertools.count(), 2
):
  print(*result, flush=True)
"""


@pytest.mark.processes
def test_processes_end_with_one_that_is_killed():
  command = [sys.executable, '-c', ENDLESS]
  with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
    workers = set()
    while len(workers) < 2:
      workers.add(parent.stdout.readline().split()[1])
    parent.kill()
    # All of them hold the pipe open; it ends when the last of them has ended.
    parent.communicate(timeout=20)
  assert parent.returncode == -signal.SIGKILL
