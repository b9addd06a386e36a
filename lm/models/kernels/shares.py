"""Runs a kernel on every device of a mesh, on its shard of rows and heads."""

import math
from collections.abc import Callable, Mapping

import jax
from flax import linen as nn
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Shaped


def on_each_device(
  compute: Callable[..., Array],
  arrays: Mapping[str, Shaped[Array, '...']],
  axes: Mapping[str, str],
  out: str,
) -> Array:
  """Returns the result of `compute`, of which each device computes its shard.

  The compiler cannot partition a kernel as it partitions a matmul: it would
  gather all rows and heads on every device. Rows and heads are independent, so
  each device calls the kernel for its own. Without a mesh, it is called once.

  Args:
    compute: Takes `arrays` by name and returns an array like that named `out`.
    arrays: The arrays to shard.
    axes: The letters of their axes, which `lm.parallel.mesh` maps to the mesh;
      a dot is a replicated axis.
    out: The array that has the shape and axes of the result.
  """
  if jax.sharding.get_abstract_mesh().empty or not nn.get_logical_axis_rules():
    return compute(**arrays)

  def spec(name):
    shape = arrays[name].shape
    return P(*(place(*axis) for axis in zip(axes[name].split(), shape)))

  def place(letter, size):
    # Too few rows, as in initialisation, are replicated.
    return _names(letter) if size % count(letter) == 0 else None

  return jax.shard_map(
    lambda arrays: compute(**arrays),
    in_specs=({name: spec(name) for name in arrays},),
    out_specs=spec(out),
    check_vma=False,  # Pallas does not support it.
  )(dict(arrays))


def count(letter: str) -> int:
  """Returns the number of shards of an axis of activations."""
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty:
    return 1
  return math.prod(mesh.shape[name] for name in _names(letter))


def _names(letter: str) -> tuple[str, ...]:
  """Returns the mesh axes over which an axis of activations is sharded."""
  names = dict(nn.get_logical_axis_rules()).get(letter) or ()
  return (names,) if isinstance(names, str) else tuple(names)
