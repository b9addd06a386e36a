"""How much arithmetic training takes, and how much of a device's peak that is.

The convention is that of PaLM (Chowdhery et al. 2022, appendix B): what the
model needs, so neither recomputed activations nor a skipped half of a causal
mask change it.
"""

import re

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


def training_flops_per_token(
  num_params: int, num_layers: int, length: int, width: int
) -> float:
  """Returns the FLOPs, forward and backward, of one token.

  A multiplication and an addition by each parameter, once forward and twice
  backward; and of scores and values in each attention the same over all
  positions.

  Args:
    num_params: Those that a token is multiplied by. Tables of tokens and
      positions are looked up, and do not count; the vocabulary projection
      does, whether or not it is tied to a table.
    num_layers: Attentions that a token passes.
    length: Positions that each attention sees.
    width: Heads times head size.
  """
  return 6.0 * num_params + 12.0 * num_layers * length * width


def num_multiplied(params: PyTree) -> int:
  """Returns how many of a model's parameters each token is multiplied by.

  All but the table of positions: that of tokens is looked up on the way in, and
  multiplied by on the way out.
  """
  leaves, _ = jax.tree_util.tree_flatten_with_path(params)
  return sum(x.size for path, x in leaves if path_of(path) != 'position')


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
