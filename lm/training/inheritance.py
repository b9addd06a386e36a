"""Starts a new run from the parameters or the state of another one."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import optax
from absl import logging

from lm.training import remote_run
from lm.training.checkpoints import restore
from lm.training.sections import Run
from lm.training.step import TrainState
from lm.types import PyTree, UserError, path_of

# The heads of tasks; see `lm.models.heads`.
HEADS = '(label|tags|start|end|next_sentence)/'


def inherit(
  state: TrainState, tx: optax.GradientTransformation, origin: PyTree
) -> TrainState:
  """Returns a state with the parameters of `origin`, where it has them.

  Task heads stay newly initialized, whatever the origin was trained for: its
  classes are others. So do parameters that the origin lacks, which are logged.

  Args:
    state: The newly initialized state.
    tx: The optimizer, for its own state.
    origin: Parameters, not on any device; None leaves the state unchanged.

  Raises:
    UserError: A parameter has another shape, or none has the same name.
  """
  if origin is None:
    return state
  leaves, _ = jax.tree_util.tree_flatten_with_path(origin)
  known = {path_of(path): array for path, array in leaves}
  known = {k: v for k, v in known.items() if not re.match(HEADS, k)}
  fresh, used = [], set()

  def of_leaf(path, own):
    name = path_of(path)
    given = known.get(name)
    if given is None:
      fresh.append(name)
      return own
    if given.shape != own.shape:
      raise UserError(
        f'{name} has the shape {own.shape}, and that of config.init_from'
        f' {given.shape}. Omit what changes it in config.model.'
      )
    used.add(name)
    return jax.device_put(given.astype(own.dtype), own.sharding)

  params = jax.tree_util.tree_map_with_path(of_leaf, state.params)
  if not used:
    raise UserError(
      'The model has no parameter of what it is to start from. Set'
      ' config.init_from to a model of the same sizes.'
    )
  logging.info(
    'Of %d parameter arrays %d are taken over; new are: %s. Left behind: %s.',
    len(used) + len(fresh),
    len(used),
    ', '.join(fresh) or 'none',
    ', '.join(sorted(known.keys() - used)) or 'none',
  )
  # A copy, since both are donated.
  ema = None if state.ema is None else jax.tree.map(jnp.copy, params)
  shardings = jax.tree.map(lambda x: x.sharding, state.opt_state)
  opt_state = jax.jit(tx.init, out_shardings=shardings)(params)
  return TrainState(state.step, params, opt_state, ema)


def restore_origin(run: Run, abstract: PyTree) -> tuple[PyTree, dict[str, Any]]:
  """Returns the state that `run.start_from` names, and its `meta.json`."""
  origin, at, step = run.start_from.rpartition('@')
  if not (at and step.isdigit()):
    origin, step = run.start_from, ''
  number = int(step) if step else None
  directory = remote_run.local_run(origin, number, newest=True) / 'checkpoints'
  restored = restore(directory, abstract, number)
  if restored is None:
    raise UserError(
      f'There is no checkpoint in {origin} to start from. Set'
      ' config.start_from to a workdir, or WORKDIR@STEP.'
    )
  if restored[1]['step'] >= run.num_steps:
    raise UserError(
      f'{run.start_from} is at step {restored[1]["step"]}, so there is nothing'
      f' left of {run.num_steps} steps. Raise config.num_steps.'
    )
  return restored
