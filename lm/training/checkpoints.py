"""Checkpoints: when a run saves them, which are kept, and how it resumes."""

import concurrent.futures
import math
import os
import pathlib
import shutil
import time
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from lm.data import remote
from lm.parallel import hosts
from lm.training import checkpoint_arrays, checkpoint_files
from lm.training.checkpoint_files import Shelf
from lm.training.mirror import Mirror
from lm.types import PyTree, UserError

Directory = str | os.PathLike


class Checkpoints:
  """Writes a run's checkpoints in the background, and deletes old ones.

  Every process of a run calls the same methods.

  Args:
    directory: Where they are; made if it does not exist.
    every: Steps between checkpoints; 0 means none by number.
    minutes: Minutes between checkpoints; 0 means none by time.
    keep: How many of the last are kept.
    best: The checkpoint with the best value of this metric is kept too, and is
      used after the run; '' means none. The best loss is the lowest, the best
      F1 the highest; see `lm.analysis.directions`.
    log_spaced: Whether steps 1, 2, 4, 8, ... are saved and kept too.
    mirror: The mirror of a remote workdir, to which they are uploaded.
  """

  def __init__(
    self,
    directory: Directory,
    *,
    every: int = 1000,
    minutes: float = 0.0,
    keep: int = 3,
    best: str = '',
    log_spaced: bool = False,
    mirror: Mirror | None = None,
  ):
    if keep < 1:
      raise UserError(
        f'keep is {keep}, but a run goes on from its last checkpoint, which'
        ' must stay. Set config.checkpoint.keep to 1 or more.'
      )
    if every < 0 or minutes < 0:
      raise UserError(
        f'every is {every} and minutes is {minutes}, but they are spans'
        ' between checkpoints. Set config.checkpoint.every and'
        ' config.checkpoint.minutes to 0 (none) or more.'
      )
    self._directory = pathlib.Path(directory).absolute()
    self._every, self._minutes = every, minutes
    self._keep, self._best, self._log_spaced = keep, best, log_spaced
    self._mirror = mirror
    self._apart = mirror is not None and jax.process_count() > 1
    self._writes = hosts.is_first() or self._apart
    self._writer = None
    self._background = concurrent.futures.ThreadPoolExecutor(1)
    self._pending: concurrent.futures.Future | None = None
    self._last_step, self._last_time = -1, time.monotonic()
    if self._writes:
      self._directory.mkdir(parents=True, exist_ok=True)
      checkpoint_files.clean(self._directory)

  def due(self, step: int) -> bool:
    """Returns whether the state after `step` steps should be saved."""
    if self._pending and self._pending.done():
      self.wait()
    late = False
    if self._minutes:
      minutes = (time.monotonic() - self._last_time) / 60
      late = bool(hosts.of_first(minutes >= self._minutes))
    regular = self._every > 0 and step % self._every == 0
    spaced = self._log_spaced and _is_power_of_two(step)
    return step != self._last_step and (late or regular or spaced)

  def save(
    self,
    step: int,
    state: PyTree,
    metadata: Mapping[str, Any],
    metrics: Mapping[str, float] | None = None,
  ) -> None:
    """Starts to save, and returns once `state` may be donated.

    Does nothing for the step that was saved or restored last.

    Args:
      step: The number of steps that led to `state`.
      state: The arrays.
      metadata: What else a resumed run needs, for JSON: at least `examples`,
        the number consumed.
      metrics: The metrics measured at this step; None means not measured.

    Raises:
      UserError: This save or the previous one failed, or `metrics` lack `best`.
    """
    self.wait()
    if step == self._last_step:
      return
    if metrics is not None and self._best and self._best not in metrics:
      raise UserError(
        f'The metrics have no {self._best!r} to choose the best checkpoint by.'
        f" Set config.checkpoint.best to one of {sorted(metrics)}, or to ''."
      )
    meta = {
      'step': step,
      'metrics': {
        name: value
        for name, value in (metrics or {}).items()
        if math.isfinite(value)
      },
      'metadata': {**metadata, 'examples': int(metadata['examples'])},
      'arrays': checkpoint_arrays.forms(checkpoint_arrays.by_path(state)),
    }
    partial = self._directory / f'{step}.partial'
    self._last_step, self._last_time = step, time.monotonic()
    try:
      if self._writes:
        checkpoint_files.clean(self._directory)
        share = 1 / jax.process_count() if self._apart else 1.0
        _require_room(self._directory, state, share)
        partial.mkdir()
      if self._writer is None:  # After all reads: Orbax's readers would have
        # its writers, too, leave the directories to process 0.
        self._writer = checkpoint_arrays.writer(self._apart)
      checkpoint_arrays.write(self._writer, partial / 'state', state)
    except OSError as error:
      raise self._lost(error) from error
    self._pending = self._background.submit(self._complete, partial, meta)

  def restore(
    self, abstract_state: PyTree, step: int | None = None
  ) -> tuple[PyTree, dict[str, Any]] | None:
    """Waits for the last save, then does the same as the function `restore`."""
    self.wait()
    restored = restore(self._directory, abstract_state, step)
    if restored is not None:
      self._last_step = restored[1]['step']
    return restored

  def wait(self) -> None:
    """Waits until the last save is on disk.

    Raises:
      UserError: It could not be written.
    """
    pending, self._pending = self._pending, None
    if pending is not None:
      try:
        pending.result()
      except remote.LostError:  # It is saved here, and the message says where.
        raise
      except (OSError, ValueError) as error:  # Tensorstore's are ValueErrors.
        raise self._lost(error) from error

  def close(self) -> None:
    """Finishes the last save, and ends the threads."""
    try:
      self.wait()
    finally:
      self._background.shutdown()
      if self._writer is not None:
        self._writer.close()

  def _complete(self, partial: pathlib.Path, meta: dict[str, Any]) -> None:
    """Finishes a save in the background; only then are older ones deleted."""
    self._writer.wait_until_finished()
    if not self._writes:
      return
    step = meta['step']
    if self._apart:
      if hosts.is_first():
        checkpoint_files.write_meta(partial, meta)
      self._mirror.publish_share(step, partial)
      shutil.rmtree(partial)
    else:
      checkpoint_files.complete(partial, meta)
      if self._mirror:
        self._mirror.publish(step)
    self._prune(step, checkpoint_files.Here(self._directory))
    if self._mirror and hosts.is_first():
      self._prune(step, self._mirror.shelf)

  def _prune(self, last: int, shelf: Shelf) -> None:
    """Deletes the checkpoints of a shelf that are not to be kept."""
    # Later steps were saved before this run was restored from an earlier one.
    past = [step for step in shelf.steps() if step <= last]
    best = None
    if self._best:
      best = checkpoint_files.best_step(shelf, self._best, past)
    for step in {*past} - kept(past, best, self._keep, self._log_spaced):
      shelf.delete(step)

  def _lost(self, error: Exception) -> UserError:
    there = checkpoint_files.steps(self._directory)
    return UserError(
      f'The checkpoint of step {self._last_step} could not be written to'
      f' {self._directory}: {error}. The last good one is of step'
      f' {max(there, default="(none)")}. Make room there, and start the same'
      ' command again.'
    )


