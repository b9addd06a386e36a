"""An encoder learns from documents that share a row what it does from each."""

import dataclasses

import jax
import numpy as np
import pytest

from lm.data import sources
from lm.types import Batch
from tests.data.sources_test import make_store
from tests.models import tiny
from tests.objectives import texts
from tests.objectives.texts import CLS, SEP, VOCABULARY

LENGTH = 24
SIZES = {'vocab_size': VOCABULARY.size, 'max_len': LENGTH}
CASES = {
  'bert': {},
  'roberta': {'spans': 'words', 'mask_rate': 0.3},
}


def packed(directory, objective) -> tuple[Batch, np.ndarray]:
  """A batch of all rows, and which document each place is of."""
  store = make_store(directory, [10, 9, 7, 30, 1, 3, 12])
  text = dataclasses.replace(store, tokens=store.tokens + texts.FIRST)
  request = sources.Request(
    LENGTH, None, objective.reads, VOCABULARY, marks=objective.marks
  )
  source = sources.packed(text, request)
  examples = dict(source.examples_at(np.arange(source.size)))
  return texts.prepare(objective, examples), examples['segment_ids']


def apart(batch: Batch, segments: np.ndarray) -> Batch:
  """The same batch with a row for each document, padded on the right."""
  rows = []
  for row, ids in enumerate(segments):
    at = batch.inputs['predict_at'][row]
    for segment in range(1, ids.max() + 1):
      here = np.flatnonzero(ids == segment)
      asked = np.isin(at, here) & (batch.weights['tokens'][row] > 0)
      inside = np.arange(LENGTH) < len(here)

      tokens = np.zeros(LENGTH, np.int32)
      tokens[: len(here)] = batch.inputs['tokens'][row, here]
      rows.append(
        {
          ('inputs', 'tokens'): tokens,
          ('inputs', 'valid'): inside,
          ('inputs', 'predict_at'): np.where(asked, at - here[0], 0),
          ('targets', 'tokens'): batch.targets['tokens'][row],
          ('weights', 'tokens'): asked.astype(np.float32),
        }
      )
  parts = {'inputs': {}, 'targets': {}, 'weights': {}}
  for part, name in rows[0]:
    parts[part][name] = np.stack([one[part, name] for one in rows])
  return Batch(**parts)


@pytest.mark.parametrize('name', CASES)
def test_packed_documents_give_the_loss_and_gradients_of_separate_rows(
  name, tmp_path
):
  objective = texts.build('masked_lm', 'bidirectional', **CASES[name])
  batch, segments = packed(tmp_path, objective)
  assert segments.max() > 1  # Documents do share rows.
  model = tiny.build(name, 'base', **SIZES)
  params = tiny.params_for(model, **batch.inputs)

  def loss(params, batch):
    answers = model.apply({'params': params}, **batch.inputs, method='answer')
    terms, _ = objective.loss(answers, batch.targets, batch.weights)
    return terms['tokens']

  value_and_grad = tiny.quick_jit(jax.value_and_grad(loss))
  together = value_and_grad(params, batch)
  separate = value_and_grad(params, apart(batch, segments))
  assert together[0] > 10
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
    together,
    separate,
  )


def test_masks_spare_the_marks_of_documents(tmp_path):
  objective = texts.build('masked_lm', 'bidirectional', mask_rate=0.9)
  batch, segments = packed(tmp_path, objective)
  tokens = batch.inputs['tokens']
  count = sum(ids.max() for ids in segments)
  assert (tokens == CLS).sum() == (tokens == SEP).sum() == count
  assert batch.weights['tokens'].sum() > 0.5 * (segments > 0).sum()
