"""Optimizers, by config name."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from lm.training import groups
from lm.training.layerwise import per_layer
from lm.training.schedules import make_schedule
from lm.types import PyTree, UserError, path_of

# The parameters that weight decay applies to, by name: with layers stacked, the
# number of axes no longer tells a matrix from a vector.
MATRICES = r'(kernel|embedding|token_type|lora_[ab])$'


# The matrices that Muon orthogonalizes: those between hidden units.
HIDDEN = r'(attention|cross|mlp)/\w+/kernel$'

# Maps parameters, optimizer state and last average to what is evaluated.
Average = Callable[[PyTree, PyTree, PyTree], PyTree]


class Rule(NamedTuple):
  """An optimizer without the parts that all of them share.

  Attributes:
    core: Turns gradients into steps.
    after: Transforms the steps after weight decay is added.
    around: Wraps the whole optimizer, `(tx, schedule) -> tx`.
  """

  core: optax.GradientTransformation
  after: optax.GradientTransformation = optax.identity()
  around: Callable[..., optax.GradientTransformation] = lambda tx, rate: tx


def adamw(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8):
  """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""
  return Rule(optax.scale_by_adam(b1, b2, eps))


def lion(b1: float = 0.9, b2: float = 0.99):
  """The sign of a moving average (Chen et al. 2023)."""
  return Rule(optax.scale_by_lion(b1, b2))


def lamb(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-6):
  """Adam, each array's step scaled to the array's norm (You et al. 2020)."""
  ratio = per_layer(optax.scale_by_trust_ratio())
  return Rule(optax.scale_by_adam(b1, b2, eps), ratio)


def muon(
  momentum: float = 0.95,
  b1: float = 0.9,
  b2: float = 0.95,
  eps: float = 1e-8,
):
  """Orthogonalized steps for hidden matrices, Adam for the rest (Jordan 2024).

  The former are scaled to the size of Adam's (Liu et al. 2025, 2.2), so that
  one learning rate and one weight decay suit both.

  Args:
    momentum: Momentum of the hidden matrices.
    b1: Adam's decay rate of the gradients' average.
    b2: Adam's decay rate of the average of their squares.
    eps: Added to the root of that average.
  """
  rows_and_columns = optax.contrib.MuonDimensionNumbers(0, 1)
  orthogonal = optax.chain(
    optax.contrib.scale_by_muon(
      beta=momentum,
      weight_dimension_numbers=lambda tree: jax.tree.map(
        lambda _: rows_and_columns, tree
      ),
    ),
    optax.stateless_with_tree_map(lambda x, _: 0.2 * max(x.shape) ** 0.5 * x),
  )
  kinds = {
    'hidden': per_layer(orthogonal),
    'other': optax.scale_by_adam(b1, b2, eps),
  }
  return Rule(optax.partition(kinds, labels(HIDDEN, 'hidden', 'other')))


def sophia(
  b1: float = 0.965,
  b2: float = 0.99,
  gamma: float = 0.01,
  interval: int = 10,
):
  """Divides by the curvature and clips (Liu et al. 2024, Sophia-H).

  Args:
    b1: Decay rate of the average of gradients.
    b2: Decay rate of the average of the curvature.
    gamma: Factor of the curvature: the larger, the fewer steps are clipped.
    interval: Steps between two estimates of the curvature.
  """
  core = optax.contrib.sophia(
    -1.0,  # The sign is flipped later, with the learning rate.
    b1,
    b2,
    weight_decay=0.0,
    gamma=gamma,
    update_interval=interval,
    hessian_diagonal_fn=hutchinson(),
  )
  return Rule(core)


def schedule_free(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8):
  """Adam that averages instead of decaying its rate (Defazio et al. 2024).

  The average is evaluated. Use the schedule 'constant', with or without warmup.
  """
  core = optax.scale_by_adam(0.0, b2, eps)

  def around(tx, rate):
    return optax.contrib.schedule_free(tx, rate, b1)

  return Rule(core, around=around)


def hutchinson() -> optax.GradientTransformationExtraArgs:
  """Estimates the diagonal of the Hessian from one Hessian-vector product."""

  def init(params: PyTree):
    del params
    return jnp.zeros((), jnp.int32)

  def update(updates, count, params, curvature, **others):
    del updates, others
    key = jax.random.fold_in(jax.random.key(0), count)
    signs = optax.tree.random_like(key, params, jax.random.rademacher)
    change = curvature(signs)
    left_out = lambda sign: isinstance(sign, optax.MaskedNode)
    diagonal = jax.tree.map(
      lambda change, sign: sign if left_out(sign) else change * sign,
      change,
      signs,
    )
    return diagonal, count + 1

  return optax.GradientTransformationExtraArgs(init, update)


def filled(direction: PyTree, params: PyTree) -> PyTree:
  """Returns a direction that is 0 for parameters the optimizer leaves out."""

  def of_leaf(param, part):
    return jnp.zeros_like(param) if isinstance(part, optax.MaskedNode) else part

  return jax.tree.map(of_leaf, params, direction)


def sgd(momentum: float = 0.0):
  """Stochastic gradient descent."""
  return Rule(optax.trace(momentum) if momentum else optax.identity())


class Moments(NamedTuple):
  """Moving averages of the gradients and of their squares."""

  mu: PyTree
  nu: PyTree