def kept(
  steps: Iterable[int],
  best: int | None,
  keep: int,
  log_spaced: bool,
) -> set[int]:
  """Returns the `steps` whose checkpoints are kept.

  Args:
    steps: All steps that have a checkpoint.
    best: The step of the best one, if any.
    keep: How many of the last are kept.
    log_spaced: Whether powers of two are kept.
  """
  stay = set(sorted(steps)[-keep:])
  if best is not None:
    stay.add(best)
  if log_spaced:
    stay.update(filter(_is_power_of_two, steps))
  return stay


def restore(
  directory: Directory, abstract_state: PyTree, step: int | None = None
) -> tuple[PyTree, dict[str, Any]] | None:
  """Returns a state and its `meta.json`, whatever devices it was saved from.

  Args:
    directory: The directory of the checkpoints.
    abstract_state: The shape, dtype and sharding of each array; a sharding of
      None means a numpy array.
    step: The checkpoint to restore; None means the newest intact one.

  Returns:
    None if there is no checkpoint. In `meta.json`, `step`, the finite `metrics`
    and `metadata` are as they were given to `save`.

  Raises:
    UserError: Step `step` is missing or damaged, or all are damaged, or the
      arrays do not match `abstract_state`.
  """
  checkpoint = _trusted(directory, step)
  if checkpoint is None:
    return None
  meta = checkpoint_files.read_meta(checkpoint)
  wanted = checkpoint_arrays.by_path(abstract_state)
  checkpoint_arrays.require_equal(
    checkpoint, meta['arrays'], checkpoint_arrays.forms(wanted)
  )
  arrays = checkpoint_arrays.read(checkpoint / 'state', wanted)
  structure = jax.tree.structure(abstract_state)
  state = jax.tree.unflatten(structure, [arrays[name] for name in wanted])
  return state, meta


def restore_params(
  directory: Directory, step: int | None = None, part: str = ''
) -> tuple[PyTree, dict[str, Any]]:
  """Returns only the parameters, as dicts of numpy arrays, and `meta.json`.

  Args:
    directory: The directory of the checkpoints.
    step: The checkpoint to restore; None means the newest intact one.
    part: The field of the state to return; '' means what is evaluated: the
      moving average `ema` if there is one, else `params`.
  """
  checkpoint = _trusted(directory, step)
  if checkpoint is None:
    raise UserError(
      f'{directory} has no checkpoint. Train first, or give the workdir of a'
      ' run that saved one.'
    )
  meta = checkpoint_files.read_meta(checkpoint)
  averaged = any(name.startswith('ema/') for name in meta['arrays'])
  part = part or ('ema' if averaged else 'params')
  wanted = {
    name: jax.ShapeDtypeStruct(form['shape'], np.dtype(form['dtype']))
    for name, form in meta['arrays'].items()
    if name.startswith(f'{part}/')
  }
  if not wanted:
    there = sorted({name.split('/')[0] for name in meta['arrays']})
    raise UserError(f'{checkpoint} has no {part!r}, but {there}.')
  arrays = checkpoint_arrays.read(checkpoint / 'state', wanted)
  return checkpoint_arrays.nested(arrays)[part], meta


def _trusted(directory: Directory, step: int | None) -> pathlib.Path | None:
  """Returns the checkpoint of `step`, or else the newest intact one."""
  directory, found = pathlib.Path(directory).absolute(), step
  if jax.process_index() == 0:
    if step is None:
      found = checkpoint_files.newest_intact(directory)
    elif step in (there := checkpoint_files.steps(directory)):
      checkpoint_files.check(directory / str(step))
    else:
      raise UserError(f'{directory} has steps {there}, but not step {step}.')
  found = hosts.of_first(-1 if found is None else found)
  return None if found < 0 else directory / str(found)


def _require_room(directory: pathlib.Path, state: PyTree, share: float) -> None:
  needed = sum(array.nbytes for array in jax.tree.leaves(state)) * share
  free = shutil.disk_usage(directory).free
  if free < needed:
    raise OSError(
      f'it takes {needed / 1e6:,.0f} MB, but the disk has {free / 1e6:,.0f} MB'
    )


def _is_power_of_two(step: int) -> bool:
  return step > 0 and step & (step - 1) == 0
