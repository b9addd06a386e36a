"""Unstacking of layers, for decoding on a CPU.

A model stacks the arrays of its layers, and on a CPU its compiled program
copies each layer out of the stack. That is little compared to a training step,
but decoding a token means reading every parameter once, and with the copies it
takes twice as long. Arrays that are passed unstacked, and stacked within the
program, are neither stacked nor copied: the compiler optimises that away. They
take up memory a second time while decoding lasts.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import linen as nn

from lm.types import PyTree, path_of


def apart(model: nn.Module, params: PyTree) -> tuple[nn.Module, PyTree]:
  """Returns both as decoding needs them here; `join` undoes it for `params`.

  Unstacked parameters are not changed, so repeated decoding may call it once.
  """
  if jax.default_backend() != 'cpu':
    return model, jax.device_put(params)
  config = dataclasses.replace(model.config, unroll=None)  # Fully, on a CPU.
  return model.clone(config=config), params if _is_apart(params) else _split(
    params
  )


def split_like(tree: PyTree, params: PyTree) -> PyTree:
  """Returns `tree`, such as a cache, unstacked if `params` are."""
  return split(tree) if _is_apart(params) else tree


def split(tree: PyTree) -> PyTree:
  """Returns `tree` with a list of arrays, by layer, for every stacked array."""

  def cut(path, leaf):
    return list(leaf) if 'block' in path_of(path).split('/') else leaf

  return jax.tree_util.tree_map_with_path(cut, tree)


def join(tree: PyTree) -> PyTree:
  """Returns `tree` with every list of arrays stacked."""
  stack = lambda node: jnp.stack(node) if _is_list(node) else node
  return jax.tree.map(stack, tree, is_leaf=_is_list)


def _is_apart(tree: PyTree) -> bool:
  return any(map(_is_list, jax.tree.leaves(tree, is_leaf=_is_list)))


def _is_list(node: PyTree) -> bool:
  return isinstance(node, list)


_split = jax.jit(split)
