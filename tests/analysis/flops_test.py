"""FLOPs and peaks are those of the papers and the data sheets."""

import jax
import jax.numpy as jnp
import pytest

from lm import models
from lm.analysis import flops


def shapes_of(name, preset, inputs, **changes):
  model = models.build(name, preset, **changes)
  inputs = {key: jnp.zeros((2, n), jnp.int32) for key, n in inputs.items()}
  params = jax.eval_shape(model.init, jax.random.key(0), **inputs)['params']
  return model, inputs, params


def test_a_token_costs_what_the_palm_paper_says():
  # GPT-2 124M less its positions: 6 N + 12 L H Q T (appendix B).
  _, inputs, params = shapes_of('gpt', 'gpt2', {'tokens': 1024})
  cost = flops.training_flops(params, flops.lengths_of(inputs))
  assert cost / 1024 == pytest.approx(855_166_464.0, rel=1e-6)


def test_palm_540b_used_46_percent_of_its_tpus():
  # Its table 3: 238.3k tokens/s on 6144 chips of TPU v4 are 46.2%.
  cost = 6.0 * 540_350_000_000 + 12.0 * 118 * 12_288 * 2048
  used = flops.model_flops_utilization(238_300.0, cost, 'TPU v4', 6144)
  assert used == pytest.approx(0.462, abs=5e-4)


SIZES = {
  'vocab_size': 512,
  'num_layers': 2,
  'num_heads': 2,
  'head_dim': 64,
  'embed_dim': 128,
  'mlp_dim': 512,
  'unroll': 2,
}


@pytest.mark.parametrize(
  'name, preset, inputs',
  [
    ('gpt', 'gpt2', {'tokens': 64}),
    ('bert', 'base', {'tokens': 64, 'predict_at': 10}),
    ('roberta', 'base', {'tokens': 64}),
    ('t5', 'small', {'source_tokens': 64, 'tokens': 32}),
    ('t5', 'v1.1-small', {'source_tokens': 64, 'tokens': 32}),
    ('transformer', 'base', {'source_tokens': 48, 'tokens': 64}),
  ],
)
def test_the_compiler_counts_as_much(name, preset, inputs):
  model, inputs, params = shapes_of(name, preset, inputs, **SIZES)

  def loss(params, inputs):
    answers = model.apply({'params': params}, **inputs, method='answer')
    return jnp.sum(answers['tokens'].logits() ** 2)

  step = jax.jit(jax.grad(loss)).lower(params, inputs)
  counted = step.compile().cost_analysis()['flops'] / 2
  stated = flops.training_flops(params, flops.lengths_of(inputs))
  assert counted == pytest.approx(stated, rel=0.05)


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
