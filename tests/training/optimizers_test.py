"""Optimizers do what their papers say."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lm import models
from lm.parallel import mesh as meshes
from lm.training import optimizers
from lm.types import UserError, path_of
from tests.models import tiny


@pytest.mark.parametrize(
  'arguments, message',
  [
    ({'name': 'adam'}, 'config.optimizer.name to one of adamw'),
    ({'clip_norm': -1.0}, 'clip_norm is -1.0, .* config.optimizer.clip_norm'),
    ({'name': 'adafactor', 'decay_rate': -0.8}, 'config.optimizer.decay_rate'),
    ({'name': 'adafactor', 'decay_rate': 1.5}, 'config.optimizer.decay_rate'),
  ],
)
def test_what_is_no_optimizer_is_refused(arguments, message):
  settings = {'name': 'adamw', 'learning_rate': 0.6} | arguments
  with pytest.raises(UserError, match=message):
    optimizers.build(num_steps=8, **settings)


RNG = np.random.default_rng(0)
PARAMS = {
  'mlp': {'kernel': RNG.normal(size=(2, 3, 4)), 'bias': RNG.normal(size=(2, 4))}
}
GRADS = [
  {'mlp': {name: RNG.normal(size=x.shape) for name, x in PARAMS['mlp'].items()}}
  for _ in range(3)
]
ADAMW = {
  'learning_rate': 0.1,
  'schedule': 'linear',
  'warmup_steps': 1,
  'b1': 0.8,
  'b2': 0.9,
  'eps': 1e-3,
  'weight_decay': 0.5,
}
RATES = [0.05, 0.1, 0.1 * 3 / 4]  # Of 5 steps.


def as_float32(tree):
  return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), tree)


def three_steps(clip_norm):
  tx, _ = optimizers.build('adamw', 5, clip_norm=clip_norm, **ADAMW)
  params = as_float32(PARAMS)
  state = tx.init(params)
  update = tiny.quick_jit(tx.update)
  for grads in GRADS:
    updates, state = update(as_float32(grads), state, params)
    params = optax.apply_updates(params, updates)
  return params['mlp']


def norm(grads):
  return np.sqrt(sum((leaf**2).sum() for leaf in grads['mlp'].values()))


@pytest.mark.parametrize('clip_norm', [0.0, 5.0, 100.0])
def test_adamw_is_the_recurrence_of_its_paper(clip_norm):
  assert min(norm(grads) for grads in GRADS) > 5
  got = three_steps(clip_norm)
  for name, decay in [('kernel', 0.5), ('bias', 0.0)]:
    x, m, v = PARAMS['mlp'][name], 0.0, 0.0
    for step, (grads, rate) in enumerate(zip(GRADS, RATES), start=1):
      g = grads['mlp'][name]
      if clip_norm:
        g = g * min(1, clip_norm / norm(grads))
      m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g**2
      m_hat, v_hat = m / (1 - 0.8**step), v / (1 - 0.9**step)
      x = x - rate * (m_hat / (np.sqrt(v_hat) + 1e-3) + decay * x)
    np.testing.assert_allclose(got[name], x, rtol=1e-5)


@pytest.mark.peers
def test_adamw_is_that_of_torch():
  import torch

  params = {
    name: torch.nn.Parameter(torch.tensor(leaf, dtype=torch.float32))
    for name, leaf in PARAMS['mlp'].items()
  }
  groups = [
    {'params': [params['kernel']], 'weight_decay': 0.5},
    {'params': [params['bias']], 'weight_decay': 0.0},
  ]
  optimizer = torch.optim.AdamW(groups, betas=(0.8, 0.9), eps=1e-3)
  for grads, rate in zip(GRADS, RATES):
    for name, param in params.items():
      param.grad = torch.tensor(grads['mlp'][name], dtype=torch.float32)
    torch.nn.utils.clip_grad_norm_(params.values(), 5.0)
    for group in optimizer.param_groups:
      group['lr'] = rate
    optimizer.step()
  got = three_steps(clip_norm=5.0)
  for name, param in params.items():
    np.testing.assert_allclose(got[name], param.detach().numpy(), rtol=2e-5)


def in_three_steps(name, params, grads, rates, **settings):
  """Returns `params` after `build` took them along a line of rates."""
  tx, rate = optimizers.build(
    name, 5, schedule='linear', learning_rate=0.1, warmup_steps=1, **settings
  )
  np.testing.assert_allclose([rate(i) for i in range(3)], rates, rtol=1e-6)
  params = as_float32(params)
  state, update = tx.init(params), tiny.quick_jit(tx.update)
  for each in grads:
    updates, state = update(as_float32(each), state, params)
    params = optax.apply_updates(params, updates)
  return params


@pytest.mark.parametrize(
  'settings, b1, b2, eps',
  [
    ({}, 0.9, 0.999, 1e-6),  # As published.
    ({'b2': 0.98}, 0.9, 0.98, 1e-6),
    ({'b1': 0.5, 'eps': 0.1}, 0.5, 0.999, 0.1),
  ],
)
def test_adam_of_bert_corrects_nothing_and_decays_beside(settings, b1, b2, eps):
  got = in_three_steps(
    'bert_adam',
    PARAMS,
    GRADS,
    RATES,
    clip_norm=0.0,
    weight_decay=0.01,
    **settings,
  )
  for name, decay in [('kernel', 0.01), ('bias', 0.0)]:
    x, m, v = PARAMS['mlp'][name], 0.0, 0.0
    for grads, rate in zip(GRADS, RATES):
      g = grads['mlp'][name]
      m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
      x = x - rate * (m / (np.sqrt(v) + eps) + decay * x)
    np.testing.assert_allclose(got['mlp'][name], x, rtol=1e-5, atol=1e-6)


FIRST = {
  'tall/kernel': RNG.normal(size=(7, 4)),
  'square/kernel': RNG.normal(size=(5, 5)),
  'small/kernel': RNG.normal(size=(3, 9)),  # Too few rows to factor.
  'norm/scale': 1 + RNG.normal(size=6),
  'norm/bias': np.zeros(6),  # Counts as of 0.001.
}
# Sparse, as those of embeddings are; the second ones are far larger.
SECOND = [
  {
    name: size * RNG.normal(size=x.shape) * (RNG.random(x.shape) > 0.3)
    for name, x in FIRST.items()
  }
  for size in (1.0, 30.0, 0.1)
]


def rms(x):
  return np.sqrt(np.mean(x**2))


def adafactor_by_hand(x, grads, *, rows, threshold, scaled, momentum, power):
  """Algorithms 4 and 5 of Shazeer and Stern (2018), with sections 6 to 8."""
  v = r = c = mean = 0.0
  for t, (g, rate) in enumerate(zip(grads, RATES), start=1):
    old = 1 - t**-power
    square = g**2 + 1e-30
    if g.ndim == 2 and min(g.shape) >= rows:
      r = old * r + (1 - old) * square.sum(1)
      c = old * c + (1 - old) * square.sum(0)
      v = np.outer(r, c) / r.sum()
    else:
      v = old * v + (1 - old) * square
    u = g / np.sqrt(v)
    if threshold:
      u = u / max(1, rms(u) / threshold)
    if scaled:
      u = u * max(1e-3, rms(x))
    mean = momentum * mean + (1 - momentum) * u
    x = x - rate * mean
  return x


@pytest.mark.parametrize(
  'settings, expected',
  [
    ({}, {}),  # As T5: of these, none is large enough to factor.
    ({'min_dim_size_to_factor': 4}, {'rows': 4}),
    ({'min_dim_size_to_factor': 1}, {'rows': 1}),
    ({'clipping_threshold': 0.0}, {'threshold': 0}),
    ({'clipping_threshold': 0.5}, {'threshold': 0.5}),
    ({'multiply_by_parameter_scale': False}, {'scaled': False}),
    ({'momentum': 0.9}, {'momentum': 0.9}),
    ({'decay_rate': 0.5}, {'power': 0.5}),
  ],
)
def test_adafactor_is_the_algorithm_of_its_paper(settings, expected):
  got = in_three_steps(
    'adafactor', FIRST, SECOND, RATES, clip_norm=0.0, **settings
  )
  how = {'rows': 128, 'threshold': 1.0, 'scaled': True, 'momentum': 0.0}
  how = how | {'power': 0.8} | expected
  for name, x in FIRST.items():
    expected = adafactor_by_hand(x, [grads[name] for grads in SECOND], **how)
    np.testing.assert_allclose(got[name], expected, rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize('rows, factored', [(128, True), (127, False)])
def test_adafactor_factors_from_128_rows_on(rows, factored):
  tx, _ = optimizers.build('adafactor', 9, learning_rate=0.1)
  params = {'kernel': jax.ShapeDtypeStruct((rows, 200), jnp.float32)}
  leaves = jax.tree.leaves(jax.eval_shape(tx.init, params))
  assert (sum(leaf.size for leaf in leaves) < 400) == factored


@pytest.mark.peers
def test_adafactor_is_that_of_transformers():
  import torch
  from transformers.optimization import Adafactor

  params = {
    name: torch.nn.Parameter(torch.tensor(x, dtype=torch.float32))
    for name, x in FIRST.items()
  }
  optimizer = Adafactor(
    params.values(),
    lr=0.01,
    eps=(1e-30, 1e-3),
    clip_threshold=1.0,
    decay_rate=-0.8,
    scale_parameter=True,
    relative_step=False,
    warmup_init=False,
  )
  tx, _ = optimizers.build(
    'adafactor',
    5,
    learning_rate=0.01,
    schedule='rsqrt',
    warmup_steps=10_000,
    clip_norm=0.0,
    min_dim_size_to_factor=1,  # There, every matrix is factored.
  )
  got = as_float32(FIRST)
  state, update = tx.init(got), tiny.quick_jit(tx.update)
  for grads in [*SECOND, *SECOND[:2]]:
    for name, param in params.items():
      param.grad = torch.tensor(grads[name], dtype=torch.float32)
    optimizer.step()
    updates, state = update(as_float32(grads), state, got)
    got = optax.apply_updates(got, updates)
  for name, param in params.items():
    expected = param.detach().numpy()
    assert np.abs(expected - FIRST[name]).max() > 1e-5
    np.testing.assert_allclose(got[name], expected, rtol=1e-5, atol=1e-8)


def test_sgd_adds_momentum():
  tx, _ = optimizers.build(
    'sgd',
    9,
    learning_rate=0.1,
    schedule='constant',
    momentum=0.5,
    clip_norm=0.0,
  )
  params = {'kernel': jnp.zeros(1)}
  state, seen = tx.init(params), []
  for grad in (1.0, 1.0, 0.0):
    updates, state = tx.update({'kernel': jnp.full(1, grad)}, state, params)
    seen.append(float(updates['kernel'][0]))
  np.testing.assert_allclose(seen, [-0.1, -0.15, -0.075], rtol=1e-6)


BLOCK = 'decoder/block'
DECAYED = {
  'token/embedding',
  'position/embedding',
  f'{BLOCK}/attention/query/kernel',
  f'{BLOCK}/attention/key/kernel',
  f'{BLOCK}/attention/value/kernel',
  f'{BLOCK}/attention/out/kernel',
  f'{BLOCK}/mlp/up/kernel',
  f'{BLOCK}/mlp/down/kernel',
}
KEPT = {
  f'{BLOCK}/attention/query/bias',
  f'{BLOCK}/attention/key/bias',
  f'{BLOCK}/attention/value/bias',
  f'{BLOCK}/attention/out/bias',
  f'{BLOCK}/mlp/up/bias',
  f'{BLOCK}/mlp/down/bias',
  f'{BLOCK}/attention_norm/scale',
  f'{BLOCK}/attention_norm/bias',
  f'{BLOCK}/mlp_norm/scale',
  f'{BLOCK}/mlp_norm/bias',
  'decoder/final_norm/scale',
  'decoder/final_norm/bias',
}


def params_of(family, preset):
  """Returns the shapes of a published model."""
  model, tokens = models.build(family, preset), jnp.ones((1, 2), jnp.int32)
  reads = {'source_tokens': tokens} if family in ('t5', 'transformer') else {}
  init = lambda: model.init(jax.random.key(0), tokens=tokens, **reads)
  return jax.eval_shape(init)['params']


def updates_of(grads, params, **settings):
  tx, _ = optimizers.build(
    'sgd', 9, learning_rate=0.5, schedule='constant', **settings
  )
  update = tiny.quick_jit(lambda *trees: tx.update(*trees)[0])
  updates = update(grads, tx.init(params), params)
  leaves = jax.tree_util.tree_leaves_with_path(updates)
  return {path_of(path): np.asarray(leaf) for path, leaf in leaves}


def test_decay_shrinks_matrices_and_tables_alone():
  params = tiny.params_of(tiny.gpt())
  zeros = jax.tree.map(jnp.zeros_like, params)
  updates = updates_of(zeros, params, weight_decay=0.2)
  leaves = jax.tree_util.tree_leaves_with_path(params)
  assert set(updates) == DECAYED | KEPT
  for path, leaf in leaves:
    share = 0.1 if path_of(path) in DECAYED else 0.0
    np.testing.assert_allclose(updates[path_of(path)], -share * leaf, rtol=1e-6)


@pytest.mark.parametrize(
  'family, preset',
  [
    ('bert', 'base'),
    ('roberta', 'base'),
    ('t5', 'small'),
    ('t5', 'v1.1-small'),
    ('transformer', 'base'),
  ],
)
def test_decay_spares_norms_and_biases_alone(family, preset):
  params = params_of(family, preset)
  leaves = jax.tree.leaves_with_path(
    optimizers.labels(optimizers.MATRICES, True, False)(params)
  )
  spared = {path_of(path).split('/')[-1] for path, kept in leaves if not kept}
  biases = {'scale', 'bias', 'output_bias', 'relative_bias'}
  shrunk = {path_of(path).split('/')[-1] for path, kept in leaves if kept}
  assert spared <= biases and not shrunk & biases


def test_adafactor_of_t5_keeps_little_of_what_adam_keeps():
  params = params_of('t5', 'v1.1-small')
  sizes = {}
  for name in ('adamw', 'adafactor'):
    tx, _ = optimizers.build(name, 9, learning_rate=0.01)
    state = jax.eval_shape(tx.init, params)
    meshes.state_shardings(state, meshes.make_mesh(fsdp=2, tensor=2))
    sizes[name] = sum(leaf.size for leaf in jax.tree.leaves(state))
  assert 0 < sizes['adafactor'] < sizes['adamw'] / 500


def test_a_pattern_says_what_decays_instead():
  params = tiny.params_of(tiny.gpt())
  zeros = jax.tree.map(jnp.zeros_like, params)
  updates = updates_of(zeros, params, weight_decay=0.2, decay='mlp/.*kernel$')
  moved = {path for path, update in updates.items() if np.any(update)}
  assert moved == {f'{BLOCK}/mlp/up/kernel', f'{BLOCK}/mlp/down/kernel'}


@pytest.mark.parametrize(
  'clip_norm, left', [(1.5, 1.5), (1e6, None), (0.0, None)]
)
def test_clipping_is_by_one_norm_over_all_parameters(clip_norm, left):
  params = grads = tiny.params_of(tiny.gpt())
  leaves = jax.tree_util.tree_leaves_with_path(grads)
  whole = np.sqrt(sum((np.asarray(leaf) ** 2).sum() for _, leaf in leaves))
  assert whole > 10
  share = 1.0 if left is None else left / whole
  updates = updates_of(grads, params, clip_norm=clip_norm)
  for path, leaf in leaves:
    expected = -0.5 * share * np.asarray(leaf)
    np.testing.assert_allclose(updates[path_of(path)], expected, rtol=1e-5)
