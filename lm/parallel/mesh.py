"""The devices as a mesh, and where on it each array lives."""

import contextlib
import re
from collections.abc import Callable, Iterator

import jax
import numpy as np
from flax import linen as nn
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P
from jaxtyping import Int

from lm.types import PyTree, UserError, path_of

AXES = ('data', 'fsdp', 'tensor')
ROWS = ('data', 'fsdp')  # The axes that a batch is split over.

# The first pattern found in a parameter's path decides. A spec is aligned to
# the last axes, so stacked layers need no rule of their own.
PARAMETERS = (
  (r'(token|output)/embedding$', P('tensor', 'fsdp')),  # V D
  (r'(query|key|value)/kernel$', P('fsdp', 'tensor', None)),  # D H K
  (r'(query|key|value)/bias$', P('tensor', None)),  # H K
  (r'out/kernel$', P('tensor', None, 'fsdp')),  # H K D
  (r'(up|gate)/kernel$', P('fsdp', 'tensor')),  # D F
  (r'(up|gate)/bias$', P('tensor')),  # F
  (r'down/kernel$', P('tensor', 'fsdp')),  # F D
  (r'', P()),  # The rest is small: copied.
)

# Where the axes of an activation go, by their letters.
ACTIVATIONS = (
  ('B', ROWS),
  ('L', None),
  ('D', None),
  ('H', 'tensor'),
  ('K', None),
  ('F', 'tensor'),
)


def make_mesh(data: int = -1, fsdp: int = 1, tensor: int = 1) -> Mesh:
  """Returns all devices as a mesh of `data` x `fsdp` x `tensor`.

  Args:
    data: Copies of the parameters; each sees its share of the batch. -1 stands
      for all devices that the other axes leave.
    fsdp: Parts that each parameter is split into; also splits the batch.
    tensor: Parts that heads and hidden units are split into.
  """
  sizes, devices = [data, fsdp, tensor], jax.device_count()
  known = 1
  for size in sizes:
    known *= size if size != -1 else 1
  if sizes.count(-1) == 1 and known > 0 and devices % known == 0:
    sizes[sizes.index(-1)] = devices // known
    known = devices
  if min(sizes) < 1 or known != devices:
    raise UserError(
      f'A mesh of data {data} x fsdp {fsdp} x tensor {tensor} does not use the'
      f' {devices} devices here. Set config.parallel so that their product is'
      f' {devices}; one of them may be -1, for the rest.'
    )
  return jax.make_mesh(
    tuple(sizes), AXES, axis_types=(AxisType.Auto,) * len(AXES)
  )


def state_shardings(tree: PyTree, mesh: Mesh) -> PyTree:
  """Returns a sharding for every array of `tree`, such as a train state.

  Optimizer tensors follow their parameters, since their paths end as theirs do.
  """

  def place(keys, array):
    name = path_of(keys)
    spec = next(
      spec for pattern, spec in PARAMETERS if re.search(pattern, name)
    )
    if len(spec) > array.ndim:  # A scalar or a factored moment.
      spec = P()
    spec = P(*[None] * (array.ndim - len(spec)), *spec)
    for size, axis in zip(array.shape, spec):
      if axis is not None and size % mesh.shape[axis]:
        raise UserError(
          f'{name} has shape {array.shape}, but its axis of {size} is to be'
          f' split over the {mesh.shape[axis]} devices of mesh axis {axis!r}.'
          ' Change that size in config.model (vocab_multiple pads a'
          ' vocabulary), or the mesh in config.parallel.'
        )
    return NamedSharding(mesh, spec)

  return jax.tree_util.tree_map_with_path(place, tree)


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """Each device of the first two axes gets its share of the rows."""
  return NamedSharding(mesh, P(ROWS))


def replicated(mesh: Mesh) -> NamedSharding:
  """Every device gets a copy."""
  return NamedSharding(mesh, P())


def check_batch(
  batch_size: int, microbatches: int, mesh: Mesh, key: str = 'batch_size'
) -> None:
  """Raises UserError unless a batch, which `key` sets, divides evenly."""
  if microbatches < 1:
    raise UserError(
      f'microbatches is {microbatches}, but it is the parts of a batch. Set'
      ' config.microbatches to 1 or more.'
    )
  shares = mesh.shape['data'] * mesh.shape['fsdp'] * microbatches
  if batch_size < 1 or batch_size % shares:
    raise UserError(
      f'A batch of {batch_size} does not divide into {microbatches}'
      f' microbatches for {shares // microbatches} devices. Set'
      f' config.{key} to a multiple of {shares}.'
    )


def on_mesh(shapes: PyTree, mesh: Mesh) -> PyTree:
  """Returns abstract arrays that say where each of them is to live."""
  return jax.tree.map(
    lambda array, sharding: jax.ShapeDtypeStruct(
      array.shape, array.dtype, sharding=sharding
    ),
    shapes,
    state_shardings(shapes, mesh),
  )


def compile_step(step: Callable, state: PyTree, mesh: Mesh) -> Callable:
  """Returns a train step over `mesh` that takes the place of its state."""
  shardings = jax.tree.map(lambda array: array.sharding, state)
  return jax.jit(
    step, out_shardings=(shardings, replicated(mesh)), donate_argnums=0
  )


def rows_of_this_process(batch_size: int) -> Int[np.ndarray, 'B']:
  """Returns which rows of a global batch this process makes."""
  shares = np.split(np.arange(batch_size), jax.process_count())
  return shares[jax.process_index()]


def to_devices(batch: PyTree, mesh: Mesh) -> PyTree:
  """Returns the global batch of which this process has its own rows."""
  sharding = batch_sharding(mesh)
  put = jax.make_array_from_process_local_data
  return jax.tree.map(lambda rows: put(sharding, rows), batch)


def enter(state: PyTree, mesh: Mesh) -> PyTree:
  """Returns the state as the step takes it: as it is."""
  del mesh
  return state


def leave(state: PyTree, mesh: Mesh) -> PyTree:
  """Returns the state as checkpoints and evaluation take it: as it is."""
  del mesh
  return state


@contextlib.contextmanager
def placing(mesh: Mesh) -> Iterator[None]:
  """The context in which models place their activations on `mesh`."""
  with jax.set_mesh(mesh), nn.logical_axis_rules(ACTIVATIONS):
    yield