def bert_adam(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-6):
  """BERT's Adam (its optimization.py), without bias correction.

  The averages start at 0 and so are too small at first, that of the squares
  more so: early steps are up to 6.6 times as large as Adam's.
  """

  def init(params: PyTree) -> Moments:
    return Moments(*(jax.tree.map(jnp.zeros_like, params) for _ in range(2)))

  def update(updates: PyTree, state: Moments, params: PyTree = None):
    del params
    mu = optax.tree.update_moment(updates, state.mu, b1, 1)
    nu = optax.tree.update_moment(updates, state.nu, b2, 2)
    step = jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + eps), mu, nu)
    return step, Moments(mu, nu)

  return Rule(optax.GradientTransformation(init, update))


def adafactor(
  decay_rate: float = 0.8,
  min_dim_size_to_factor: int = 128,
  clipping_threshold: float = 1.0,
  multiply_by_parameter_scale: bool = True,
  momentum: float = 0.0,
):
  """Adafactor (Shazeer and Stern 2018), with T5's settings.

  T5 uses no weight decay and does not clip the gradients' global norm: set
  weight_decay and clip_norm to 0, and the schedule to 'rsqrt'.

  Args:
    decay_rate: At step t, the average of squares forgets a share t^-decay_rate.
    min_dim_size_to_factor: A matrix with at least this many rows and columns
      keeps only averages of its rows and columns.
    clipping_threshold: The maximum root mean square of an array's update; 0
      means no limit.
    multiply_by_parameter_scale: Whether learning_rate is relative to an array's
      root mean square, taken as at least 0.001.
    momentum: The share of earlier updates in each; 0 means none.
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
  return Rule(per_layer(optax.chain(*parts)))


OPTIMIZERS: dict[str, Callable[..., Rule]] = {
  'adamw': adamw,
  'bert_adam': bert_adam,
  'adafactor': adafactor,
  'lamb': lamb,
  'lion': lion,
  'muon': muon,
  'sophia': sophia,
  'schedule_free': schedule_free,
  'sgd': sgd,
}


def labels(
  pattern: str, matching: Any, other: Any
) -> Callable[[PyTree], PyTree]:
  """Returns a function that labels parameters by whether `pattern` matches."""
  return lambda params: jax.tree_util.tree_map_with_path(
    lambda path, _: matching if re.search(pattern, path_of(path)) else other,
    params,
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
  rates: tuple[str, ...] = (),
  layer_decay: float = 1.0,
  unfreeze_steps: int = 0,
  only: str = '',
  **settings: Any,
) -> tuple[optax.GradientTransformation, optax.Schedule]:
  """Returns the optimizer, and its schedule for the log.

  Args:
    name: One of `OPTIMIZERS`.
    num_steps: Steps of the whole run.
    skip_nonfinite: How many consecutive steps with a NaN or infinite gradient
      are skipped.
    learning_rate: The maximum of the schedule.
    schedule: Its shape; for this and the next three, see `make_schedule`.
    warmup_steps: Steps before the rate decays.
    end_learning_rate: The learning rate at the end of the schedule.
    decay_steps: Length of the decay of 'warmup_stable_decay'.
    weight_decay: Share of a parameter to subtract, times the learning rate.
    decay: A pattern of the paths that weight decay applies to.
    clip_norm: The maximum global norm of the gradients; 0 means no limit.
    rates: `PATTERN=FACTOR` of the learning rate, for parameters whose path
      matches; the first match applies, and factor 0 freezes. Layer 3 of a stack
      is encoder/block/3/.
    layer_decay: The ratio of a layer's learning rate to the one above it; the
      heads are above the last layer, the embeddings below the first (Howard and
      Ruder 2018, 3.2, with 1 / 2.6; Clark et al. 2020, with 0.8).
    unfreeze_steps: How many steps later than the layer above it a layer is
      unfrozen; the heads are at once (Howard and Ruder 2018, 3.3).
    only: A pattern of the paths that are trained at all; '' means all.
    **settings: Settings of the named optimizer.
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
  rule = OPTIMIZERS[name](**settings)

  def make(scaled: optax.GradientTransformation):
    tx = optax.chain(
      optax.clip_by_global_norm(clip_norm) if clip_norm else optax.identity(),
      rule.core,
      optax.add_decayed_weights(weight_decay, labels(decay, True, False)),
      rule.after,
      optax.scale_by_learning_rate(rate),
      scaled,
    )
    return rule.around(tx, rate)

  tx = groups.grouped(
    make, groups.build(rates, layer_decay, unfreeze_steps, only)
  )
  if skip_nonfinite:
    tx = optax.apply_if_finite(tx, skip_nonfinite)
  return tx, rate


def average(name: str, ema_decay: float) -> Average | None:
  """Returns the function that averages parameters for evaluation, or None.

  Args:
    name: The name of the optimizer.
    ema_decay: Decay rate of a moving average; 0 means none.
  """
  if name == 'schedule_free':
    if ema_decay:
      raise UserError(
        'The optimizer schedule_free averages the parameters itself. Set'
        ' config.ema_decay to 0.'
      )
    return _schedule_free_average
  if not ema_decay:
    return None
  return lambda params, opt_state, ema: optax.incremental_update(
    params, ema, 1 - ema_decay
  )


def _schedule_free_average(params, opt_state, ema):
  """Solves y = b1 x + (1 - b1) z for the average x."""
  del ema
  b1, z = (optax.tree.get(opt_state, name) for name in ('b1', 'z'))

  def of_leaf(y, z):
    return y if isinstance(z, optax.MaskedNode) else (y - (1 - b1) * z) / b1

  return jax.tree.map(of_leaf, params, z)
