"""Optimizers and learning-rate schedules, by the name a config calls them."""

import re
from collections.abc import Callable
from typing import Any

import jax
import optax

from lm.types import PyTree, UserError, path_of

# What weight decay shrinks, decided by name: with layers stacked, the number of
# axes no longer tells a matrix from a vector.
MATRICES = r'(kernel|embedding|position)$'


def cosine(peak, end, steps, **_):
  """Half a wave, from `peak` to `end`."""
  return optax.cosine_decay_schedule(peak, steps, end / peak)


def linear(peak, end, steps, **_):
  """A straight line, from `peak` to `end`."""
  return optax.linear_schedule(peak, end, steps)


def constant(peak, end, steps, **_):
  """`peak` for ever."""
  del end, steps
  return optax.constant_schedule(peak)


def inverse_sqrt(peak, end, steps, *, warmup_steps, **_):
  """Falls with the square root of the step (Vaswani et al. 2017, 5.3)."""
  del end, steps
  first = max(warmup_steps, 1)
  return lambda step: peak * (first / (first + step)) ** 0.5


def warmup_stable_decay(peak, end, steps, *, decay_steps, **_):
  """`peak` until the last `decay_steps`, then a line (Hu et al. 2024, 4)."""
  decay_steps = min(decay_steps, steps)
  return optax.join_schedules(
    [
      optax.constant_schedule(peak),
      optax.linear_schedule(peak, end, decay_steps),
    ],
    [steps - decay_steps],
  )


SCHEDULES = {
  'cosine': cosine,
  'linear': linear,
  'constant': constant,
  'inverse_sqrt': inverse_sqrt,
  'warmup_stable_decay': warmup_stable_decay,
}


def make_schedule(
  name: str,
  num_steps: int,
  learning_rate: float,
  warmup_steps: int,
  end_learning_rate: float,
  decay_steps: int,
) -> optax.Schedule:
  """Returns the learning rate as a function of the step, counted from 0.

  It rises in a straight line, and then goes as `SCHEDULES[name]` does.

  Args:
    name: One of `SCHEDULES`.
    num_steps: Of the whole run.
    learning_rate: The highest.
    warmup_steps: How many steps rise to it.
    end_learning_rate: The lowest, at the end.
    decay_steps: Of 'warmup_stable_decay'; 0: a tenth of `num_steps`.
  """
  if name not in SCHEDULES:
    raise UserError(
      f'There is no schedule {name!r}. Set config.optimizer.schedule to one of'
      f' {", ".join(SCHEDULES)}.'
    )
  steps = num_steps - warmup_steps
  if steps < 1 or not 0 <= end_learning_rate <= learning_rate > 0:
    raise UserError(
      f'There is no schedule of {num_steps} steps, {warmup_steps} of them'
      f' warm-up, from {learning_rate} to {end_learning_rate}. Set'
      ' config.optimizer.warmup_steps under config.num_steps, learning_rate'
      ' above 0, and end_learning_rate up to learning_rate.'
    )
  after = SCHEDULES[name](
    learning_rate,
    end_learning_rate,
    steps,
    warmup_steps=warmup_steps,
    decay_steps=decay_steps or max(num_steps // 10, 1),
  )
  # The first step already learns: a rate of 0 would waste it.
  rising = optax.linear_schedule(
    learning_rate / (warmup_steps + 1), learning_rate, max(warmup_steps, 1)
  )
  return optax.join_schedules([rising, after], [warmup_steps])


def adamw(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8):
  """Adam, with the decay decoupled (Loshchilov and Hutter 2019)."""
  return optax.scale_by_adam(b1, b2, eps)


def sgd(momentum: float = 0.0):
  """Stochastic gradient descent."""
  return optax.trace(momentum) if momentum else optax.identity()


OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
  'adamw': adamw,
  'sgd': sgd,
}


def decayed(pattern: str) -> Callable[[PyTree], PyTree]:
  """Returns a mask: True for parameters whose path matches `pattern`."""
  return lambda params: jax.tree_util.tree_map_with_path(
    lambda path, _: bool(re.search(pattern, path_of(path))), params
  )


def build(
  name: str,
  num_steps: int,
  skip_nonfinite: int = 0,
  *,
  learning_rate: float,
  schedule: str = 'cosine',
  warmup_steps: int = 0,
  end_learning_rate: float = 0.0,
  decay_steps: int = 0,
  weight_decay: float = 0.0,
  decay: str = MATRICES,
  clip_norm: float = 1.0,
  **settings: Any,
) -> tuple[optax.GradientTransformation, optax.Schedule]:
  """Returns the optimizer, and its schedule for the log.

  Args:
    name: One of `OPTIMIZERS`.
    num_steps: Of the whole run.
    skip_nonfinite: How many steps in a row with a NaN or infinite gradient
      leave everything as it is.
    learning_rate: The highest of the schedule.
    schedule: Its shape; for this and the next three, see `make_schedule`.
    warmup_steps: Steps that rise to `learning_rate`.
    end_learning_rate: The lowest of the schedule.
    decay_steps: Of 'warmup_stable_decay'.
    weight_decay: Times the learning rate, what a step takes off a parameter.
    decay: Which parameters, as a pattern of their paths.
    clip_norm: The gradients' greatest global norm; 0: any.
    **settings: Of the optimizer of that name.
  """
  if name not in OPTIMIZERS:
    raise UserError(
      f'There is no optimizer {name!r}. Set config.optimizer.name to one of'
      f' {", ".join(OPTIMIZERS)}.'
    )
  rate = make_schedule(
    schedule,
    num_steps,
    learning_rate,
    warmup_steps,
    end_learning_rate,
    decay_steps,
  )
  tx = optax.chain(
    optax.clip_by_global_norm(clip_norm) if clip_norm else optax.identity(),
    OPTIMIZERS[name](**settings),
    optax.add_decayed_weights(weight_decay, decayed(decay)),
    optax.scale_by_learning_rate(rate),
  )
  if skip_nonfinite:
    tx = optax.apply_if_finite(tx, skip_nonfinite)
  return tx, rate
