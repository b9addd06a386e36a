"""Applies optimizers that use whole arrays to arrays as they were published.

Most optimizers update each number by itself. Others (Adafactor, LAMB, Muon) use
an array's root mean square, or its rows and columns, and here arrays differ
from those of published models: layers are stacked on a leading axis, and
attention's matrices and biases have axes for the heads.
"""

import re
from typing import NamedTuple

import jax
import optax
from jaxtyping import Array, Shaped

from lm.types import PyTree, path_of

# Arrays with an axis of heads, followed by one of their width: the path, the
# number of axes, and the index of the first of these two.
HEADS = (
  (r'(query|key|value)/kernel$', 3, 1),  # D H K
  (r'(query|key|value)/bias$', 2, 0),  # H K
  (r'out/kernel$', 3, 0),  # H K D
)


class Reduced(NamedTuple):
  """A statistic whose shape is not its parameter's, such as sums of its rows.

  It makes the path end differently from the parameter's: otherwise sharding by
  the ends of paths would split axes that do not exist.
  """

  reduced: Shaped[Array, '...']


def per_layer(
  tx: optax.GradientTransformation,
) -> optax.GradientTransformation:
  """Returns `tx`, applied to each layer of a stack as to separate arrays.

  Layers are found by 'block' in their path. `tx` counts steps for each layer;
  statistics over all arrays are over those of one layer, or over those outside
  of layers. The state holds a state for every height of a stack, with the
  layers' arrays stacked as the parameters are.
  """
  tx = _per_matrix(tx)

  def init(params: PyTree) -> dict[str, PyTree]:
    return {
      name: _mapped(tx.init, name)(stack)
      for name, stack in _stacks(params).items()
    }

  def update(updates: PyTree, state: dict[str, PyTree], params: PyTree = None):
    params_of, done, new_state = _stacks(params), [], {}
    for name, stack in _stacks(updates).items():
      update = _mapped(tx.update, name)
      stack, new_state[name] = update(stack, state[name], params_of.get(name))
      done.append(stack)
    return _joined(updates, done), new_state

  return optax.GradientTransformation(init, update)


def _mapped(function, name):
  return function if name == 'alone' else jax.vmap(function)


def _stacks(tree: PyTree) -> dict[str, PyTree]:
  """Returns `tree` once for each height of its stacks, with only their leaves.

  Arrays of no stack are under 'alone'. All other leaves are replaced by
  MaskedNode, with which optax masks leaves.
  """

  def name_of(keys, leaf):
    stacked = 'block' in path_of(keys).split('/')
    return f'stack_of_{leaf.shape[0]}' if stacked else 'alone'

  def only(wanted):
    pick = lambda leaf, name: leaf if name == wanted else optax.MaskedNode()
    return jax.tree.map(pick, tree, names)

  names = jax.tree_util.tree_map_with_path(name_of, tree)
  return {name: only(name) for name in sorted({*jax.tree.leaves(names)})}


def _joined(tree: PyTree, stacks: list[PyTree]) -> PyTree:
  """Returns `tree` with each leaf taken from the stack that has it."""

  def pick(_, *found):
    return next(x for x in found if not isinstance(x, optax.MaskedNode))

  return jax.tree.map(pick, tree, *stacks)


def _per_matrix(
  tx: optax.GradientTransformation,
) -> optax.GradientTransformation:
  """Returns `tx`, applied to all heads of a layer as one matrix or vector.

  Its state has arrays of the parameters' own shapes, or `Reduced` ones.
  """

  def keep(state, params, matrices):
    def of_leaf(statistic, param, matrix):
      if isinstance(statistic, optax.MaskedNode):
        return statistic
      if statistic.shape == matrix.shape:
        return statistic.reshape(param.shape)
      return Reduced(statistic)

    return _map_statistics(tx, of_leaf, state, params, matrices)

  def recall(state, matrices):
    def of_leaf(statistic, matrix):
      if isinstance(statistic, optax.MaskedNode):
        return statistic
      if isinstance(statistic, Reduced):
        return statistic.reduced
      return statistic.reshape(matrix.shape)

    return _map_statistics(tx, of_leaf, state, matrices)

  def init(params):
    matrices = _as_matrices(params)
    return keep(tx.init(matrices), params, matrices)

  def update(updates, state, params=None):
    matrices = _as_matrices(updates)
    state = recall(state, matrices)
    new, state = tx.update(matrices, state, _as_matrices(params))
    state = keep(state, updates, matrices)
    return jax.tree.map(
      lambda x, old: x.reshape(old.shape), new, updates
    ), state

  return optax.GradientTransformation(init, update)


def _map_statistics(tx, function, state, *trees):
  """Maps the statistics of each parameter in `state`, but not its counters."""
  left_out = lambda node: isinstance(node, Reduced | optax.MaskedNode)
  return optax.tree.map_params(tx, function, state, *trees, is_leaf=left_out)


def _as_matrices(tree: PyTree) -> PyTree:
  def merge(keys, leaf):
    for pattern, ndim, axis in HEADS:
      if leaf.ndim == ndim and re.search(pattern, path_of(keys)):
        shape = leaf.shape
        return leaf.reshape(*shape[:axis], -1, *shape[axis + 2 :])
    return leaf

  return jax.tree_util.tree_map_with_path(merge, tree)
