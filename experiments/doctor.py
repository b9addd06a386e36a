"""Reports what a run would find on this machine, and what is missing.

  python -m experiments.doctor
  python -m experiments.doctor --expect=gpu

The last line is JSON. The exit status is 1 if an accelerator is expected, but
JAX does not see it.
"""

import importlib.metadata
import os
import pathlib
import platform
import re
import shutil
import sys
import time
from typing import Any, Literal

import jax
import jax.numpy as jnp
from absl import logging

from experiments import command
from lm.training import boards
from lm.types import UserError

PACKAGES = (
  'jax',
  'jaxlib',
  'flax',
  'optax',
  'orbax-checkpoint',
  'ml-collections',
  'grain',
  'tokenizers',
  'tensorflow-datasets',
  'numpy',
)
INSTALL = {'gpu': 'jax[cuda13]', 'tpu': 'jax[tpu]'}
PLATFORMS = {'cuda': 'gpu', 'rocm': 'gpu', 'gpu': 'gpu', 'tpu': 'tpu'}
GPUS = ('nvidia0', 'nvidiactl', 'dxg')  # Files of /dev; the last one is WSL's.
# The ids of TPUs on the PCI bus. Network cards have the same vendor.
GOOGLE = '0x1ae0'
TPUS = ('0x0027', '0x0056', '0x005e', '0x0062', '0x0063', '0x006f', '0x0076')
GIGABYTE = 1e9


def main(expect: Literal['auto', 'none', 'gpu', 'tpu'] = 'auto') -> int:
  """Prints what was found; returns 1 if an accelerator is missing.

  Args:
    expect: The accelerator that must be there: auto, none, gpu or tpu; auto is
      that of JAX_PLATFORMS, or else the one that the operating system shows.
  """
  if expect == 'auto':
    expect = expected(os.environ.get('JAX_PLATFORMS', ''), pathlib.Path('/'))
  devices = find_devices(expect)
  kinds = {PLATFORMS.get(device.platform, 'none') for device in devices}
  missing = None if expect in {'none', *kinds} else expect
  result = {
    'python': platform.python_version(),
    'versions': {name: importlib.metadata.version(name) for name in PACKAGES},
    'devices': [describe(device) for device in devices],
    'expected': expect,
    'missing': missing,
    'matmul_teraflops': matmul_teraflops(),
    'boards': {name: boards.state(name) for name in boards.BOARDS},
    'cpu_cores': os.cpu_count(),
    'free_memory_gigabytes': free_memory(pathlib.Path('/proc/meminfo')),
    'free_disk_gigabytes': round(shutil.disk_usage('.').free / GIGABYTE, 1),
  }
  for name, value in result.items():
    print(f'{name}: {value}')
  if missing:
    print(
      f'JAX sees no {missing.upper()}, but one is expected here. Run'
      f' pip install "{INSTALL[missing]}"; if it is installed, see whether the'
      " device's driver is (CUDA 13 needs 580 or newer, jax[cuda12] takes older"
      ' ones). To do without it, set JAX_PLATFORMS=cpu.',
      file=sys.stderr,
    )
  command.report(result)
  return 1 if missing else 0


def expected(platforms: str, root: pathlib.Path) -> str:
  """Returns gpu, tpu or none: the requested one, or else what is installed.

  Args:
    platforms: As in JAX_PLATFORMS: names separated by commas, or ''.
    root: The root of the file system.
  """
  if platforms:
    return PLATFORMS.get(platforms.split(',')[0], 'none')
  if any((root / 'dev' / name).exists() for name in GPUS):
    return 'gpu'
  for vendor in root.glob('sys/bus/pci/devices/*/vendor'):
    device = vendor.with_name('device').read_text().strip()
    if vendor.read_text().strip() == GOOGLE and device in TPUS:
      return 'tpu'
  return 'none'


def find_devices(expect: str) -> list[jax.Device]:
  """Returns the devices, or the CPU if the expected accelerator fails."""
  try:
    return jax.devices()
  except (AssertionError, RuntimeError) as error:  # Raised if JAX has none.
    if expect == 'none':
      raise UserError(
        f'JAX_PLATFORMS is {os.environ.get("JAX_PLATFORMS")!r}, but JAX has no'
        f' such devices. Unset it, or set it to cpu, cuda or tpu. {error}'
      ) from error
    logging.warning('JAX finds no %s: %s', expect, error)
    jax.config.update('jax_platforms', 'cpu')
    return jax.devices()


def describe(device: jax.Device) -> dict[str, Any]:
  """Returns a device's kind and, if available, its free memory."""
  memory = device.memory_stats() or {}
  free = memory.get('bytes_limit', 0) - memory.get('bytes_in_use', 0)
  return {
    'platform': device.platform,
    'kind': device.device_kind,
    'free_memory_gigabytes': round(free / GIGABYTE, 1) if memory else None,
  }


def matmul_teraflops() -> float:
  """Returns the speed of a matrix product on the first device, best of 5."""
  on_cpu = jax.devices()[0].platform == 'cpu'
  size, dtype = (2048, jnp.float32) if on_cpu else (8192, jnp.bfloat16)
  x = jnp.ones((size, size), dtype)
  multiply = jax.jit(jnp.matmul)
  multiply(x, x).block_until_ready()  # Compiles.
  seconds = []
  for _ in range(5):
    start = time.perf_counter()
    multiply(x, x).block_until_ready()
    seconds.append(time.perf_counter() - start)
  return round(2 * size**3 / min(seconds) / 1e12, 3)


def free_memory(meminfo: pathlib.Path) -> float | None:
  """Returns the host's free memory in gigabytes; None if not on Linux."""
  if not meminfo.exists():
    return None
  kilobytes = re.search(r'MemAvailable:\s+(\d+) kB', meminfo.read_text())[1]
  return round(int(kilobytes) * 1024 / GIGABYTE, 1)


if __name__ == '__main__':
  command.run(main)
