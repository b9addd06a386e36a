"""Devices that are not here: a compiler plans for them, and nothing runs."""

import math
from collections.abc import Mapping
from typing import Any

import jax
from jax.extend import backend

from lm.parallel import ways
from lm.types import UserError

# A CPU's compiler would make float32 copies, outside of the loop over layers,
# of all that the layers keep in bfloat16. No code is run, so it may be slow.
OPTIONS = {
  'xla_disable_hlo_passes': 'while-loop-invariant-code-motion',
  'xla_backend_optimization_level': 0,
  'xla_llvm_disable_expensive_passes': True,
}


def provide(section: Mapping[str, Any], count: int = 0) -> None:
  """Makes JAX see as many devices as there are to be, all of a CPU.

  What was on the devices before is lost, so it comes first.

  Args:
    section: A config's `parallel`.
    count: How many; 0: if those that are here do not make its mesh, as many as
      its sizes multiply to.
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
