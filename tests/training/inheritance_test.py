"""What a new run takes over of a model that was trained before."""

import jax
import numpy as np
import pytest

from lm import objectives
from lm.training import optimizers
from lm.training.inheritance import inherit
from lm.training.step import init_state, make_train_step
from lm.types import Batch, UserError, Vocabulary
from tests.models import tiny

TOKENS = tiny.tokens()


def state_of(model, name='adamw', averages=False):
  tx, _ = optimizers.build(
    name,
    num_steps=10,
    learning_rate=1e-2,
    schedule='constant' if name == 'schedule_free' else 'cosine',
  )
  batch = Batch({'tokens': TOKENS}, {}, {})
  make = lambda: init_state(model, tx, batch, jax.random.key(0), averages)
  return jax.jit(make)(), tx


def same(tree, other):
  jax.tree.map(np.testing.assert_array_equal, tree, other)


def test_parameters_are_taken_over_and_heads_are_new():
  model = tiny.gpt().clone(heads=('label',), num_labels=3)
  drawn, tx = state_of(model)
  trained = tiny.params_for(model, tokens=TOKENS)
  state = inherit(drawn, tx, jax.device_get(trained))
  same(state.params['decoder'], trained['decoder'])
  same(state.params['token'], trained['token'])
  # Its classes are others, though there are as many.
  same(state.params['label'], drawn.params['label'])


def test_without_an_origin_a_state_stays_as_it_is():
  drawn, tx = state_of(tiny.gpt())
  assert inherit(drawn, tx, None) is drawn


def test_another_shape_is_refused_and_so_is_another_model():
  drawn, tx = state_of(tiny.gpt())
  wider = tiny.params_for(tiny.gpt(mlp_dim=12), tokens=TOKENS)
  with pytest.raises(UserError, match=r'mlp.* \(2, 10, 6\).*\(2, 12, 6\)'):
    inherit(drawn, tx, jax.device_get(wider))
  with pytest.raises(UserError, match='no parameter of what'):
    inherit(drawn, tx, {'elsewhere': np.zeros(3)})


@pytest.mark.parametrize('name', ['adamw', 'schedule_free'])
def test_a_run_goes_on_from_there_averages_and_all(name):
  model = tiny.gpt()
  drawn, tx = state_of(model, name, averages=True)
  trained = jax.device_get(tiny.params_for(model, tokens=TOKENS))
  state = inherit(drawn, tx, trained)
  same(state.ema, trained)
  if name == 'schedule_free':  # What it averages begins there, too.
    same(jax.device_get(state.opt_state), jax.device_get(tx.init(state.params)))
  objective = objectives.build('causal_lm', 'causal', Vocabulary(13))
  examples = {'tokens': TOKENS, 'valid': np.ones(TOKENS.shape, bool)}
  examples['bytes'] = examples['valid'].astype(np.int32)
  batch = objective.prepare(examples, np.arange(2), 0)
  average = optimizers.average(name, 0.0 if name == 'schedule_free' else 0.9)
  step = jax.jit(
    make_train_step(model, objective, tx, average=average), donate_argnums=0
  )
  state, metrics = step(state, batch, jax.random.key(1))
  assert np.isfinite(metrics['loss'][0])
  # One step from where the other stood, not from where it was drawn.
  moved = jax.tree.map(
    lambda a, b: float(np.abs(a - b).max()), state.params, trained
  )
  assert 0 < max(jax.tree.leaves(moved)) < 0.1
