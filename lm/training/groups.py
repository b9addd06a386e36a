"""Parameter groups: which ones are trained, how fast, and from which step on.

A group is selected by path, or is one layer of a stack. Layers are slices of
one array, so what acts on a layer is a factor for each slice.
"""

import functools
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Int

from lm.types import PyTree, UserError, path_of

# The parameters below the first layer, which turn tokens into vectors.
EMBEDS = (
  r'^(\w+_)?(token|position)/|^token_type$|^embedding_norm/|^generator_in/'
)
# Parameters that all layers of a stack share; T5 keeps them in the first.
OF_FIRST = r'/relative_bias$'
BLOCK = '/block/'

Make = Callable[
  [optax.GradientTransformation], optax.GradientTransformationExtraArgs
]


class Groups(NamedTuple):
  """Which parameters are trained, how fast, and from which step on.

  Attributes:
    rates: Patterns of paths, each with a factor of the learning rate.
    layer_decay: The ratio of a layer's learning rate to the one above it.
    unfreeze_steps: How long a layer stays frozen after the one above, in steps.
    only: A pattern of the paths that are trained at all; '' means all.
  """

  rates: tuple[tuple[str, float], ...] = ()
  layer_decay: float = 1.0
  unfreeze_steps: int = 0
  only: str = ''

  def factor(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Returns the factors of a parameter by `rates` and `only`, slice by slice.

    A slice is also called `encoder/block/3/mlp/up/kernel`, by its number.

    Args:
      name: The path of the parameter.
      shape: The shape of its array.
    """
    if self.only and not re.search(self.only, name):
      return np.zeros(())
    if not _stack(name):
      return np.array(self._rate_of(name))
    stack, block, rest = name.partition(BLOCK)
    layers = [
      self._rate_of(name, f'{stack}{block}{number}/{rest}')
      for number in range(shape[0])
    ]
    return _by_slice(layers, shape)

  def stays(self, name: str, shape: tuple[int, ...]) -> bool:
    """Returns whether all of a parameter is frozen."""
    return not self.factor(name, shape).any()

  def _rate_of(self, *names: str) -> float:
    """Returns the factor of the first pattern found in one of the names."""
    for pattern, rate in self.rates:
      if any(re.search(pattern, name) for name in names):
        return rate
    return 1.0


def build(
  rates: tuple[str, ...] = (),
  layer_decay: float = 1.0,
  unfreeze_steps: int = 0,
  only: str = '',
) -> Groups:
  """Returns the groups of a config; see `lm.training.optimizers`."""
  if not 0 < layer_decay <= 1:
    raise UserError(
      f'layer_decay is {layer_decay}, but it is how many times as fast as the'
      ' layer above it a layer learns. Set config.optimizer.layer_decay above 0,'
      ' up to 1; ELECTRA uses 0.8.'
    )
  if unfreeze_steps < 0:
    raise UserError(
      f'unfreeze_steps is {unfreeze_steps}, but it is a number of steps. Set'
      ' config.optimizer.unfreeze_steps to 0, for all layers from the'
      ' beginning, or more.'
    )
  return Groups(
    tuple(_rate(told) for told in rates), layer_decay, unfreeze_steps, only
  )


def _rate(told: str) -> tuple[str, float]:
  pattern, equals, factor = told.rpartition('=')
  try:
    re.compile(pattern)
    number = float(factor)
  except (ValueError, re.error):
    equals = ''
  if not equals or number < 0:
    raise UserError(
      f'config.optimizer.rates has {told!r}. Write PATTERN=FACTOR, such as'
      " 'embedding$=0.1', or '^encoder/=0' for what is to stay as it is."
    )
  return pattern, number


def below_top(params: PyTree) -> dict[str, np.ndarray]:
  """Returns how far below the heads each parameter is, by path and slice.

  The heads and whatever else reads the last layer are at 0, the last layer at
  1, the first of N at N, and embeddings at N + 1. Each stack is counted from
  its own top; embeddings are below the highest stack. A stack has one number
  per layer, on the layer axis.
  """
  leaves = jax.tree_util.tree_leaves_with_path(params)
  shapes = {path_of(keys): leaf.shape for keys, leaf in leaves}
  heights = {
    _stack(name): shape[0] for name, shape in shapes.items() if _stack(name)
  }

  def of(name: str, shape: tuple[int, ...]) -> np.ndarray:
    if _stack(name):
      return _by_slice(range(shape[0], 0, -1), shape)
    if re.search(EMBEDS, name):
      return np.array(max(heights.values(), default=0) + 1)
    if re.search(OF_FIRST, name):
      return np.array(heights.get(name.partition('/')[0], 0))
    return np.array(0)

  return {name: of(name, shape) for name, shape in shapes.items()}


def _stack(name: str) -> str:
  """Returns the stack that a path belongs to, or '' if none."""
  stack, block, _ = name.partition(BLOCK)
  return stack if block else ''


def _by_slice(numbers: Iterable, shape: tuple[int, ...]) -> np.ndarray:
  """Returns one number per layer, to broadcast over a stack of that shape."""
  return np.array([*numbers]).reshape(-1, *[1] * (len(shape) - 1))


def grouped(
  make: Make, groups: Groups
) -> optax.GradientTransformationExtraArgs:
  """Returns an optimizer that treats each group as specified.

  Frozen parameters do not count in the norm of the gradients, and have no state
  unless they are layers of a stack in which others are trained. Layers that are
  unfrozen later have averages of their gradients from the beginning.

  Args:
    make: Makes the optimizer of what is trained, given what scales its steps.
    groups: The groups.
  """
  if groups == Groups():
    return optax.with_extra_args_support(make(optax.identity()))

  def of(params: PyTree) -> optax.GradientTransformationExtraArgs:
    # Computed from all parameters: the optimizer sees only trained ones.
    tx = make(_scaled(groups, below_top(params)))
    kinds = jax.tree_util.tree_map_with_path(
      lambda keys, leaf: (
        'stays' if groups.stays(path_of(keys), leaf.shape) else 'learns'
      ),
      params,
    )
    if 'stays' in jax.tree.leaves(kinds):
      tx = optax.partition({'learns': tx, 'stays': optax.set_to_zero()}, kinds)
    return optax.with_extra_args_support(tx)

  def update(updates, state, params, **others):
    return of(params).update(_left(groups, updates), state, params, **others)

  return optax.GradientTransformationExtraArgs(
    lambda params: of(params).init(params), update
  )


def _left(groups: Groups, grads: PyTree) -> PyTree:
  """Returns gradients that are 0 for frozen layers."""

  def of_leaf(keys, grad):
    learns = groups.factor(path_of(keys), grad.shape) != 0
    return grad if learns.all() else jnp.where(learns, grad, 0)

  return jax.tree_util.tree_map_with_path(of_leaf, grads)


class Unfreezing(NamedTuple):
  """The number of steps so far."""

  count: Int[Array, '']


def _scaled(
  groups: Groups, below: dict[str, np.ndarray]
) -> optax.GradientTransformation:
  """Returns the transformation that scales each slice, by 0 while frozen."""

  def scale(count, keys, update):
    name = path_of(keys)
    factor = groups.factor(name, update.shape)
    factor = factor * groups.layer_decay ** below[name]
    if groups.unfreeze_steps:
      begun = count >= groups.unfreeze_steps * below[name]
      factor = jnp.where(begun, factor, 0.0)
    return update * jnp.asarray(factor, update.dtype)

  def update(updates, state, params=None):
    del params
    count = state.count if groups.unfreeze_steps else None
    scaled = jax.tree_util.tree_map_with_path(
      functools.partial(scale, count), updates
    )
    if groups.unfreeze_steps:
      state = Unfreezing(count + 1)
    return scaled, state

  def init(params):
    del params
    if groups.unfreeze_steps:
      return Unfreezing(jnp.zeros((), jnp.int32))
    return optax.EmptyState()

  return optax.GradientTransformation(init, update)
