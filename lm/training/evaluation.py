"""Evaluates a model on a whole set of examples."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import jax

from lm.parallel import mesh as meshes, ways
from lm.tasks.labelled import Labelled
from lm.training import means, task_evaluation
from lm.training.assembly import Parts, assemble, feed
from lm.training.sections import Eval
from lm.training.step import make_eval_step
from lm.types import PyTree, UserError


def make_scorer(
  parts: Parts, examine: Eval, final: bool = False
) -> Callable[[PyTree], dict[str, float]]:
  """Returns a function of the parameters: means over the validation set.

  For a task, they include its own metrics, which are those of the whole set.

  Args:
    parts: The parts of the run.
    examine: The settings of the evaluation.
    final: Whether training is over; see `task_evaluation.make_predictor`.
  """
  if examine.batches < 0:
    raise UserError(
      f'config.eval.batches is {examine.batches}. Set it to the most batches of'
      ' an evaluation, or to 0 for all.'
    )
  size = examine.batch_size or parts.run.batch_size // parts.run.microbatches
  if isinstance(parts.dataset, Labelled):
    if examine.batches:
      raise UserError(
        f'config.eval.batches is {examine.batches}, but a task is scored on all'
        ' of its records. Omit it.'
      )
    return task_evaluation.make_scorer(
      task_evaluation.asked_of(parts),
      parts.dataset.read('validation'),
      parts.dataset.table('validation'),
      size,
      final,
    )
  eval_step = jax.jit(make_eval_step(parts.model, parts.objective))
  batch_at, count = feed(parts, 'validation', size)
  count = min(count, examine.batches or count)

  def score(params: PyTree) -> dict[str, float]:
    batches = map(batch_at, range(count))
    mesh = parts.way.mesh
    on_devices = (meshes.to_devices(batch, mesh) for batch in batches)
    with meshes.placing(mesh):
      return means.over(eval_step(params, batch) for batch in on_devices)

  return score


def score(config: Mapping[str, Any], params: PyTree) -> dict[str, float]:
  """Returns the means over the validation set for trained parameters.

  Args:
    config: With every field of `SECTIONS`; the data and the devices may differ
      from those of training.
    params: The parameters of its model.
  """
  parts = assemble(alone(config), splits=['validation'])
  mesh = parts.way.mesh
  params = jax.device_put(params, meshes.state_shardings(params, mesh))
  return make_scorer(parts, Eval(), final=True)(params)


def alone(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns a config whose batches are those of its evaluations, on all devices.

  The devices form the mesh of training if there are as many; otherwise each has
  a copy of the parameters.

  Args:
    config: With every field of `SECTIONS`.
  """
  size = config['eval']['batch_size']
  size = size or config['batch_size'] // config['microbatches']
  shares, parallel = jax.device_count(), {'kind': 'mesh', 'data': -1}
  if config['parallel']['kind'] == 'mesh':
    with contextlib.suppress(UserError):
      ways.build(**config['parallel'])
      parallel = config['parallel']
  return {
    **config,
    'parallel': parallel,
    'batch_size': -(-size // shares) * shares,
    'microbatches': 1,
    'eval': {'every': 0, 'batch_size': 0},
  }
