"""FLOPs and peaks are those of the papers and the data sheets."""

import jax
import jax.numpy as jnp
import pytest

from lm.analysis import flops


@pytest.mark.parametrize(
  'num_params, num_layers, length, width, expected',
  [
    # PaLM 540B: 118 layers, 48 heads of 256.
    (540_350_000_000, 118, 2048, 12_288, 3.277735e12),
    # GPT-2 124M, less its table of positions.
    (123_653_376, 12, 1024, 768, 855_166_464.0),
  ],
)
def test_a_token_costs_what_the_palm_paper_says(
  num_params, num_layers, length, width, expected
):
  actual = flops.training_flops_per_token(num_params, num_layers, length, width)
  assert actual == pytest.approx(expected, rel=1e-6)


def test_palm_540b_used_46_percent_of_its_tpus():
  # Its table 3: 238.3k tokens/s on 6144 chips of TPU v4 are 46.2%.
  cost = flops.training_flops_per_token(540_350_000_000, 118, 2048, 12_288)
  used = flops.model_flops_utilization(238_300.0, cost, 'TPU v4', 6144)
  assert used == pytest.approx(0.462, abs=5e-4)


def test_the_compiler_counts_as_much():
  batch, length, width, hidden = 2, 64, 128, 512

  def layer(params, x):
    query, key, value = (x @ params[name] for name in ('q', 'k', 'v'))
    scores = jnp.einsum('BQD,BTD->BQT', query, key)
    read = jnp.einsum('BQT,BTD->BQD', scores, value) @ params['out']
    return jnp.sum((read @ params['up'] @ params['down']) ** 2)

  shapes = dict.fromkeys(('q', 'k', 'v', 'out'), (width, width))
  shapes |= {'up': (width, hidden), 'down': (hidden, width)}
  params = {name: jnp.ones(shape) for name, shape in shapes.items()}
  x = jnp.ones((batch, length, width))
  step = jax.jit(jax.grad(layer, argnums=(0, 1)))
  counted = step.lower(params, x).compile().cost_analysis()['flops']
  num_params = sum(array.size for array in params.values())
  stated = flops.training_flops_per_token(num_params, 1, length, width)
  assert counted / (batch * length) == pytest.approx(stated, rel=0.01)


@pytest.mark.parametrize(
  'device_kind, expected',
  [
    ('TPU v2', 22.5e12),
    ('TPU v3', 61.5e12),
    ('TPU v4', 275e12),
    ('TPU v5 lite', 197e12),
    ('TPU v5', 459e12),
    ('TPU v5p', 459e12),
    ('TPU v6 lite', 918e12),
    ('TPU v6e', 918e12),
    ('NVIDIA A100-SXM4-40GB', 312e12),
    ('NVIDIA A100 80GB PCIe', 312e12),
    ('NVIDIA A10G', 70e12),
    ('NVIDIA L4', 121e12),
    ('NVIDIA L40S', 362e12),
    ('NVIDIA H100 80GB HBM3', 989e12),
    ('NVIDIA H100 PCIe', 756e12),
    ('NVIDIA H200', 989e12),
    ('NVIDIA GH200 480GB', 989e12),
    ('NVIDIA B200', 2250e12),
    ('NVIDIA L40', None),
    ('cpu', None),
    ('', None),
  ],
)
def test_peaks_are_those_of_the_data_sheets(device_kind, expected):
  assert flops.peak_flops(device_kind) == expected


def test_utilization_is_the_share_of_the_peak():
  peak = flops.peak_tokens_per_second(1e9, 'NVIDIA A100-SXM4-40GB', 8)
  assert peak == pytest.approx(2_496_000.0)
  used = flops.model_flops_utilization(
    1_248_000.0, 1e9, 'NVIDIA A100-SXM4-40GB', 8
  )
  assert used == pytest.approx(0.5)
  assert flops.model_flops_utilization(1.0, 1e9, 'cpu', 1) is None
