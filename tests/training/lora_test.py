"""LoRA is a change of the kernels that is thin, and nothing else."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lm
from lm.parallel import mesh as meshes
from lm.training import (
  checkpoints,
  evaluation,
  groups,
  loop,
  lora,
  optimizers,
  run_log,
)
from lm.training.lora import Learner
from lm.training.step import TrainState, init_state, make_train_step
from lm.types import UserError, path_of
from tests.models import tiny
from tests.training.loop_test import configure
from tests.training.step_test import mesh_of

RANK, ALPHA = 3, 7.5
FAMILIES = {
  'gpt': ('gpt2', ('tokens', 'label')),
  'bert': ('base', ('label',)),
  't5': ('v1.1-small', ('tokens',)),
}


def learner(name='gpt', rates=(), **section):
  preset, heads = FAMILIES[name]
  section = {'rank': RANK, 'alpha': ALPHA, 'targets': 'kernel$'} | section
  own = lora.build(**section)
  model = tiny.build(name, preset, heads=heads)
  return Learner(model, own, groups.build(rates, only=own.only))


def inputs(name):
  given = {'tokens': tiny.tokens()}
  if name == 't5':
    given['source_tokens'] = tiny.tokens(length=5, seed=1)
  return given


@functools.cache
def noisy(name, **section):
  """Parameters in which no B is 0."""
  shapes = jax.eval_shape(learner(name, **section).init, KEY, **inputs(name))
  return tiny.noisy(shapes['params'])


KEY = jax.random.key(0)


def by_path(tree):
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {path_of(keys): np.asarray(leaf) for keys, leaf in leaves}


def answers(applied, params, name, **options):
  apply = tiny.quick_jit(functools.partial(applied.apply, **options))
  return apply({'params': params}, **inputs(name))


@pytest.mark.parametrize('name', FAMILIES)
def test_a_model_begins_exactly_as_it_was(name):
  one = learner(name)
  init = lambda applied: tiny.quick_jit(applied.init)(KEY, **inputs(name))
  adapted, plain = init(one)['params'], init(one.model)['params']
  begun, before = by_path(adapted), by_path(plain)
  beside = begun.keys() - before.keys()
  assert {path.rpartition('/')[2] for path in beside} == {'lora_a', 'lora_b'}
  assert len(beside) == 2 * sum(path.endswith('kernel') for path in before)
  for path, array in before.items():
    np.testing.assert_array_equal(begun[path], array)
  for path in beside:
    assert begun[path].any() == path.endswith('lora_a')
  of_both = answers(one, adapted, name), answers(one.model, plain, name)
  jax.tree.map(np.testing.assert_array_equal, *of_both)


# By how many axes of its kernel a layer sums.
SUMMED = {'query': 1, 'key': 1, 'value': 1, 'out': 2, 'up': 1, 'down': 1}


@pytest.mark.parametrize('name', FAMILIES)
def test_what_is_merged_is_each_layers_kernel_and_product(name):
  params = noisy(name)
  merged = by_path(lora.merged(params, learner(name).lora))
  given, seen = by_path(params), 0
  assert merged.keys() == {p for p in given if 'lora' not in p}
  for path, array in merged.items():
    if not path.endswith('kernel'):
      np.testing.assert_array_equal(array, given[path])
      continue
    a, b = (given[path.replace('kernel', f'lora_{x}')] for x in 'ab')
    kernel, stacked = given[path], '/block/' in path
    if not stacked:
      kernel, a, b, array = (x[None] for x in (kernel, a, b, array))
    count = SUMMED.get(path.split('/')[-2], 1)
    letters = 'ij'[:count], 'xy'[: kernel.ndim - 1 - count]
    sums = f'{letters[0]}r,r{letters[1]}->{letters[0]}{letters[1]}'
    for layer in range(kernel.shape[0]):
      expected = kernel[layer] + ALPHA / RANK * np.einsum(
        sums, a[layer], b[layer]
      )
      np.testing.assert_allclose(array[layer], expected, rtol=1e-5, atol=1e-6)
      seen += 1
  assert seen > 8


@pytest.mark.parametrize('name', FAMILIES)
def test_what_learns_answers_as_what_is_merged(name):
  one, params = learner(name), noisy(name)
  merged = lora.merged(params, one.lora)
  got, expected = answers(one, params, name), answers(one.model, merged, name)
  for ours, theirs in zip(*map(jax.tree.leaves, (got, expected))):
    np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-4)
  bare = answers(one.model, params, name)
  assert not np.allclose(*(jax.tree.leaves(x)[0] for x in (bare, got)))


def test_parameters_without_products_are_merged_already():
  params = tiny.params_of(tiny.gpt())
  merged = lora.merged(params, learner().lora)
  jax.tree.map(np.testing.assert_array_equal, merged, params)


def test_only_what_a_reads_is_dropped_and_only_with_a_key():
  one, params = learner(dropout=0.5), noisy('gpt')
  plain = answers(learner(), params, 'gpt')
  without = answers(one, params, 'gpt')
  jax.tree.map(np.testing.assert_array_equal, without, plain)
  dropped = answers(one, params, 'gpt', rngs={'dropout': KEY})
  assert not np.allclose(dropped['label'], plain['label'])
  # With every B at 0 nothing is left to drop.
  flat = jax.tree_util.tree_map_with_path(
    lambda keys, x: x * (not path_of(keys).endswith('lora_b')), params
  )
  dropped = answers(one, flat, 'gpt', rngs={'dropout': KEY})
  without = answers(one, flat, 'gpt')
  jax.tree.map(np.testing.assert_array_equal, dropped, without)


def batch(rows=4):
  tokens = tiny.tokens(rows, 9)
  examples = {
    'tokens': tokens,
    'valid': np.ones(tokens.shape, bool),
    'bytes': np.ones(tokens.shape, np.int32),
  }
  return tiny.causal_lm().prepare(examples, np.arange(rows), 0)


def trained(one, name='adamw', rates=(), **section):
  """Returns the parameters before and after three steps, and the state."""
  tx, _ = optimizers.build(
    name,
    3,
    learning_rate=0.01,
    schedule='constant',
    weight_decay=0.1,
    rates=rates,
    only=one.lora.only,
  )
  step = tiny.quick_jit(make_train_step(one, tiny.causal_lm(), tx))
  params = noisy('gpt', **section)
  state = TrainState(jnp.int32(0), params, tx.init(params), None)
  for _ in range(3):
    state, metrics = step(state, batch(), KEY)
  return by_path(params), by_path(state.params), state, metrics


@pytest.mark.parametrize('name', ['adamw', 'adafactor', 'sophia'])
def test_only_a_and_b_and_what_is_whole_learn(name):
  section = {'whole': '^(label|decoder/final_norm)/'}
  one = learner(**section)
  one = dataclasses.replace(one, model=one.model.clone(heads=('tokens',)))
  before, after, *_ = trained(one, name, **section)
  moved = {path for path in before if (before[path] != after[path]).any()}
  # Nothing asks for a label, but it is decayed.
  expected = {path for path in before if 'lora_' in path}
  expected |= {'label/kernel', 'decoder/final_norm/scale'}
  assert moved == expected | {'decoder/final_norm/bias'}


def test_the_optimizer_holds_what_learns_alone():
  section = {'targets': '(query|value)/kernel$', 'whole': ''}
  one = learner(**section)
  one = dataclasses.replace(one, model=one.model.clone(heads=('tokens',)))
  before, after, state, metrics = trained(one, **section)
  learns = {path for path in before if (before[path] != after[path]).any()}
  assert learns == {
    f'decoder/block/attention/{kernel}/lora_{x}'
    for kernel in ('query', 'value')
    for x in 'ab'
  }
  held = [leaf.size for leaf in jax.tree.leaves(state.opt_state) if leaf.ndim]
  assert sum(held) == 2 * sum(before[path].size for path in learns)
  # Two layers of 6 x 2 x 4, each with A and B.
  assert sum(held) == 2 * 2 * 2 * (6 * RANK + RANK * 8)
  assert metrics['grad_norm'][0] > 0


def test_rates_reach_a_and_b():
  section = {'whole': ''}
  rates = ('lora_a$=0',)
  one = learner(rates=rates, **section)
  one = dataclasses.replace(one, model=one.model.clone(heads=('tokens',)))
  before, after, *_ = trained(one, rates=rates, **section)
  moved = {path for path in before if (before[path] != after[path]).any()}
  moved.discard('label/lora_b')
  assert moved == {p for p in before if 'lora_b' in p} - {'label/lora_b'}


def test_no_gradients_of_what_stays_are_added_up():
  sizes = {'embed_dim': 64, 'num_heads': 4, 'head_dim': 16, 'mlp_dim': 256}
  model = tiny.gpt(**sizes)
  temporary = []
  for rank in (0, 2):
    own = lora.build(rank=rank)
    one = Learner(model, own, groups.build(only=own.only))
    tx, _ = optimizers.build('sgd', 3, learning_rate=0.1, only=own.only)
    init = functools.partial(init_state, one, tx, batch(), KEY)
    step = make_train_step(one, tiny.causal_lm(), tx, microbatches=2)
    state = jax.eval_shape(init)
    compiled = jax.jit(step).lower(state, batch(), KEY).compile()
    temporary.append(compiled.memory_analysis().temp_size_in_bytes)
  shapes = jax.eval_shape(model.init, KEY, tiny.tokens())
  size = sum(4 * leaf.size for leaf in jax.tree.leaves(shapes))
  assert temporary[0] - temporary[1] > 0.8 * size


@pytest.mark.parametrize('sizes', [(8, 1, 1), (2, 2, 2)])
def test_a_step_on_a_mesh_is_the_step_of_one_device(sizes):
  one = learner(targets='(query|value)/kernel$', whole='')
  model = one.model.clone(
    heads=('tokens',),
    config=dataclasses.replace(one.model.config, vocab_multiple=2),
  )
  one = dataclasses.replace(one, model=model)
  tx, _ = optimizers.build('sgd', 3, learning_rate=1.0, only=one.lora.only)
  step = make_train_step(one, tiny.causal_lm(), tx)
  shapes = jax.eval_shape(one.init, KEY, tokens=tiny.tokens())['params']
  params = tiny.noisy(shapes)
  state = TrainState(jnp.int32(0), params, tx.init(params), None)
  expected, _ = tiny.quick_jit(step)(state, batch(8), KEY)
  mesh = mesh_of(*sizes)
  shardings = meshes.state_shardings(state, mesh)
  with meshes.placing(mesh):
    jitted = tiny.quick_jit(
      step, out_shardings=(shardings, meshes.replicated(mesh))
    )
    got, _ = jitted(
      jax.device_put(state, shardings),
      meshes.to_devices(batch(8), mesh),
      KEY,
    )
  before, after, here = map(by_path, (params, got.params, expected.params))
  moved = {path for path in before if (before[path] != after[path]).any()}
  assert moved == {path for path in before if 'lora_' in path}
  for path in moved:
    np.testing.assert_allclose(after[path], here[path], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
  'section, message',
  [
    ({'rank': -1}, 'rank is -1, .* config.lora.rank to 0'),
    ({'rank': 2, 'dropout': 1.0}, 'dropout is 1.0, .* config.lora.dropout'),
    ({'rank': 2, 'targets': '('}, "config.lora.targets is '\\('"),
    ({'rank': 2, 'targets': 'qeury'}, "config.lora.targets is 'qeury', .*path"),
  ],
)
def test_what_is_no_lora_is_refused(section, message):
  with pytest.raises(UserError, match=message):
    jax.eval_shape(learner(**section).init, KEY, **inputs('gpt'))


LORA = {'lora__rank': 2, 'lora__targets': 'attention/.*kernel$'}


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
  return tmp_path_factory.mktemp('cache')


@pytest.fixture(scope='module')
def done(tmp_path_factory, cache):
  """A run with LoRA, its config and its workdir."""
  workdir = tmp_path_factory.mktemp('lora')
  rate = {'optimizer__learning_rate': 0.05}
  model = {'model__preset': 'gpt2', 'model__vocab_size': 257}
  config = configure(cache, **LORA, **model, **rate, checkpoint__every=6)
  loop.train(config, workdir)
  return config, workdir


def test_what_a_run_leaves_is_loaded_merged_and_scores_the_same(done):
  config, workdir = done
  found = lm.load(workdir)
  raw, _ = checkpoints.restore_params(workdir / 'checkpoints')
  merged = lora.merged(raw, lora.Lora(**config['lora']))
  jax.tree.map(np.testing.assert_array_equal, found.params, merged)
  kernel = found.params['decoder']['block']['attention']['query']['kernel']
  base = raw['decoder']['block']['attention']['query']['kernel']
  assert np.abs(kernel - base).max() > 1e-3  # It has learned something.
  assert {'lora_a', 'lora_b'}.isdisjoint(
    path.rpartition('/')[2] for path in by_path(found.params)
  )
  *_, last = run_log.read(workdir / 'metrics.jsonl')
  assert last['split'] == 'eval'
  again = evaluation.score(found.config, found.params)
  np.testing.assert_allclose(again['loss'], last['loss'], rtol=1e-5)


def test_what_was_merged_is_saved_and_read_as_any_other(done, tmp_path):
  _, workdir = done
  found = lm.load(workdir)
  lm.save(found, tmp_path)
  again = lm.load(tmp_path)
  jax.tree.map(np.testing.assert_array_equal, again.params, found.params)


@pytest.mark.peers
def test_transformers_reads_what_was_merged(done, tmp_path):
  import torch
  import transformers

  _, workdir = done
  found = lm.load(workdir)
  lm.save_huggingface(found, tmp_path)
  theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
  tokens = jax.random.randint(KEY, (2, 16), 0, 256)
  with torch.no_grad():
    expected = theirs(torch.tensor(np.asarray(tokens)).long()).logits.numpy()
  raw, _ = checkpoints.restore_params(workdir / 'checkpoints')
  one = Learner(found.model, lora.Lora(**found.config['lora']), groups.build())
  raw = jax.tree.map(jnp.asarray, raw)
  got = one.apply({'params': raw}, tokens=tokens)  # As it was trained.
  np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)
  bare = found.model.apply({'params': raw}, tokens=tokens)
  assert np.abs(bare - expected).max() > 0.01


def test_a_run_goes_on_with_its_products(tmp_path, cache):
  steady = {'optimizer__schedule': 'constant', 'optimizer__warmup_steps': 0}
  config = configure(cache, **LORA, **steady)
  half = config | {'num_steps': 3}
  loop.train(config, tmp_path / 'whole')
  loop.train(half, tmp_path / 'parts')
  loop.train(config, tmp_path / 'parts')
  found = [
    checkpoints.restore_params(tmp_path / name / 'checkpoints')[0]
    for name in ('whole', 'parts')
  ]
  jax.tree.map(np.testing.assert_array_equal, *found)
