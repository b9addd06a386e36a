"""Simulated devices: the compiler plans for them, but nothing runs."""

import math
from collections.abc import Mapping
from typing import Any

import jax
from jax.extend import backend

from lm.parallel import ways
from lm.types import UserError

# The CPU compiler would hoist float32 copies of the layers' bfloat16 arrays out
# of the loop over layers. The code never runs, so it may be slow.
OPTIONS = {
  'xla_disable_hlo_passes': 'while-loop-invariant-code-motion',
  'xla_backend_optimization_level': 0,
  'xla_llvm_disable_expensive_passes': True,
}


def provide(section: Mapping[str, Any], count: int = 0) -> None:
  """Makes JAX see as many devices as a run will have, simulated on the CPU.

  Arrays that are already on devices are lost, so call it first.

  Args:
    section: The `parallel` section of a config.
    count: Number of devices; 0 keeps those present if they form the section's
      mesh, and else simulates the product of its sizes.
  """
  if not count:
    try:
      ways.build(**section)
      return
    except UserError:
      sizes = [size for key, size in section.items() if key != 'kind']
      if any(size < 1 and size != -1 for size in sizes):
        raise
      count = math.prod(size for size in sizes if size != -1)
  backend.clear_backends()
  jax.config.update('jax_platforms', 'cpu')
  jax.config.update('jax_num_cpu_devices', count)
