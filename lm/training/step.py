"""One training step: the state, the gradients, the update."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jaxtyping import Array, Int, Key

from lm.objectives.objective import Objective
from lm.training import optimizers
from lm.training.lora import Learner
from lm.training.optimizers import Average
from lm.types import Batch, PyTree

Metrics = dict[str, tuple[jax.Array, jax.Array]]  # Sums, with their weights.


class TrainState(NamedTuple):
  """All that changes during training, and so all that a checkpoint holds."""

  step: Int[Array, '']
  params: PyTree
  opt_state: PyTree
  ema: PyTree  # An average of the parameters, or None.


def init_state(
  model: nn.Module | Learner,
  tx: optax.GradientTransformation,
  batch: Batch,
  key: Key[Array, ''],
  averages: bool = False,
) -> TrainState:
  """Returns the state at step 0; to be called under `jax.jit`."""
  inputs = jax.tree.map(jnp.asarray, dict(batch.inputs))
  params = model.init(key, **inputs)['params']
  ema = params if averages else None
  return TrainState(jnp.zeros((), jnp.int32), params, tx.init(params), ema)


def make_train_step(
  model: nn.Module | Learner,
  objective: Objective,
  tx: optax.GradientTransformation,
  *,
  microbatches: int = 1,
  average: Average | None = None,
  axis_name: str | None = None,
) -> Callable[[TrainState, Batch, Key[Array, '']], tuple[TrainState, Metrics]]:
  """Returns `train_step(state, batch, key) -> (state, metrics)`.

  Under `jax.jit` the step sees the global batch and `axis_name` is None: on a
  mesh the compiler adds the collectives. Under `jax.pmap` it sees one device's
  share and sums over `axis_name`. Both give the mean over all targets of the
  global batch, since everything is a sum until the global weight divides it.
  """

  def all_sum(tree):
    return tree if axis_name is None else jax.lax.psum(tree, axis_name)

  def split(x):  # Strided, so that a sharded batch is split locally.
    return x.reshape(-1, microbatches, *x.shape[1:]).swapaxes(0, 1)

  def train_step(state: TrainState, batch: Batch, key):
    key = jax.random.fold_in(key, state.step)
    if axis_name is not None:
      key = jax.random.fold_in(key, jax.lax.axis_index(axis_name))
    weights = all_sum(jax.tree.map(jnp.sum, dict(batch.weights)))
    tiny = jnp.finfo(jnp.float32).tiny  # A term without targets is 0.

    def loss_fn(params, batch, key):
      answers = model.apply(
        {'params': params},
        **batch.inputs,
        rngs={'dropout': key, 'sample': jax.random.fold_in(key, 1)},
        method='answer',
      )
      terms, metrics = objective.loss(answers, batch.targets, batch.weights)
      loss = sum(
        objective.scales[name] * term / jnp.maximum(weights[name], tiny)
        for name, term in terms.items()
      )
      return loss, metrics

    grad_fn = jax.grad(loss_fn, has_aux=True)
    parts = jax.tree.map(split, batch), jax.random.split(key, microbatches)
    total = add_up(lambda part: grad_fn(state.params, *part), parts)
    grads, metrics = all_sum(total)

    def hessian_times(direction):  # Estimated from one microbatch.
      first = jax.tree.map(lambda x: x[0], parts)
      gradient = lambda params: grad_fn(params, *first)[0]
      change = curvature(gradient, state.params, direction)
      return all_sum(jax.tree.map(lambda x: x * microbatches, change))

    updates, opt_state = optax.with_extra_args_support(tx).update(
      grads, state.opt_state, state.params, curvature=hessian_times
    )
    params = optax.apply_updates(state.params, updates)
    ema = average(params, opt_state, state.ema) if average else None
    if 'stop' in weights:  # Rows of processes that were told to stop.
      metrics['stop'] = (weights['stop'], jnp.ones(()))
    metrics['grad_norm'] = (optax.tree.norm(grads), jnp.ones(()))
    return TrainState(state.step + 1, params, opt_state, ema), metrics

  return train_step


def curvature(
  gradient: Callable[[PyTree], PyTree], params: PyTree, direction: PyTree
) -> PyTree:
  """Returns the product of the Hessian at `params` with a direction."""
  direction = optimizers.filled(direction, params)
  return jax.jvp(gradient, (params,), (direction,))[1]


def add_up(function: Callable[[PyTree], PyTree], parts: PyTree) -> PyTree:
  """Returns the sum of `function` over the leading axis of parts, in turn."""
  first = jax.tree.map(lambda x: x[0], parts)
  shapes = jax.eval_shape(function, first)
  zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
  total, _ = jax.lax.scan(
    lambda total, part: (jax.tree.map(jnp.add, total, function(part)), None),
    zeros,
    parts,
  )
  return total


def make_eval_step(
  model: nn.Module, objective: Objective
) -> Callable[[PyTree, Batch], Metrics]:
  """Returns `eval_step(params, batch) -> metrics`, with dropout off."""
  answer_step = make_answer_step(model, objective)
  return lambda params, batch: answer_step(params, batch)[0]


def make_answer_step(
  model: nn.Module, objective: Objective
) -> Callable[[PyTree, Batch], tuple[Metrics, dict[str, jax.Array]]]:
  """Returns `answer_step(params, batch) -> (metrics, answers of heads)`."""

  def answer_step(params: PyTree, batch: Batch):
    # A generator's samples are random, but the same at every evaluation.
    answers = model.apply(
      {'params': params},
      **batch.inputs,
      rngs={'sample': jax.random.key(0)},
      method='answer',
    )
    heads = {term: x for term, x in answers.items() if term != 'tokens'}
    return objective.loss(answers, batch.targets, batch.weights)[1], heads

  return answer_step
