"""However a step is cut and spread, it is the same step."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from jax.sharding import AxisType, Mesh

from lm.objectives.objective import Objective
from lm.parallel import mesh as meshes, ways
from lm.training import optimizers
from lm.training.step import (
  TrainState,
  init_state,
  make_eval_step,
  make_train_step,
)
from lm.types import Batch, path_of
from tests.models import tiny

ROWS, LENGTH = 32, 6
# Two devices can share 14 rows of the table. A key's bias shifts all scores of a
# query alike: its gradient is nothing but rounding, so there is none here.
SIZES = {'vocab_multiple': 2, 'use_bias': False}


def batch():
  """Rows of 0 to 6 targets: devices and microbatches weigh unequally."""
  tokens = tiny.tokens(ROWS, LENGTH + 1)
  held = np.random.default_rng(1).integers(0, LENGTH + 2, ROWS)
  held[:8] = 0  # Of eight devices, two have nothing to learn from.
  examples = {
    'tokens': tokens,
    'valid': np.arange(LENGTH + 1) < held[:, None],
    'bytes': tokens % 3,
  }
  return tiny.causal_lm().prepare(examples, np.arange(ROWS), 0)


def record():
  """An optimizer whose state is the gradient it was given."""

  def zeros(tree):
    return jax.tree.map(jnp.zeros_like, tree)

  return optax.GradientTransformation(
    init=zeros, update=lambda grads, state, params=None: (zeros(grads), grads)
  )


def mesh_of(data, fsdp=1, tensor=1, sequence=1):
  sizes = data, fsdp, tensor, sequence
  devices = np.array(jax.devices()[: math.prod(sizes)]).reshape(sizes)
  return Mesh(devices, meshes.AXES, axis_types=(AxisType.Auto,) * 4)


@functools.cache
def compiled(sizes, microbatches, rate=0.0, kernel='plain'):
  """Returns a step on a mesh of these sizes, compiled, and its arguments."""
  rates = dict.fromkeys(
    ('embedding_dropout', 'attention_dropout', 'residual_dropout'), rate
  )
  model = tiny.gpt(**SIZES, **rates, kernel=kernel)
  mesh = mesh_of(*sizes)
  step = make_train_step(
    model, tiny.causal_lm(), record(), microbatches=microbatches
  )
  state = start(model)
  shardings = meshes.state_shardings(state, mesh)
  state = jax.device_put(state, shardings)
  arguments = state, meshes.to_devices(batch(), mesh), jax.random.key(3)
  with meshes.placing(mesh):
    jitted = tiny.quick_jit(
      step, out_shardings=(shardings, meshes.replicated(mesh))
    )
    return jitted.lower(*arguments).compile(), arguments


def start(model):
  params = tiny.params_of(model)
  return TrainState(jnp.int32(5), params, record().init(params), None)


@functools.cache
def run(*case):
  """Returns the gradients by path, and the metrics."""
  step, arguments = compiled(*case)
  return on_host(*step(*arguments))


def on_host(state, metrics):
  leaves = jax.tree_util.tree_leaves_with_path(state.opt_state)
  grads = {path_of(path): np.asarray(leaf) for path, leaf in leaves}
  return grads, jax.device_get(metrics)


def assert_same(got, expected):
  """Same to 1e-5 of the largest gradient of each parameter."""
  (grads, metrics), (expected_grads, expected_metrics) = got, expected
  for path, leaf in expected_grads.items():
    scale = np.abs(leaf).max()
    assert scale > 1e-3
    np.testing.assert_allclose(
      grads[path], leaf, rtol=0, atol=1e-5 * scale, err_msg=path
    )
  for name, pair in expected_metrics.items():
    np.testing.assert_allclose(metrics[name], pair, rtol=1e-5, err_msg=name)


DEVICES = [(1, 1, 1), (2, 1, 1), (8, 1, 1)]
MIXED = [(2, 2, 2), (1, 1, 1, 2), (1, 2, 1, 2), (1, 1, 2, 2), (2, 1, 1, 3)]
CUTS = [
  *itertools.product(DEVICES, [1, 2, 4]),
  *((sizes, 2) for sizes in MIXED),
]


@pytest.mark.parametrize('sizes, microbatches', CUTS[1:])
def test_gradients_are_sums_over_any_devices_and_microbatches(
  sizes, microbatches
):
  assert_same(run(sizes, microbatches), run((1, 1, 1), 1))


def test_a_divided_row_may_be_read_chunk_by_chunk():
  assert_same(run((1, 1, 1, 2), 1, 0.0, 'chunked'), run((1, 1, 1), 1))


@pytest.mark.parametrize('sizes', DEVICES[1:])
def test_dropout_is_the_same_on_any_devices(sizes):
  expected, without = run((1, 1, 1), 2, 0.1), run((1, 1, 1), 2)
  change = expected[0]['position/embedding'] - without[0]['position/embedding']
  assert np.abs(change).max() > 1e-3
  assert_same(run(sizes, 2, 0.1), expected)


def test_the_gradient_is_that_of_the_mean_over_all_targets():
  model, whole = tiny.gpt(**SIZES), jax.tree.map(jnp.asarray, batch())

  def mean_loss(params):
    logits = model.apply({'params': params}, whole.inputs['tokens'])
    nats = optax.softmax_cross_entropy_with_integer_labels(
      logits, whole.targets['tokens']
    )
    weights = whole.weights['tokens']
    return (nats * weights).sum() / weights.sum()

  grads = tiny.quick_jit(jax.grad(mean_loss))(tiny.params_of(model))
  leaves = jax.tree_util.tree_leaves_with_path(grads)
  grads = {path_of(path): np.asarray(leaf) for path, leaf in leaves}
  got, metrics = run((1, 1, 1), 4)
  norm = np.sqrt(sum((leaf**2).sum() for leaf in grads.values()))
  assert_same((got, metrics), (grads, metrics | {'grad_norm': (norm, 1)}))


def test_a_pmapped_step_sums_over_its_devices():
  model, way = tiny.gpt(**SIZES), ways.build('pmap')
  step = make_train_step(
    model,
    tiny.causal_lm(),
    record(),
    microbatches=2,
    axis_name=way.axis_name,
  )
  whole = jax.device_put(start(model), meshes.replicated(way.mesh))
  with way.run.placing(way.mesh):
    state = way.run.enter(whole, way.mesh)
    jax.tree.map(
      lambda one, all: np.testing.assert_array_equal(one, all),
      way.run.leave(state, way.mesh),
      whole,
    )
    compiled = way.run.compile_step(step, state, way.mesh)
    rows = way.run.to_devices(batch(), way.mesh)
    before = state
    state, metrics = compiled(state, rows, jax.random.key(3))
  # Of this optimizer nothing old is read, so nothing is given up.
  assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before.params))
  got = way.run.leave(state, way.mesh)
  assert int(got.step) == 6
  leaves = jax.tree.leaves(got)
  assert {leaf.sharding for leaf in leaves} == {meshes.replicated(way.mesh)}
  assert_same(on_host(got, metrics), run((1, 1, 1), 1))


def test_accumulation_needs_less_memory():
  def memory(microbatches):
    step, _ = compiled((1, 1, 1), microbatches)
    return step.memory_analysis().temp_size_in_bytes

  assert memory(4) < memory(2) < memory(1)
  assert memory(4) < 0.5 * memory(1)


class Line(nn.Module):
  """A slope, asked for twice."""

  @nn.compact
  def answer(self, x):
    slope = self.param('slope', nn.initializers.ones, ())
    return {'left': slope * x, 'right': slope * x}

  def __call__(self, x):
    return self.answer(x)


def squares(answers, targets, weights):
  terms = {
    name: jnp.sum(weights[name] * (answers[name] - targets[name]) ** 2)
    for name in answers
  }
  return terms, {name: (terms[name], weights[name].sum()) for name in terms}


LINE = Objective(
  prepare=None,
  loss=squares,
  example_length=None,
  scales={'left': 1.0, 'right': 0.5},
)
X = np.array([1.0, 2.0, -1.0, 3.0], np.float32)
LEFT = np.array([0.0, 1.0, 2.0, -1.0], np.float32)
RIGHT = np.array([4.0, 0.0, 1.0, 1.0], np.float32)


def line_batch(left_weights, right_weights, right=RIGHT):
  return Batch(
    {'x': X},
    {'left': LEFT, 'right': right},
    {
      'left': np.array(left_weights, np.float32),
      'right': np.array(right_weights, np.float32),
    },
  )


def follow(tx, batches, average=None, microbatches=1):
  """Returns the states before, between and after steps on these batches."""
  state = init_state(Line(), tx, batches[0], jax.random.key(0), bool(average))
  step = tiny.quick_jit(
    make_train_step(
      Line(), LINE, tx, average=average, microbatches=microbatches
    )
  )
  states = [state]
  for line in batches:
    states.append(step(states[-1], line, jax.random.key(0))[0])
  return states


@pytest.mark.parametrize('microbatches', [1, 2])
@pytest.mark.parametrize(
  'weights',
  [([1, 0, 2, 1], [0, 1, 0, 3]), ([1, 1, 0, 0], [0] * 4), ([0] * 4, [0] * 4)],
)
def test_each_term_is_divided_by_its_own_weight(weights, microbatches):
  states = follow(record(), [line_batch(*weights)], microbatches=microbatches)
  expected = 0.0
  for scale, aim, weight in zip((1.0, 0.5), (LEFT, RIGHT), np.array(weights)):
    if weight.sum():
      slope = (weight * 2 * (X - aim) * X).sum() / weight.sum()
      expected += scale * slope
  np.testing.assert_allclose(states[1].opt_state['slope'], expected, rtol=1e-6)


GOOD = line_batch([1, 1, 1, 1], [1, 0, 1, 1])
OTHER = line_batch([1, 0, 1, 0], [1, 1, 1, 1], right=LEFT)
BAD = line_batch([1, 1, 1, 1], [1, 1, 1, 1], right=RIGHT * np.nan)


def test_the_moving_average_moves_as_its_recurrence():
  states = follow(
    optax.sgd(0.1), [GOOD, OTHER, GOOD], optimizers.average('sgd', 0.75)
  )
  average = 1.0
  for number, state in enumerate(states):
    if number:
      average = 0.75 * average + 0.25 * float(state.params['slope'])
    np.testing.assert_allclose(state.ema['slope'], average, rtol=1e-6)
    assert state.step == number
  assert abs(average - float(states[-1].params['slope'])) > 0.1
  assert follow(optax.sgd(0.1), [GOOD])[1].ema is None


def adamw(**settings):
  return optimizers.build(
    'adamw', 9, learning_rate=0.1, clip_norm=0.5, weight_decay=0.1, **settings
  )[0]


def test_steps_that_are_not_finite_leave_no_trace():
  with_bad = follow(adamw(skip_nonfinite=2), [GOOD, BAD, BAD, OTHER, BAD, GOOD])
  without = follow(adamw(skip_nonfinite=2), [GOOD, OTHER, GOOD])
  for got, expected in zip((1, 2, 3, 4, 5, 6), (1, 1, 1, 2, 2, 3)):
    got_state, expected_state = with_bad[got], without[expected]
    assert got_state.step == got
    np.testing.assert_array_equal(
      got_state.params['slope'], expected_state.params['slope']
    )
    jax.tree.map(
      np.testing.assert_array_equal,
      got_state.opt_state.inner_state,
      expected_state.opt_state.inner_state,
    )


def test_without_leave_to_skip_what_is_not_finite_shows_at_once():
  assert np.isnan(follow(adamw(), [BAD])[1].params['slope'])


def test_evaluation_leaves_dropout_off_and_asks_for_metrics_alone():
  model = tiny.gpt(**SIZES)
  wild = tiny.gpt(**SIZES, residual_dropout=0.9)
  whole = jax.tree.map(jnp.asarray, batch())
  sums = [
    tiny.quick_jit(make_eval_step(m, tiny.causal_lm()))(
      tiny.params_of(model), whole
    )
    for m in (model, wild)
  ]
  jax.tree.map(np.testing.assert_array_equal, *sums)
  expected = run((1, 1, 1), 1)[1]
  assert set(sums[0]) == {'loss', 'accuracy', 'bits_per_byte'}
  for name, pair in sums[0].items():
    np.testing.assert_allclose(pair, expected[name], rtol=1e-5)
