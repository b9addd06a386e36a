"""Means over a set: sums over its batches, divided by their weights."""

import collections
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np


def of(sums: Mapping[str, tuple[Any, Any]]) -> dict[str, float]:
  """Returns each sum over its weight, divided in float64 on the host."""
  host = jax.device_get(sums)
  return {
    name: float(total) / float(weight) if weight else float('nan')
    for name, (total, weight) in host.items()
  }


def over(batches: Iterable[Mapping[str, tuple[Any, Any]]]) -> dict[str, float]:
  """Returns the means over all batches, given the sums of each.

  Sums leave the device once per batch, while it works on the next one, and are
  added in float64 on the host, so a large set loses nothing to rounding. Filler
  in the last batch has weight 0.
  """
  totals = collections.defaultdict(lambda: np.zeros(2))

  def add(sums):
    for name, pair in jax.device_get(sums).items():
      totals[name] += np.array(pair, np.float64)

  pending: Mapping[str, tuple[Any, Any]] = {}
  for following in batches:
    add(pending)
    pending = following
  add(pending)
  return of({name: tuple(pair) for name, pair in totals.items()})
