"""Metrics of a run, read a step late, so that no device waits for the host."""

import dataclasses
import math
import pathlib
from collections.abc import Callable
from typing import NoReturn

import jax
import numpy as np

from lm.training import means
from lm.training.assembly import Parts
from lm.training.run_log import RunLog
from lm.training.step import Metrics
from lm.types import Batch, UserError, path_of

NONFINITE = 'nonfinite_batch_{step}.npz'


@dataclasses.dataclass
class Reader:
  """Reads the metrics of a step while the device works on the next one."""

  log: RunLog
  parts: Parts
  batch_at: Callable[[int], Batch]
  workdir: pathlib.Path
  start: int
  skipped: int  # Steps in a row that were not finite.
  hear: Callable[[dict[str, float]], None]  # Takes what is not a metric.
  waiting: list[tuple[int, Metrics]] = dataclasses.field(default_factory=list)

  def add(self, step: int, sums: Metrics) -> None:
    """Takes the metrics of `step`, and reads those of the step before."""
    self.read_all()
    self.waiting.append((step, sums))

  def read_all(self) -> None:
    """Logs the waiting metrics, and ends a run that is no longer finite."""
    for step, sums in self.waiting:
      values = means.of(sums)
      self.hear(values)
      # The sum, since the mean over a batch without targets is NaN.
      totals = sums['loss'][0], sums['grad_norm'][0]
      finite = all(math.isfinite(total) for total in jax.device_get(totals))
      self.skipped = 0 if finite else self.skipped + 1
      if self.skipped > self.parts.run.skip_nonfinite:
        refuse(step, self.batch_at(step - self.start - 1), self.workdir)
      if due(step, self.log.every):  # This takes a while on the host.
        values['learning_rate'] = float(self.parts.schedule(step - 1))
      self.log.train(step, values)
    self.waiting.clear()


def diverged(workdir: pathlib.Path) -> bool:
  """Returns whether a run has ended because of a number that is not finite."""
  return any(workdir.glob(NONFINITE.format(step='*')))


def refuse(step: int, batch: Batch, workdir: pathlib.Path) -> NoReturn:
  """Ends a run whose loss or gradient is not finite, and saves the batch."""
  path = workdir / NONFINITE.format(step=step)
  leaves, _ = jax.tree_util.tree_flatten_with_path(batch)
  np.savez(path, **{path_of(keys): array for keys, array in leaves})
  raise UserError(
    f'The loss or the gradient is not finite at step {step}. Its batch is in'
    f' {path}, and what was saved before is good. Go on with a lower'
    ' config.optimizer.learning_rate or clip_norm (and'
    ' --allow_change=optimizer), or begin a run that may skip such steps, with'
    ' config.skip_nonfinite.'
  )


def due(step: int, every: int) -> bool:
  """Whether something done every `every` steps is due; 0 means never."""
  return every > 0 and step % every == 0
