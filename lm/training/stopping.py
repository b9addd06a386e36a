"""Stops a run on a signal, after it has finished its step."""

import contextlib
import signal
import time
from collections.abc import Iterator
from typing import NoReturn

import jax
import numpy as np
from absl import logging

from lm.types import Batch

SAME = 2.0  # Seconds within which a second signal counts as the same.


class Request:
  """Whether the run was asked to stop, as agreed by all processes.

  A process that gets a signal adds a mark to its rows of the next batch. The
  step sums these like all weights, so every process reads the same sum after
  the same step, and none waits for it.
  """

  def __init__(self):
    self.signal: signal.Signals | None = None
    self._heard = False

  @property
  def agreed(self) -> bool:
    """Whether all processes know, and stop after this step."""
    if jax.process_count() == 1:
      return self.signal is not None
    return self._heard

  def tell(self, batch: Batch) -> Batch:
    """Returns the batch with a mark that tells the other processes."""
    if jax.process_count() == 1:
      return batch
    rows = len(next(iter(batch.weights.values())))
    asked = np.full(rows, self.signal is not None, np.float32)
    return batch._replace(weights={**batch.weights, 'stop': asked})

  def hear(self, metrics: dict[str, float]) -> None:
    """Takes the sum of the marks out of the metrics of a step."""
    self._heard |= metrics.pop('stop', 0.0) > 0


@contextlib.contextmanager
def on_signals() -> Iterator[Request]:
  """Yields a request that SIGTERM or SIGINT sets; a later signal kills.

  One that follows within `SAME` seconds counts as the same: if a process group
  is stopped, so is a run in it, and again by the command that started the run.
  """
  request, before, since = Request(), {}, 0.0

  def remember(number, frame):
    nonlocal since
    del frame
    if request.signal is not None:
      if time.monotonic() - since > SAME:
        signal.signal(number, before[number])
        signal.raise_signal(number)
      return
    request.signal, since = signal.Signals(number), time.monotonic()
    logging.warning(
      '%s: stopping after this step, with a checkpoint.', request.signal.name
    )

  for number in (signal.SIGTERM, signal.SIGINT):
    before[number] = signal.signal(number, remember)
  try:
    yield request
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)


def leave(request: Request, step: int) -> NoReturn:
  """Ends the process with the status of its signal, and logs the step."""
  logging.warning(
    'Stopped at step %d, which is saved. The same command goes on from there.',
    step,
  )
  raise SystemExit(128 + (request.signal or signal.SIGTERM))
