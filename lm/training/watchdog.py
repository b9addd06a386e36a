"""Shows where a run hangs: prints all stacks if a step takes far too long."""

import contextlib
import faulthandler
import statistics
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from absl import logging

LEAST = 60.0  # Seconds before any step is suspected.


@contextlib.contextmanager
def watching(factor: float) -> Iterator[Callable[[int], None]]:
  """Yields a function to call when a step begins.

  If the next call does not come within `factor` times the median of the last
  100 intervals, and at least `LEAST` seconds, the stacks of all threads are
  printed, once per step; the run continues.

  Args:
    factor: How many times the median a step may take; 0 disables the watchdog.
  """
  spans: deque[float] = deque(maxlen=100)
  begun = {'step': 0, 'at': 0.0, 'told': True}
  ended = threading.Event()

  def beat(step: int) -> None:
    now = time.monotonic()
    if begun['at']:
      spans.append(now - begun['at'])
    begun.update(step=step, at=now, told=False)

  def watch() -> None:
    while not ended.wait(min(1.0, LEAST / 4)):
      if begun['told'] or len(spans) < 3:
        continue
      usual, spent = statistics.median(spans), time.monotonic() - begun['at']
      if spent > max(LEAST, factor * usual):
        begun['told'] = True
        logging.error(
          'Step %d has taken %.0f s, and %.1f s are usual. If another process'
          ' is gone, this one ends soon; the same command goes on. All threads'
          ' are here:',
          begun['step'],
          spent,
          usual,
        )
        faulthandler.dump_traceback(sys.__stderr__, all_threads=True)

  thread = threading.Thread(target=watch, name='watchdog', daemon=True)
  if factor:
    thread.start()
  try:
    yield beat
  finally:
    ended.set()
    if factor:
      thread.join()
