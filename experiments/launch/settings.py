"""What a platform's processes need in their environment, and why.

A setting is here if something fails or is wasted without it; --env=KEY=VALUE
has precedence. What depends on a job, such as the address at which its
processes meet, is in the file of the platform.
"""

from typing import NamedTuple


class Setting(NamedTuple):
  """A variable.

  Attributes:
    on: The nodes that have it: a kind (`cpu`, `gpu`, `tpu`), or a platform's
      kind (`gke/gpu`).
    name: Of the variable.
    value: Of it; `{devices}` is how many a host has, `{indices}` 0,1,... of
      them.
    reason: Why.
  """

  on: tuple[str, ...]
  name: str
  value: str
  reason: str


SETTINGS = (
  Setting(
    ('slurm/cpu',),
    'JAX_PLATFORMS',
    'cpu',
    'On a node without GPUs, CUDA wheels complain that there is no driver.',
  ),
  Setting(
    ('cpu', 'local/any'),
    'JAX_NUM_CPU_DEVICES',
    '{devices}',
    'To JAX all cores are one device by default. Where there are GPUs this'
    ' changes nothing.',
  ),
  Setting(
    ('gpu',),
    'XLA_PYTHON_CLIENT_MEM_FRACTION',
    '0.9',
    'JAX allocates 75% of a GPU by default, and the rest is wasted unless others'
    ' share it. `--dry_run` assumes 90%, which leaves room for NCCL.',
  ),
  Setting(
    ('gpu',),
    'NCCL_DEBUG',
    'WARN',
    'By default NCCL fails with "unhandled system error"; this says which one.',
  ),
  Setting(
    ('slurm/gpu', 'gke/gpu'),
    'JAX_LOCAL_DEVICE_IDS',
    '{indices}',
    'Under SLURM, JAX assumes one process per GPU; here there is one per host. On'
    ' Kubernetes it would ask the cluster, which needs a package and a'
    ' permission.',
  ),
  Setting(
    ('gke/gpu',),
    'LD_LIBRARY_PATH',
    '/usr/local/nvidia/lib64',
    'GKE puts the driver there, where only images from NVIDIA look for it.',
  ),
)


def of(place: str, devices: int) -> dict[str, str]:
  """Returns the variables that nodes need.

  Args:
    place: A platform and a kind of nodes, as in `slurm/gpu`.
    devices: How many a host has; 0: not known, and what would tell is left out.
  """
  indices = ','.join(map(str, range(devices)))
  return {
    each.name: each.value.format(devices=devices, indices=indices)
    for each in SETTINGS
    if {place, place.rpartition('/')[2]} & {*each.on}
    and (devices or '{' not in each.value)
  }


def table() -> str:
  """Returns all of them as a table of Markdown."""
  rows = ['| on | variable | why |', '|---|---|---|']
  rows += [
    f'| {", ".join(each.on)} | `{each.name}={each.value}` | {each.reason} |'
    for each in SETTINGS
  ]
  return '\n'.join(rows)
