"""What a kernel is asked to compute, as far as its conditions go."""

import re
from typing import NamedTuple

import jax

from lm.models.masks import Mask


class Case(NamedTuple):
  """What is known of an attention before it is compiled.

  Attributes:
    mask: What may be seen; a kernel asks which of its conditions are there.
    num_queries: Of a row.
    num_keys: Of a row.
    head_dim: Features of a head.
    dtype: Of queries, keys and values.
    biased: Whether the scores have a bias by distance.
    drops: Whether weights are dropped out.
    cached: Whether the keys are those of a cache, for decoding.
    divided: Whether each device has a part of a row's queries only.
    platform: Of the devices: 'cpu', 'gpu' or 'tpu'.
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
  """Returns the compute capability of an NVIDIA GPU; None: there is none."""
  stated = getattr(jax.local_devices()[0], 'compute_capability', '')
  found = re.fullmatch(r'(\d+)\.(\d+)', str(stated))
  return found and (int(found[1]), int(found[2]))
