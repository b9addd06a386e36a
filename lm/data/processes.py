"""Runs work in several processes, with results in the order of the items."""

import collections
import itertools
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from lm.types import UserError

# Processes take a second or more to start; for fewer items none are started.
FEW = 16


def map_in_order(
  work: Callable[[Any], Any], items: Iterable[Any], workers: int
) -> Iterator[Any]:
  """Yields `work(item)` for each item.

  Processes are spawned, not forked, since a fork would lose the threads of JAX
  and might wait for them forever. At most three items per process are in
  memory.

  Args:
    work: A function that can be pickled.
    items: The inputs; fewer than `FEW` are processed in this process.
    workers: Number of processes; with 1, this process does all work.

  Raises:
    UserError: A process was killed.
  """
  items = iter(items)
  first = list(itertools.islice(items, FEW))
  items = itertools.chain(first, items)
  if workers == 1 or len(first) < FEW:
    yield from map(work, items)
    return
  context = multiprocessing.get_context('spawn')
  pool = futures.ProcessPoolExecutor(workers, context, _begin, (work,))
  pending = collections.deque()
  try:
    for item in items:
      pending.append(pool.submit(_go_on, item))
      if len(pending) == 3 * workers:
        yield pending.popleft().result()
    while pending:
      yield pending.popleft().result()
  except BrokenProcessPool as error:
    raise UserError(
      'A process that prepares the data was killed, most likely because memory'
      f' ran out. Set config.data.workers, now {workers}, lower.'
    ) from error
  finally:
    pool.shutdown(cancel_futures=True)


_work: Callable[[Any], Any]


def _begin(work: Callable[[Any], Any]) -> None:
  """Stores `work`, so that it is sent to each process only once."""
  global _work
  threading.Thread(target=_end_with_parent, daemon=True).start()
  # There is one process for each core to use: a thread each is enough.
  os.environ['TOKENIZERS_PARALLELISM'] = 'false'
  _work = work


def _end_with_parent() -> None:
  """Ends this process when its parent is killed and cannot end it."""
  multiprocessing.parent_process().join()
  os._exit(1)


def _go_on(item: Any) -> Any:
  return _work(item)
