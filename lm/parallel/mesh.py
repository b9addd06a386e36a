"""The device mesh, and how each array is sharded over it."""

import contextlib
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
import numpy as np
from flax import linen as nn
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P
from jaxtyping import Int

from lm.types import PyTree, UserError, path_of

AXES = ('data', 'fsdp', 'tensor', 'sequence')
ROWS = ('data', 'fsdp')  # The axes that a batch is split over.

# The first pattern found in a parameter's path applies. A spec is aligned to
# the trailing axes, so stacked layers need no rules of their own.
PARAMETERS = (
  (r'(token|output)/embedding$', P('tensor', 'fsdp')),  # V D
  (r'(query|key|value)/kernel$', P('fsdp', 'tensor', None)),  # D H K
  (r'(query|key|value)/bias$', P('tensor', None)),  # H K
  (r'out/kernel$', P('tensor', None, 'fsdp')),  # H K D
  (r'(up|gate)/kernel$', P('fsdp', 'tensor')),  # D F
  (r'(up|gate)/bias$', P('tensor')),  # F
  (r'down/kernel$', P('tensor', 'fsdp')),  # F D
  (r'', P()),  # The rest is small: replicated.
)

# The mesh axes of an activation's axes, by letter. Every query reads all keys,
# so T is not sharded.
ACTIVATIONS = (
  ('B', ROWS),
  ('L', 'sequence'),
  ('T', None),
  ('D', None),
  ('H', 'tensor'),
  ('K', None),
  ('F', 'tensor'),
  ('V', 'tensor'),
)


def make_mesh(
  data: int = -1, fsdp: int = 1, tensor: int = 1, sequence: int = 1
) -> Mesh:
  """Returns all devices as a mesh of these sizes.

  Args:
    data: Replicas of the parameters; each sees its share of the batch. -1
      stands for all devices left over by the other axes.
    fsdp: Parts that each parameter is split into; also splits the batch.
    tensor: Parts that heads and hidden units are split into.
    sequence: Parts that rows too long for one device are split into.
  """
  sizes, devices = [data, fsdp, tensor, sequence], jax.device_count()
  known = math.prod(size for size in sizes if size != -1)
  if sizes.count(-1) == 1 and known > 0 and devices % known == 0:
    sizes[sizes.index(-1)] = devices // known
    known = devices
  if min(sizes) < 1 or known != devices:
    raise UserError(
      f'A mesh of data {data} x fsdp {fsdp} x tensor {tensor} x sequence'
      f' {sequence} does not use the {devices} devices here. Set'
      f' config.parallel so that their product is {devices}; one of them may be'
      ' -1, for the rest.'
    )
  mesh = jax.make_mesh(
    tuple(sizes), AXES, axis_types=(AxisType.Auto,) * len(AXES)
  )
  for together in mesh.devices.reshape(sizes[0] * sizes[1], -1):
    processes = {device.process_index for device in together}
    if len(processes) > 1:
      raise UserError(
        f'The {len(together)} devices of config.parallel.tensor {tensor} x'
        f' sequence {sequence} read the same rows, but are of'
        f' {len(processes)} processes, each of which reads its own. Set them'
        ' so that their product divides the devices of a process.'
      )
  return mesh


