"""A kernel on every device of a mesh, each with its share of rows and heads."""

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
  """Returns what `compute` gives, each device doing its share of it.

  The compiler cannot divide a kernel as it divides a product: it would gather
  all rows and heads on every device. Rows and heads need nothing of each other,
  so each device calls the kernel for its own. Without a mesh it is one call.

  Args:
    compute: Takes `arrays` by name and returns an array as the one named `out`.
    arrays: What is divided.
    axes: The letters of their axes, which `lm.parallel.mesh` places; a dot is
      an axis that all devices have whole.
    out: The array whose shape and axes the answer has.
  """
  if jax.sharding.get_abstract_mesh().empty or not nn.get_logical_axis_rules():
    return compute(**arrays)

  def spec(name):
    shape = arrays[name].shape
    return P(*(place(*axis) for axis in zip(axes[name].split(), shape)))

  def place(letter, size):
    # A few rows that make parameters, say: every device has them all.
    return _names(letter) if size % count(letter) == 0 else None

  return jax.shard_map(
    lambda arrays: compute(**arrays),
    in_specs=({name: spec(name) for name in arrays},),
    out_specs=spec(out),
    check_vma=False,  # Which Pallas does not tell.
  )(dict(arrays))


def count(letter: str) -> int:
  """Returns how many parts of an axis of activations the devices have."""
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty:
    return 1
  return math.prod(mesh.shape[name] for name in _names(letter))


def _names(letter: str) -> tuple[str, ...]:
  """Returns the axes of the mesh over which an activation's is divided."""
  names = dict(nn.get_logical_axis_rules()).get(letter) or ()
  return (names,) if isinstance(names, str) else tuple(names)
