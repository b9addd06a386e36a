"""Optimizers, by the name a config calls them."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from lm.training.layerwise import per_layer
from lm.training.schedules import make_schedule
from lm.types import PyTree, UserError, path_of

# What weight decay shrinks, decided by name: with layers stacked, the number of
# axes no longer tells a matrix from a vector.
MATRICES = r'(kernel|embedding|token_type)$'


def adamw(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8):
  """Adam, with the decay decoupled (Loshchilov and Hutter 2019)."""
  return optax.scale_by_adam(b1, b2, eps)


def sgd(momentum: float = 0.0):
  """Stochastic gradient descent."""
  return optax.trace(momentum) if momentum else optax.identity()


class Moments(NamedTuple):
  """Moving averages of the gradients, and of their squares."""

  mu: PyTree
  nu: PyTree


def bert_adam(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-6):
  """BERT's Adam (its optimization.py): the averages are not corrected.

  They begin at 0 and so are too small at first, the squares' more so: early
  steps are up to 6.6 times as large as Adam's.
  """

  def init(params: PyTree) -> Moments:
    return Moments(*(jax.tree.map(jnp.zeros_like, params) for _ in range(2)))

  def update(updates: PyTree, state: Moments, params: PyTree = None):
    del params
    mu = optax.tree.update_moment(updates, state.mu, b1, 1)
    nu = optax.tree.update_moment(updates, state.nu, b2, 2)
    step = jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + eps), mu, nu)
    return step, Moments(mu, nu)

  return optax.GradientTransformation(init, update)


def adafactor(
  decay_rate: float = 0.8,
  min_dim_size_to_factor: int = 128,
  clipping_threshold: float = 1.0,
  multiply_by_parameter_scale: bool = True,
  momentum: float = 0.0,
):
  """Adafactor (Shazeer and Stern 2018), with T5's settings.

  T5 neither decays weights nor clips the gradients' global norm: with it go
  weight_decay and clip_norm 0, and the schedule 'rsqrt'.

  Args:
    decay_rate: The average of squares forgets as t^-decay_rate, at step t.
    min_dim_size_to_factor: A matrix keeps averages of its rows and columns
      only, if it has this many of both.
    clipping_threshold: The greatest root mean square of an array's update;
      0: any.
    multiply_by_parameter_scale: Whether learning_rate is a share of an array's
      root mean square, which counts as 0.001 at least.
    momentum: Share of the earlier updates in each; 0: none.
  """
  if not 0 < decay_rate <= 1:
    raise UserError(
      f'decay_rate is {decay_rate}, but step t forgets t^-decay_rate of what'
      ' was before. Set config.optimizer.decay_rate above 0, up to 1; T5 uses'
      ' 0.8.'
    )
  parts = [
    optax.scale_by_factored_rms(
      decay_rate=decay_rate,
      min_dim_size_to_factor=min_dim_size_to_factor,
      epsilon=1e-30,
    )
  ]
  if clipping_threshold:
    parts.append(optax.clip_by_block_rms(clipping_threshold))
  if multiply_by_parameter_scale:
    parts.append(optax.scale_by_param_block_rms(1e-3))
  if momentum:
    parts.append(optax.ema(momentum, debias=False))
  return per_layer(optax.chain(*parts))


OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
  'adamw': adamw,
  'bert_adam': bert_adam,
  'adafactor': adafactor,
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
    warmup_steps: Steps before the rate falls.
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
  if clip_norm < 0:
    raise UserError(
      f'clip_norm is {clip_norm}, but a norm is not negative. Set'
      ' config.optimizer.clip_norm above 0, or to 0 to clip nothing.'
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
