"""The peak memory of this process, and the devices that a step fits into."""

import pathlib
import re
import resource
import sys

import jax

# Bytes of one device, from the vendors' data sheets; for TPU v2 and v3, a
# device is one of a chip's two cores.
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

# The share of a device's memory that a step may use: the rest goes to the
# runtime, its libraries and fragmentation.
SHARE = 0.9


def peak() -> int:
  """Returns the peak bytes in use, on the fullest local device.

  For a device that does not count them, such as a CPU, it is the peak memory of
  this process, compiler included.
  """
  counted = [device.memory_stats() or {} for device in jax.local_devices()]
  used = [each.get('peak_bytes_in_use', 0) for each in counted]
  if max(used):
    return max(used)
  status = pathlib.Path('/proc/self/status')
  # getrusage would include the process that this one was forked from.
  if status.exists():
    return 1024 * int(re.search(r'VmHWM:\s+(\d+) kB', status.read_text())[1])
  unit = 1 if sys.platform == 'darwin' else 1024  # getrusage(2) on each.
  return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def fits(size: int) -> dict[str, bool]:
  """Returns whether `size` bytes fit, by kind of device."""
  return {kind: size <= SHARE * memory for kind, memory in MEMORY.items()}
