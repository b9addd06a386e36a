"""Replicated data parallelism: each device runs the step on its own share.

The step is the same as on a mesh, but sums over devices itself. Outside the
loop, in checkpoints and evaluation, the state consists of global arrays, as
everywhere else; `enter` and `leave` convert between the two forms without
copying between devices.
"""

import contextlib
from collections.abc import Callable, Iterator

import jax
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P

from lm.parallel import mesh as meshes
from lm.types import PyTree

AXIS = 'devices'


def compile_step(step: Callable, state: PyTree, mesh: Mesh) -> Callable:
  """Returns a train step over `AXIS` that donates its state."""
  del state, mesh  # Every device holds all of it.
  return jax.pmap(
    step,
    axis_name=AXIS,
    in_axes=(0, 0, None),
    out_axes=(0, None),
    donate_argnums=0,
  )


def imagined(state: PyTree, batch: PyTree, mesh: Mesh) -> tuple[PyTree, PyTree]:
  """Returns a compiled step's abstract arguments; see `meshes.imagined`."""
  count = mesh.size

  def copies(x):
    return jax.ShapeDtypeStruct((count, *x.shape), x.dtype)

  def shares(x):
    shape = (count, x.shape[0] // count, *x.shape[1:])
    return jax.ShapeDtypeStruct(shape, x.dtype)

  return jax.tree.map(copies, state), jax.tree.map(shares, batch)


def enter(state: PyTree, mesh: Mesh) -> PyTree:
  """Returns global replicated arrays as a copy per device of this process."""
  local = Mesh(np.array(mesh.local_devices), (AXIS,))
  sharding = NamedSharding(local, P(AXIS))

  def stack(array):
    copies = {shard.device: shard.data for shard in array.addressable_shards}
    copies = [copies[device][None] for device in local.devices.flat]
    shape = (len(copies), *array.shape)
    return jax.make_array_from_single_device_arrays(shape, sharding, copies)

  return jax.tree.map(stack, state)


def leave(state: PyTree, mesh: Mesh) -> PyTree:
  """Returns the copies of the devices as global replicated arrays."""
  sharding = meshes.replicated(mesh)

  def join(array):
    copies = [shard.data[0] for shard in array.addressable_shards]
    return jax.make_array_from_single_device_arrays(
      array.shape[1:], sharding, copies
    )

  return jax.tree.map(join, state)


def to_devices(batch: PyTree, mesh: Mesh) -> PyTree:
  """Returns the rows of this process, divided among its devices."""
  count = len(mesh.local_devices)
  return jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), batch)


@contextlib.contextmanager
def placing(mesh: Mesh) -> Iterator[None]:
  """Context in which models shard nothing: each device has everything."""
  del mesh
  with nn.logical_axis_rules(()):
    yield
