"""How well a model does on a whole set of examples."""

import collections
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np

from lm.training.step import Metrics
from lm.types import Batch, PyTree


def means(sums: Mapping[str, tuple[Any, Any]]) -> dict[str, float]:
  """Returns each sum over its weight, divided in float64 on the host."""
  host = jax.device_get(sums)
  return {
    name: float(total) / float(weight) if weight else float('nan')
    for name, (total, weight) in host.items()
  }


def evaluate(
  eval_step: Callable[[PyTree, Batch], Metrics],
  params: PyTree,
  batches: Iterable[Batch],
) -> dict[str, float]:
  """Returns the means over all batches; filler in the last weighs nothing.

  Sums leave the device once a batch and are added in float64 on the host, so a
  large set loses nothing to rounding.
  """
  totals = collections.defaultdict(lambda: np.zeros(2))

  def add(sums):
    for name, pair in jax.device_get(sums).items():
      totals[name] += np.array(pair, np.float64)

  pending: Metrics = {}
  for batch in batches:
    following = eval_step(params, batch)
    add(pending)  # While the device works on the next.
    pending = following
  add(pending)
  return means({name: tuple(pair) for name, pair in totals.items()})
