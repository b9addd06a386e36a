"""A kernel on every device of a mesh, each with its share of rows and heads."""

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
  mesh = jax.sharding.get_abstract_mesh()
  rules = dict(nn.get_logical_axis_rules())
  if mesh.empty or not rules:
    return compute(**arrays)

  def spec(name):
    shape = arrays[name].shape
    return P(*(place(*axis) for axis in zip(axes[name].split(), shape)))

  def place(letter, size):
    names = rules.get(letter) or ()
    names = (names,) if isinstance(names, str) else names
    shares = 1
    for name in names:
      shares *= mesh.shape[name]
    # A few rows that make parameters, say: every device has them all.
    return names if size % shares == 0 else None

  return jax.shard_map(
    lambda arrays: compute(**arrays),
    in_specs=({name: spec(name) for name in arrays},),
    out_specs=spec(out),
    check_vma=False,  # Which Pallas does not tell.
  )(dict(arrays))
