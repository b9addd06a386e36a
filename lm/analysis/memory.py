"""How much memory a device has and has used, and which of them a step fits."""

import pathlib
import re
import resource
import sys

import jax

# Bytes of one device, from the vendors' data sheets; of TPU v2 and v3 a device
# is one of a chip's two cores.
MEMORY = {
  'RTX 4090': 24e9,
  'L4': 24e9,
  'A10G': 24e9,
  'V100 32GB': 32e9,
  'L40S': 48e9,
  'A100 40GB': 40e9,
  'A100 80GB': 80e9,
  'H100': 80e9,
  'H200': 141e9,
  'B200': 180e9,
  'TPU v2': 8 * 2**30,
  'TPU v3': 16 * 2**30,
  'TPU v4': 32 * 2**30,
  'TPU v5e': 16 * 2**30,
  'TPU v5p': 95 * 2**30,
  'TPU v6e': 32 * 2**30,
}

# What a step may have of it: the rest goes to the runtime, its libraries and
# the room between buffers.
SHARE = 0.9


def peak() -> int:
  """Returns the most bytes that were in use at once, on the fullest device here.

  Of a device that does not count them, as a CPU, it is the most that this
  process had in memory, its compiler included.
  """
  counted = [device.memory_stats() or {} for device in jax.local_devices()]
  used = [each.get('peak_bytes_in_use', 0) for each in counted]
  if max(used):
    return max(used)
  status = pathlib.Path('/proc/self/status')
  if (
    status.exists()
  ):  # getrusage would count what this process was forked from.
    return 1024 * int(re.search(r'VmHWM:\s+(\d+) kB', status.read_text())[1])
  unit = 1 if sys.platform == 'darwin' else 1024  # getrusage(2) on each.
  return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def fits(size: int) -> dict[str, bool]:
  """Returns by the kind of a device whether `size` bytes fit into it."""
  return {kind: size <= SHARE * memory for kind, memory in MEMORY.items()}