def state_shardings(tree: PyTree, mesh: Mesh) -> PyTree:
  """Returns a sharding for every array of `tree`, such as a train state.

  Optimizer tensors follow their parameters, since their paths end the same way.
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


def batch_sharding(shape: Sequence[int], mesh: Mesh) -> NamedSharding:
  """Returns the sharding of a batch array: `[B]`, `[B, L]` or `[B, P]`.

  Rows are split over the first two axes. Predicted positions, of which there
  are few, are replicated over `sequence` if they do not divide evenly.
  """
  splits = len(shape) > 1 and shape[1] % mesh.shape['sequence'] == 0
  return NamedSharding(mesh, P(ROWS, 'sequence') if splits else P(ROWS))


def replicated(mesh: Mesh) -> NamedSharding:
  """Returns the sharding that gives every device a copy."""
  return NamedSharding(mesh, P())


def check_batch(
  batch_size: int,
  microbatches: int,
  sizes: Mapping[str, int],
  key: str = 'batch_size',
) -> None:
  """Raises UserError unless a batch divides evenly.

  Args:
    batch_size: Its rows.
    microbatches: Into how many parts they are divided, one after another.
    sizes: Those of the axes of the mesh, by name.
    key: The field of the config that sets `batch_size`.
  """
  if microbatches < 1:
    raise UserError(
      f'microbatches is {microbatches}, but it is the parts of a batch. Set'
      ' config.microbatches to 1 or more.'
    )
  devices = sizes['data'] * sizes['fsdp']
  shares = devices * microbatches
  if batch_size > 0 and batch_size % shares == 0:
    return
  message = (
    f'A batch of {batch_size} rows cannot be split evenly over {devices} devices'
    f' in {microbatches} microbatches. Set config.{key} to a multiple of {shares}'
  )
  rows, rest = divmod(max(batch_size, 0), devices)
  if microbatches > 1 and rows and not rest:
    fitting = (str(n) for n in range(1, rows + 1) if rows % n == 0)
    message += f', or config.microbatches to one of {", ".join(fitting)}'
  raise UserError(f'{message}.')


def check_length(lengths: Mapping[str, int], mesh: Mesh) -> None:
  """Raises UserError unless the rows of a batch divide evenly.

  Args:
    lengths: Tokens in a row of each input, by name.
    mesh: The mesh that they are sharded over.
  """
  parts = mesh.shape['sequence']
  for name, length in lengths.items():
    if length % parts:
      raise UserError(
        f'Rows of {length} {name} do not divide over the {parts} devices of'
        " mesh axis 'sequence'. Set config.data.length so that they do, or"
        ' config.parallel.sequence to 1.'
      )


def on_mesh(shapes: PyTree, mesh: Mesh) -> PyTree:
  """Returns an abstract state with the sharding of each array."""
  return _told(shapes, state_shardings(shapes, mesh))


def imagined(state: PyTree, batch: PyTree, mesh: Mesh) -> tuple[PyTree, PyTree]:
  """Returns the abstract arguments of a compiled step.

  Args:
    state: As returned by `on_mesh`.
    batch: The global batch.
    mesh: The mesh that they are sharded over.
  """
  place = lambda array: batch_sharding(array.shape, mesh)
  return state, _told(batch, jax.tree.map(place, batch))


def _told(shapes: PyTree, shardings: PyTree) -> PyTree:
  return jax.tree.map(
    lambda array, sharding: jax.ShapeDtypeStruct(
      array.shape, array.dtype, sharding=sharding
    ),
    shapes,
    shardings,
  )


def compile_step(step: Callable, state: PyTree, mesh: Mesh) -> Callable:
  """Returns a train step over `mesh` that donates its state."""
  shardings = jax.tree.map(lambda array: array.sharding, state)
  return jax.jit(
    step, out_shardings=(shardings, replicated(mesh)), donate_argnums=0
  )


def rows_of_this_process(batch_size: int) -> Int[np.ndarray, 'B']:
  """Returns the rows of a global batch that this process makes."""
  shares = np.split(np.arange(batch_size), jax.process_count())
  return shares[jax.process_index()]


def to_devices(batch: PyTree, mesh: Mesh) -> PyTree:
  """Returns the global batch, given the rows of this process."""
  put = jax.make_array_from_process_local_data
  return jax.tree.map(
    lambda rows: put(batch_sharding(rows.shape, mesh), rows), batch
  )


def enter(state: PyTree, mesh: Mesh) -> PyTree:
  """Returns the state as the step takes it: unchanged."""
  del mesh
  return state


def leave(state: PyTree, mesh: Mesh) -> PyTree:
  """Returns the state as checkpoints and evaluation take it: unchanged."""
  del mesh
  return state


@contextlib.contextmanager
def placing(mesh: Mesh) -> Iterator[None]:
  """Context in which models shard their activations over `mesh`."""
  with jax.set_mesh(mesh), nn.logical_axis_rules(ACTIVATIONS):
    yield


@contextlib.contextmanager
def apart(params: PyTree, mesh: Mesh) -> Iterator[PyTree]:
  """Context in which each process works with the parameters by itself.

  Yields the parameters: as they are if there is one process; otherwise as full
  copies on the first device of each process, which must have room for them.

  Args:
    params: Arrays of all processes, sharded over the mesh in any way.
    mesh: The device mesh.
  """
  if jax.process_count() == 1:
    with placing(mesh):
      yield params
    return
  device = jax.local_devices()[0]
  whole = multihost_utils.process_allgather(params, tiled=True)
  params = jax.device_put(whole, device)
  del whole
  shape, kinds = (1,) * len(AXES), (AxisType.Auto,) * len(AXES)
  own = jax.make_mesh(shape, AXES, axis_types=kinds, devices=[device])
  with placing(own):
    yield params
