"""Stacked layers, taken apart for decoding on a CPU.

A model stacks the arrays of its layers, and on a CPU its compiled program cuts
each layer out of the stack by copying it. Next to a training step that is
little, but to decode a token is to read every parameter once, and with the
copies it takes twice as long. Arrays that come apart, and are stacked within
the program, are neither stacked nor copied: the compiler sees through it. They
take memory once more, for as long as decoding goes on.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import linen as nn

from lm.types import PyTree, path_of


def apart(model: nn.Module, params: PyTree) -> tuple[nn.Module, PyTree]:
  """Returns both as decoding wants them here; `join` undoes it for `params`.

  What is apart stays as it is: who decodes again and again may do it once.
  """
  if jax.default_backend() != 'cpu':
    return model, jax.device_put(params)
  config = dataclasses.replace(model.config, unroll=None)  # Wholly.
  return model.clone(config=config), params if _is_apart(params) else _split(
    params
  )


def split_like(tree: PyTree, params: PyTree) -> PyTree:
  """Returns `tree`, such as a cache, apart if `params` are."""
  return split(tree) if _is_apart(params) else tree


def split(tree: PyTree) -> PyTree:
  """Returns `tree` with a list, one for each layer, for every stacked array."""

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
