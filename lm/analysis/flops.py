"""How much arithmetic training takes, and how much of a device's peak that is.

The convention is that of PaLM (Chowdhery et al. 2022, appendix B): what the
model needs, so neither recomputed activations nor a skipped half of a causal
mask change it.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from lm.types import PyTree, path_of

# Dense bfloat16 FLOP/s of one `device.device_kind`, from the vendors' data
# sheets; of TPU v2 and v3 a device is one of a chip's two cores. The first
# whose words are in the kind decides.
PEAKS = (
  ('TPU v2', 22.5e12),
  ('TPU v3', 61.5e12),
  ('TPU v4', 275e12),
  ('TPU v5 lite', 197e12),
  ('TPU v5e', 197e12),
  ('TPU v5', 459e12),
  ('TPU v5p', 459e12),
  ('TPU v6 lite', 918e12),
  ('TPU v6e', 918e12),
  ('A100', 312e12),
  ('A10G', 70e12),
  ('L4', 121e12),
  ('L40S', 362e12),
  ('RTX 4090', 165.2e12),
  ('H100 PCIe', 756e12),
  ('H100 NVL', 835e12),
  ('H100', 989e12),
  ('H200 NVL', 835e12),
  ('H200', 989e12),
  ('GH200', 989e12),
  ('B200', 2250e12),
)


# Which tokens are multiplied by a parameter: those of the row, the source or
# the answers asked for; once a text; or none, since it is looked up. The first
# pattern found in its path decides.
SEEN_BY = (
  (r'cross/(key|value)/', 'source'),
  (r'^(decoder/|generator)', 'row'),
  (r'^encoder/', 'source or row'),
  (r'^(transform|output_bias)', 'answers'),
  (r'^(token|output)/embedding$', 'answers'),
  (r'^(pooler|label|next_sentence)/', 'text'),
  (r'^(tags|start|end|replaced)', 'row'),
  (r'', 'none'),
)


class Lengths(NamedTuple):
  """How many tokens of each kind an example has.

  Attributes:
    row: Those that the model answers for.
    answers: Positions at which the vocabulary is scored.
    source: Those that a decoder reads; 0: there is no source.
  """

  row: int
  answers: int
  source: int = 0


def lengths_of(inputs: Mapping[str, Any]) -> Lengths:
  """Returns the lengths of an example with these inputs, `[B, ...]` each."""
  length = lambda name: inputs[name].shape[1] if name in inputs else 0
  return Lengths(
    length('tokens'),
    length('predict_at') or length('tokens'),
    length('source_tokens'),
  )


def training_flops(params: PyTree, lengths: Lengths) -> float:
  """Returns the FLOPs, forward and backward, of one example.

  A multiplication and an addition by each parameter for each token that it
  sees, once forward and twice backward; and of scores and values in each
  attention the same over all positions.

  Args:
    params: Arrays, or their shapes alone, layers stacked.
    lengths: Of the example.
  """
  row, answers, source = lengths
  tokens = {
    'row': row,
    'source': source,
    'source or row': source or row,
    'answers': answers,
    'text': 1,
    'none': 0,
  }
  leaves, _ = jax.tree_util.tree_flatten_with_path(params)
  arrays = {path_of(path): array for path, array in leaves}
  if 'output/embedding' in arrays:  # Then the other table is looked up only.
    del arrays['token/embedding']
  total = 0.0
  for path, array in arrays.items():
    seen = next(by for pattern, by in SEEN_BY if re.search(pattern, path))
    total += 6.0 * math.prod(array.shape) * tokens[seen]
    if path.endswith('query/kernel'):  # N D H K
      layers, _, heads, width = array.shape
      queries = row if path.startswith('decoder') else source or row
      keys = source if 'cross' in path else queries
      total += 12.0 * layers * heads * width * queries * keys
  return total


def peak_flops(device_kind: str) -> float | None:
  """Returns the FLOP/s that a device could do, None if it is not known."""
  for name, peak in PEAKS:
    if re.search(rf'\b{name}\b', device_kind):
      return peak
  return None


def peak_tokens_per_second(
  flops_per_token: float, device_kind: str, num_devices: int
) -> float | None:
  """Returns the throughput at which utilization is 1, None if not known."""
  peak = peak_flops(device_kind)
  return None if peak is None else peak * num_devices / flops_per_token


def model_flops_utilization(
  tokens_per_second: float,
  flops_per_token: float,
  device_kind: str,
  num_devices: int,
) -> float | None:
  """Returns which share of the devices' peak is used, None if not known."""
  peak = peak_tokens_per_second(flops_per_token, device_kind, num_devices)
  return None if peak is None else tokens_per_second / peak
