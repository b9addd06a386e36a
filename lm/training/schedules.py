"""Learning-rate schedules, by config name."""

import functools
from collections.abc import Callable

import jax.numpy as jnp
import optax

from lm.types import UserError


def after_warmup(schedule: Callable[..., optax.Schedule]):
  """Puts a linear warmup before `schedule`, which gets the remaining steps."""

  @functools.wraps(schedule)
  def whole(peak, end, num_steps, *, warmup_steps, decay_steps):
    steps = num_steps - warmup_steps
    if steps < 1:
      raise UserError(
        f'warmup_steps is {warmup_steps}, which is all of a run of {num_steps}'
        ' steps. Set config.optimizer.warmup_steps under config.num_steps.'
      )
    after = schedule(
      peak, end, steps, warmup_steps=warmup_steps, decay_steps=decay_steps
    )
    # The first step already learns: a rate of 0 would waste it.
    rising = optax.linear_schedule(
      peak / (warmup_steps + 1), peak, max(warmup_steps, 1)
    )
    return optax.join_schedules([rising, after], [warmup_steps])

  return whole


@after_warmup
def cosine(peak, end, steps, **_):
  """Half a cosine wave, from `peak` to `end`."""
  return optax.cosine_decay_schedule(peak, steps, end / peak)


@after_warmup
def linear(peak, end, steps, **_):
  """A straight line, from `peak` to `end`."""
  return optax.linear_schedule(peak, end, steps)


@after_warmup
def constant(peak, end, steps, **_):
  """`peak` throughout."""
  del end, steps
  return optax.constant_schedule(peak)


@after_warmup
def inverse_sqrt(peak, end, steps, *, warmup_steps, **_):
  """Decays as 1 / sqrt(step) (Vaswani et al. 2017, 5.3)."""
  del end, steps
  first = max(warmup_steps, 1)
  # During warmup it is evaluated at negative steps, and the result is unused.
  return lambda step: peak * (first / (first + jnp.maximum(step, 0))) ** 0.5


@after_warmup
def warmup_stable_decay(peak, end, steps, *, decay_steps, **_):
  """`peak`, then linear for the last `decay_steps` (Hu et al. 2024, 4)."""
  decay_steps = min(decay_steps, steps)
  return optax.join_schedules(
    [
      optax.constant_schedule(peak),
      optax.linear_schedule(peak, end, decay_steps),
    ],
    [steps - decay_steps],
  )


def rsqrt(peak, end, num_steps, *, warmup_steps, **_):
  """`peak` during warmup, without a ramp, then decays as 1 / sqrt(step) (T5).

  A peak of 0.01 and 10,000 warmup steps give T5's 1 / sqrt(max(step, 10^4))
  (Raffel et al. 2020, 3.1.2). A run may be shorter than its warmup.
  """
  del end, num_steps
  first = max(warmup_steps, 1)
  return lambda step: peak * (first / jnp.maximum(step, first)) ** 0.5


SCHEDULES = {
  'cosine': cosine,
  'linear': linear,
  'constant': constant,
  'inverse_sqrt': inverse_sqrt,
  'warmup_stable_decay': warmup_stable_decay,
  'rsqrt': rsqrt,
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

  Args:
    name: One of `SCHEDULES`.
    num_steps: Steps of the whole run.
    learning_rate: The maximum.
    warmup_steps: Steps of linear warmup; for 'rsqrt', steps at the maximum.
    end_learning_rate: Where 'cosine', 'linear' and 'warmup_stable_decay' end.
    decay_steps: Steps of decay of 'warmup_stable_decay'; 0 means a tenth of
      `num_steps`.
  """
  if name not in SCHEDULES:
    raise UserError(
      f'There is no schedule {name!r}. Set config.optimizer.schedule to one of'
      f' {", ".join(SCHEDULES)}.'
    )
  counts = {'warmup_steps': warmup_steps, 'decay_steps': decay_steps}
  for key, count in counts.items():
    if count < 0:
      raise UserError(
        f'{key} is {count}, but it counts steps. Set config.optimizer.{key} to'
        ' 0 or more.'
      )
  if not 0 <= end_learning_rate <= learning_rate > 0:
    raise UserError(
      f'There is no schedule from {learning_rate} to {end_learning_rate}. Set'
      ' config.optimizer.learning_rate above 0, and end_learning_rate up to'
      ' learning_rate.'
    )
  return SCHEDULES[name](
    learning_rate,
    end_learning_rate,
    num_steps,
    warmup_steps=warmup_steps,
    decay_steps=decay_steps or max(num_steps // 10, 1),
  )
