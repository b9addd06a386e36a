"""Traces some steps of a run, for TensorBoard and Perfetto."""

import contextlib
import pathlib
import re
from collections.abc import Callable, Iterator

import jax
from absl import logging

from lm.types import PyTree, UserError

Trace = Callable[[int, PyTree], None]


def steps_of(span: str, num_steps: int) -> range:
  """Returns the steps of 'N:M', both included; '' means none.

  Raises:
    UserError: They are not steps of a run of `num_steps`.
  """
  if not span:
    return range(0)
  told = re.fullmatch(r'(\d+):(\d+)', span)
  first, last = map(int, told.groups()) if told else (0, 0)
  if not 1 <= first <= last <= num_steps:
    raise UserError(
      f'log.profile is {span!r}, but it is the first and the last step of a'
      f' trace, and the run has those from 1 to {num_steps}. Set'
      " config.log.profile to a span of them, such as '10:15', or to '' for no"
      ' trace.'
    )
  return range(first, last + 1)


@contextlib.contextmanager
def tracing(steps: range, directory: pathlib.Path) -> Iterator[Trace]:
  """Yields a function to call when a step begins, with its input state.

  The trace covers whole steps: it starts when the device has finished
  everything before them, and ends when it has finished the last.

  Args:
    steps: The steps to trace.
    directory: Where the trace is written.
  """
  running = contextlib.ExitStack()
  named = contextlib.ExitStack()  # The annotation of the current step.

  def begin(step: int, state: PyTree) -> None:
    named.close()
    if step == steps.start or step == steps.stop:
      jax.block_until_ready(state)
      running.close()
    if step == steps.start and steps:
      running.enter_context(jax.profiler.trace(directory))
      logging.info('Steps %d to %d go to %s.', step, steps[-1], directory)
    if step in steps:
      named.enter_context(
        jax.profiler.StepTraceAnnotation('train', step_num=step)
      )

  with running, named:
    yield begin
