"""A run that is told to stop finishes its step first."""

import contextlib
import signal
from collections.abc import Iterator
from typing import NoReturn

from absl import logging


class Request:
  """Whether, and by which signal, the process was asked to stop."""

  def __init__(self):
    self.signal: signal.Signals | None = None

  def __bool__(self) -> bool:
    return self.signal is not None


@contextlib.contextmanager
def on_signals() -> Iterator[Request]:
  """Yields a request that SIGTERM and SIGINT make true; a second one kills."""
  request, before = Request(), {}

  def remember(number, frame):
    del frame
    request.signal = signal.Signals(number)
    signal.signal(number, before[number])  # The next is not waited for.
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
  """Ends the process as its signal would have, and says where it stands."""
  logging.warning(
    'Stopped at step %d, which is saved. The same command goes on from there.',
    step,
  )
  raise SystemExit(128 + request.signal)
