"""The FLOPs of training, and model FLOPs utilization.

The convention is that of PaLM (Chowdhery et al. 2022, appendix B): the FLOPs
that the model needs, so neither recomputing activations nor skipping half of a
causal mask changes them.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from lm.types import PyTree, path_of

# Dense bfloat16 FLOP/s of one `device.device_kind`, from the vendors' data
# sheets; for TPU v2 and v3, a device is one of a chip's two cores. The first
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


# The tokens that a parameter is multiplied with: those of the row, of the
# source or at predicted positions; one per text; or none, for a lookup. The
# first pattern found in its path decides.
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
  """The number of tokens of each kind in an example.

  Attributes:
    row: The tokens of the model's row, its decoder's if there is a source.
    answers: Positions at which the vocabulary is scored.
    source: The tokens of the source; 0 means there is none.
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

  Each parameter takes a multiplication and an addition per token that it is
  applied to, once forward and twice backward; so do the scores and values of
  each attention, over all positions.

  Args:
    params: Arrays, or just their shapes, with layers stacked.
    lengths: The lengths of the example.
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
  if 'output/embedding' in arrays:  # Then the other table is only looked up.
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
  """Returns the peak FLOP/s of a device, None if not known."""
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
  """Returns the share of the devices' peak that is used, None if not known."""
  peak = peak_tokens_per_second(flops_per_token, device_kind, num_devices)
  return None if peak is None else tokens_per_second / peak
