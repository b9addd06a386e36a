"""What holds of every objective, whichever the model."""

import inspect

import jax
import numpy as np
import pytest

from lm import models, objectives
from lm.types import UserError
from tests.models import tiny
from tests.objectives import texts
from tests.objectives.texts import FORMS

# Which models each can train; all others are refused.
SEQUENCES = {'causal', 'encoder_decoder'}
FITS = {
  'causal_lm': SEQUENCES,
  'masked_lm': {'causal', 'bidirectional'},
  'span_corruption': SEQUENCES,
  'iid_denoising': SEQUENCES,
  'prefix_lm': SEQUENCES,
  'deshuffling': SEQUENCES,
  'infilling': SEQUENCES,
  'ul2': SEQUENCES,
  'replaced_tokens': {'generator_discriminator'},
}
# What is asked of labelled records; tests/tasks has their rows.
OF_RECORDS = {
  'label': SEQUENCES | {'bidirectional'},
  'tags': SEQUENCES | {'bidirectional'},
  'span': SEQUENCES | {'bidirectional'},
  'answers': SEQUENCES,
}
ALL = FITS | OF_RECORDS
CASES = [(name, form) for name in FITS for form in sorted(FITS[name])]
MASKED = [
  ('masked_lm', 'bidirectional', {'spans': spans, 'count': count})
  for spans in ('words', 'ngrams', 'spans')
  for count in ('exact', 'stochastic')
]
SETTINGS = [(name, form, {}) for name, form in CASES] + MASKED


def test_every_objective_is_in_these_tables():
  assert set(ALL) == set(objectives.OBJECTIVES)


@pytest.mark.parametrize(
  'name, form',
  [(name, form) for name in ALL for form in FORMS if form not in ALL[name]],
)
def test_what_does_not_fit_is_refused_with_what_would(name, form):
  with pytest.raises(UserError, match=f'{name}.*{form}.*Set config') as error:
    texts.build(name, form)
  named = [word for word in objectives.OBJECTIVES if word in str(error.value)]
  model = {'attention to causal', 'name to electra'}
  would_fit = any(form in ALL[other] for other in named if other != name)
  assert would_fit or any(way in str(error.value) for way in model)


@pytest.mark.parametrize('name, form, settings', SETTINGS)
def test_an_example_is_the_same_whatever_the_batch_it_is_in(
  name, form, settings
):
  objective = texts.build(name, form, **settings)
  given = texts.examples(40, 23, 40, 40, 9, 31)
  index = np.array([3, 10**9, 0, 77, 12, 4])
  whole = objective.prepare(given, index, 1)
  for rows in ([0], [5, 1], [4, 3, 2]):
    part = {key: array[rows] for key, array in given.items()}
    again = objective.prepare(part, index[rows], 1)
    jax.tree.map(
      lambda a, b, rows=rows: np.testing.assert_array_equal(a[rows], b),
      whole,
      again,
    )


@pytest.mark.parametrize(
  'name, form, settings', [case for case in SETTINGS if case[0] != 'causal_lm']
)
def test_each_example_and_each_seed_draws_its_own(name, form, settings):
  objective = texts.build(name, form, **settings)
  row = texts.examples(40)
  given = {key: np.repeat(array, 8, axis=0) for key, array in row.items()}
  one, other = (objective.prepare(given, np.arange(8), seed) for seed in (1, 2))
  leaves = [
    np.concatenate([leaf.reshape(8, -1) for leaf in jax.tree.leaves(batch)], 1)
    for batch in (one, other)
  ]
  assert len(np.unique(leaves[0], axis=0)) > 4
  assert (leaves[0] != leaves[1]).any(axis=1).sum() > 4


@pytest.mark.parametrize('name, form, settings', SETTINGS)
def test_filler_rows_weigh_nothing_and_shapes_are_always_the_same(
  name, form, settings
):
  objective = texts.build(name, form, **settings)
  filler = texts.examples(0, 0, 0, length=40)
  for noise in (0, 50):  # Whatever tokens stand there.
    filler['tokens'][:] = noise
    empty = objective.prepare(filler, np.arange(3), 0)
    assert all(not weight.any() for weight in empty.weights.values())
  mixed = objective.prepare(
    texts.examples(40, 0, 13, length=40), np.arange(5, 8), 9
  )
  for batch in (empty, mixed):
    described = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), batch)
    assert described == jax.tree.map(
      lambda leaf: (leaf.shape, leaf.dtype),
      objective.prepare(texts.examples(40, 40, 40), np.arange(3), 0),
    )
  assert mixed.weights['tokens'][0].any()
  assert not mixed.weights['tokens'][1].any()


@pytest.mark.parametrize('name, form', CASES)
def test_a_prepared_example_is_not_changed(name, form):
  given = texts.examples(30, 12)
  before = jax.tree.map(np.copy, given)
  for array in given.values():
    array.flags.writeable = False
  texts.prepare(texts.build(name, form), given)
  jax.tree.map(np.testing.assert_array_equal, given, before)


@pytest.mark.parametrize('name, form', CASES)
def test_a_model_reads_no_more_than_it_was_promised(name, form):
  objective = texts.build(name, form)
  for length in (13, 32):
    raw = objective.example_length(length)
    inputs = texts.prepare(objective, texts.examples(raw)).inputs
    read = inputs.get('source_tokens', inputs['tokens'])
    assert 0 < read.shape[1] <= length


MODELS = {
  'causal': ('gpt', 'gpt2'),
  'bidirectional': ('bert', 'base'),
  'encoder_decoder': ('t5', 'small'),
  'generator_discriminator': ('electra', 'small'),
}


@pytest.mark.parametrize('name, form', CASES)
def test_a_model_of_that_form_takes_the_batch_and_its_answer_is_scored(
  name, form
):
  sizes = tiny.SIZES | {'vocab_size': 1200, 'max_len': 64}
  model = models.build(*MODELS[form], **sizes)
  assert model.form == form
  settings = {'next_sentence': True} if form == 'bidirectional' else {}
  objective = texts.build(name, form, **settings)
  model = model.clone(heads=tuple(objective.scales))
  given = texts.examples(objective.example_length(24), 9)
  given['next_sentence'] = np.array([0, 1], np.int32)
  batch = texts.prepare(objective, given)

  def train(inputs, targets, weights):
    keys = {key: jax.random.key(0) for key in ('params', 'sample')}
    answers, _ = model.init_with_output(keys, **inputs, method='answer')
    return objective.loss(answers, targets, weights)

  terms, metrics = jax.eval_shape(train, *batch)
  assert set(terms) == set(objective.scales) <= set(batch.weights)
  assert all(term.shape == () for term in terms.values())
  assert {'loss', 'accuracy'} <= set(metrics)


@pytest.mark.parametrize('name', FITS)
def test_all_settings_have_defaults_and_say_what_they_are(name):
  builder = objectives.OBJECTIVES[name]
  parameters = [*inspect.signature(builder).parameters.values()]
  assert [p.name for p in parameters[:2]] == ['form', 'vocabulary']
  for parameter in parameters[2:]:
    assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
    assert parameter.default is not inspect.Parameter.empty
    assert f'    {parameter.name}: ' in inspect.getdoc(builder).replace(
      '\n  ', '\n    '
    )
