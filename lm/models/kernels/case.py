"""The properties of an attention call that decide which kernels fit."""

import re
from typing import NamedTuple

import jax

from lm.models.masks import Mask


class Case(NamedTuple):
  """What is known about an attention call before it is compiled.

  Attributes:
    mask: The mask; kernels check which of its conditions are present.
    num_queries: Queries per row.
    num_keys: Keys per row.
    head_dim: Features per head.
    dtype: Dtype of queries, keys and values.
    biased: Whether a bias by distance is added to the scores.
    drops: Whether dropout applies to the attention weights.
    cached: Whether the keys are those of a cache, for decoding.
    divided: Whether the queries of a row are sharded over devices.
    platform: Platform of the devices: 'cpu', 'gpu' or 'tpu'.
    capability: Of an NVIDIA GPU: (8, 0) is Ampere, (9, 0) Hopper; else None.
  """

  mask: Mask
  num_queries: int
  num_keys: int
  head_dim: int
  dtype: str
  biased: bool = False
  drops: bool = False
  cached: bool = False
  divided: bool = False
  platform: str = 'cpu'
  capability: tuple[int, int] | None = None


def capability() -> tuple[int, int] | None:
  """Returns the compute capability of the NVIDIA GPU, or None without one."""
  stated = getattr(jax.local_devices()[0], 'compute_capability', '')
  found = re.fullmatch(r'(\d+)\.(\d+)', str(stated))
  return found and (int(found[1]), int(found[2]))
