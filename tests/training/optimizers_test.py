"""Optimizers and schedules do what their papers say."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lm.training import optimizers
from lm.types import UserError, path_of
from tests.models import tiny

HALF = 0.5**0.5

# Of a run of 8 steps, 2 of them warm-up, from 0.6: the rates at 0, 1, 2, ...
SCHEDULES = [
  ('constant', {}, [0.2, 0.4, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6]),
  ('linear', {}, [0.2, 0.4, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0]),
  (
    'linear',
    {'end_learning_rate': 0.3},
    [0.2, 0.4, 0.6, 0.55, 0.5, 0.45, 0.4, 0.35, 0.3, 0.3],
  ),
  (
    'linear',
    {'warmup_steps': 0},
    [0.6, 0.525, 0.45, 0.375, 0.3, 0.225, 0.15, 0.075, 0.0],
  ),
  (
    'cosine',  # Of 0, 30, 60, ... degrees.
    {'end_learning_rate': 0.1},
    [0.2, 0.4, 0.6, 0.35 + 0.125 * 3**0.5, 0.475, 0.35, 0.225]
    + [0.35 - 0.125 * 3**0.5, 0.1, 0.1],
  ),
  (
    'inverse_sqrt',
    {},
    [0.2, 0.4, 0.6, 0.6 * (2 / 3) ** 0.5, 0.6 * HALF]
    + [0.6 * 0.4**0.5, 0.6 / 3**0.5, 0.6 * (2 / 7) ** 0.5, 0.3],
  ),
  ('inverse_sqrt', {'warmup_steps': 0}, [0.6, 0.6 * HALF, 0.6 / 3**0.5, 0.3]),
  (
    'warmup_stable_decay',
    {'decay_steps': 3},
    [0.2, 0.4, 0.6, 0.6, 0.6, 0.6, 0.4, 0.2, 0.0, 0.0],
  ),
  (
    'warmup_stable_decay',  # A tenth of the steps, and one at least.
    {'end_learning_rate': 0.3},
    [0.2, 0.4, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.3, 0.3],
  ),
]


@pytest.mark.parametrize('schedule, changes, rates', SCHEDULES)
def test_a_schedule_goes_through_these_rates(schedule, changes, rates):
  settings = {'learning_rate': 0.6, 'warmup_steps': 2} | changes
  _, rate = optimizers.build('sgd', 8, schedule=schedule, **settings)
  got = jax.jit(jax.vmap(rate))(jnp.arange(len(rates)))
  np.testing.assert_allclose(got, rates, atol=1e-6)


@pytest.mark.parametrize(
  'arguments, message',
  [
    ({'name': 'adam'}, 'config.optimizer.name to one of adamw'),
    ({'schedule': 'cosin'}, 'config.optimizer.schedule to one of cosine'),
    ({'warmup_steps': 8}, 'Set config.optimizer.warmup_steps under'),
    ({'learning_rate': 0.0}, 'learning_rate above 0'),
    ({'end_learning_rate': 1.0}, 'end_learning_rate up to learning_rate'),
  ],
)
def test_what_cannot_be_followed_is_refused(arguments, message):
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
  'position',
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
