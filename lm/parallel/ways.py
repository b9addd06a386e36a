"""The ways to run a step on many devices, by config name."""

import types
from typing import NamedTuple

from jax.sharding import Mesh

from lm.parallel import mesh as meshes, pmap
from lm.types import UserError


class Way(NamedTuple):
  """How a run uses its devices.

  Attributes:
    mesh: All devices, as checkpoints and evaluation see them.
    run: The module whose `compile_step`, `to_devices`, `enter`, `leave` and
      `placing` the training loop calls.
    axis_name: What the step sums over itself; None leaves it to the compiler.
  """

  mesh: Mesh
  run: types.ModuleType
  axis_name: str | None = None


def on_mesh(
  data: int = -1, fsdp: int = 1, tensor: int = 1, sequence: int = 1
) -> Way:
  """Returns the way that shards arrays over a mesh; see `make_mesh`."""
  return Way(meshes.make_mesh(data, fsdp, tensor, sequence), meshes)


def replicated() -> Way:
  """Returns the way that replicates the state on each device."""
  return Way(meshes.make_mesh(), pmap, pmap.AXIS)


KINDS = {'mesh': on_mesh, 'pmap': replicated}


def build(kind: str, **settings: int) -> Way:
  """Returns the way that a config's `parallel` section specifies."""
  if kind not in KINDS:
    raise UserError(
      f'There is no way {kind!r} to be parallel. Set config.parallel.kind to'
      f' one of {", ".join(KINDS)}.'
    )
  return KINDS[kind](**settings)
