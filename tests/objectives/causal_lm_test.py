"""What causal language modelling asks, and what an answer costs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lm import objectives
from lm.objectives.cross_entropy import cross_entropy
from lm.types import Projection, UserError, Vocabulary

VOCABULARY = Vocabulary(16, frozenset({0, 1}), eos_id=1, pad_id=0)


def causal_lm(form='causal', vocabulary=VOCABULARY, **settings):
  return objectives.build('causal_lm', form, vocabulary, **settings)


def prepare(objective=None, **examples):
  columns = {
    name: np.array([rows], bool if name == 'valid' else np.int32)
    for name, rows in examples.items()
  }
  batch = (objective or causal_lm()).prepare(columns, np.arange(1), 0)
  return jax.tree.map(lambda leaf: leaf[0].tolist(), batch)


def test_each_token_of_a_window_asks_for_the_next():
  inputs, targets, weights = prepare(
    tokens=[5, 6, 7, 8, 0], valid=[1, 1, 1, 1, 0], bytes=[2, 1, 4, 1, 0]
  )
  assert inputs == {'tokens': [5, 6, 7, 8]}
  assert targets == {'tokens': [6, 7, 8, 0]}
  assert weights == {'tokens': [1, 1, 1, 0], 'bytes': [1, 4, 1, 0]}


def test_a_packed_document_does_not_ask_for_the_next_one():
  inputs, targets, weights = prepare(
    tokens=[5, 6, 7, 8, 9, 4, 0],
    valid=[1, 1, 1, 1, 1, 1, 0],
    bytes=[2, 1, 4, 1, 3, 0, 0],
    segment_ids=[1, 1, 1, 2, 2, 3, 0],
    positions=[0, 1, 2, 0, 1, 0, 0],
  )
  assert inputs == {
    'tokens': [5, 6, 7, 8, 9, 4],
    'segment_ids': [1, 1, 1, 2, 2, 3],
    'positions': [0, 1, 2, 0, 1, 0],
  }
  assert targets == {'tokens': [6, 7, 8, 9, 4, 0]}
  assert weights == {'tokens': [1, 1, 0, 1, 0, 0], 'bytes': [1, 4, 0, 3, 0, 0]}


def test_padding_is_never_asked_for_even_inside_a_segment_of_its_own():
  weights = prepare(
    tokens=[5, 0, 0],
    valid=[1, 0, 0],
    bytes=[1, 0, 0],
    segment_ids=[1, 0, 0],
    positions=[0, 0, 0],
  )[2]
  assert weights == {'tokens': [0, 0], 'bytes': [0, 0]}


def test_filler_rows_weigh_nothing():
  weights = prepare(tokens=[5, 6, 7], valid=[0, 0, 0], bytes=[1, 1, 1])[2]
  assert weights == {'tokens': [0, 0], 'bytes': [0, 0]}


def test_an_example_has_a_token_more_than_the_model_reads():
  assert causal_lm().example_length(64) == 65


@pytest.mark.parametrize(
  'vocabulary, source',
  [(VOCABULARY, 1), (Vocabulary(16, pad_id=3), 3), (Vocabulary(16), 0)],
)
def test_a_decoder_is_asked_the_same_and_its_source_says_nothing(
  vocabulary, source
):
  text = dict(tokens=[5, 6, 7, 8], valid=[1, 1, 1, 0], bytes=[2, 1, 4, 0])
  inputs, *asked = prepare(causal_lm('encoder_decoder', vocabulary), **text)
  assert inputs == {
    'source_tokens': [source],
    'source_valid': [True],
    'tokens': [5, 6, 7],
  }
  assert asked == [*prepare(causal_lm(), **text)[1:]]


def test_only_the_loss_wants_to_know_of_bytes():
  assert causal_lm().reads == ('bytes',)


RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 3, (2, 4, 7)).astype(np.float32)
TARGETS = RNG.integers(0, 7, (2, 4), np.int32)
WEIGHTS = np.array([[1, 0.5, 0, 2], [0, 1, 1, 0]], np.float32)
OPTIONS = [(0.0, 0.0), (1e-2, 0.0), (0.0, 0.1), (1e-2, 0.3)]


def plain(z_loss, label_smoothing):
  """The weighted sums of the loss and of its plain part, in float64."""
  total = nats_total = 0.0
  for row, slot in np.ndindex(TARGETS.shape):
    scores = LOGITS[row, slot].astype(np.float64)
    log_z = np.log(np.sum(np.exp(scores)))
    nats = log_z - scores
    aim = np.full(7, label_smoothing / 7)
    aim[TARGETS[row, slot]] += 1 - label_smoothing
    loss = aim @ nats + z_loss * log_z**2
    total += WEIGHTS[row, slot] * loss
    nats_total += WEIGHTS[row, slot] * nats[TARGETS[row, slot]]
  return total, nats_total


def as_array():
  return jnp.asarray(LOGITS)


def as_projection():
  """The same logits as a product, with rows of padding below the table."""
  table = np.random.default_rng(1).normal(size=(9, 7))
  features = LOGITS @ np.linalg.inv(table[:7].T)
  return Projection(
    jnp.asarray(features, jnp.float32),
    jnp.asarray(table, jnp.float32),
    vocab_size=7,
  )


def in_blocks():
  """The same, of which three or four rows are scored at a time."""
  return as_projection().replace(blocks=3)


ANSWERS = [as_array, as_projection, in_blocks]


def score(answer, weights, z_loss, label_smoothing):
  return cross_entropy(
    answer, jnp.asarray(TARGETS), jnp.asarray(weights), z_loss, label_smoothing
  )


@pytest.mark.parametrize('answer', ANSWERS)
@pytest.mark.parametrize('z_loss, label_smoothing', OPTIONS)
def test_the_loss_is_the_plain_sum_and_its_metrics_have_no_extras(
  answer, z_loss, label_smoothing
):
  term, metrics = score(answer(), WEIGHTS, z_loss, label_smoothing)
  total, nats = plain(z_loss, label_smoothing)
  np.testing.assert_allclose(term, total, rtol=2e-5)
  np.testing.assert_allclose(metrics['loss'], (nats, 5.5), rtol=2e-5)
  right = (LOGITS.argmax(axis=-1) == TARGETS) * WEIGHTS
  assert 0 < right.sum() < 5.5
  np.testing.assert_allclose(metrics['accuracy'], (right.sum(), 5.5))


@pytest.mark.peers
@pytest.mark.parametrize('label_smoothing', [0.0, 0.1, 0.9])
def test_smoothing_is_that_of_torch(label_smoothing):
  import torch

  expected = torch.nn.functional.cross_entropy(
    torch.tensor(LOGITS).reshape(-1, 7),
    torch.tensor(TARGETS, dtype=torch.long).reshape(-1),
    label_smoothing=label_smoothing,
    reduction='none',
  )
  term, _ = score(as_array(), WEIGHTS, 0.0, label_smoothing)
  weighted = (expected.numpy() * WEIGHTS.reshape(-1)).sum()
  np.testing.assert_allclose(term, weighted, rtol=1e-5)


def test_bits_per_byte_are_the_bits_of_all_targets_over_their_bytes():
  size = np.array([[3, 1, 0, 2], [0, 4, 1, 0]], np.float32)
  terms, metrics = causal_lm(z_loss=0.1).loss(
    {'tokens': as_array()},
    {'tokens': jnp.asarray(TARGETS)},
    {'tokens': jnp.asarray(WEIGHTS), 'bytes': jnp.asarray(size)},
  )
  assert set(terms) == {'tokens'}
  bits = plain(0.0, 0.0)[1] / 0.6931471805599453
  np.testing.assert_allclose(metrics['bits_per_byte'], (bits, 11), rtol=1e-5)


@pytest.mark.parametrize('answer', ANSWERS)
def test_what_weighs_nothing_moves_nothing(answer):
  def total(scale):
    given = jax.tree.map(lambda x: x * scale, answer())
    return score(given, np.zeros_like(WEIGHTS), 0.1, 0.1)[0]

  assert total(1.0) == 0 and jax.grad(total)(1.0) == 0


@pytest.mark.parametrize('answer', ANSWERS)
def test_a_part_of_the_targets_has_a_loss_of_its_own(answer):
  part = np.array([[1, 0, 0, 0], [0, 1, 0, 0]], np.float32)
  _, metrics = cross_entropy(
    answer(),
    jnp.asarray(TARGETS),
    jnp.asarray(WEIGHTS),
    z_loss=0.1,
    parts={'first_loss': jnp.asarray(part)},
  )
  nats = sum(
    np.log(np.exp(LOGITS[at].astype(np.float64)).sum())
    - LOGITS[at][TARGETS[at]]
    for at in [(0, 0), (1, 1)]
  )
  np.testing.assert_allclose(metrics['first_loss'], (nats, 2), rtol=2e-5)
  np.testing.assert_allclose(
    metrics['loss'], (plain(0.0, 0.0)[1], 5.5), rtol=2e-5
  )


@pytest.mark.parametrize(
  'arguments, message',
  [
    ({'name': 'casual_lm'}, 'config.objective.name to one of causal_lm'),
    ({'label_smoothing': 1.0}, 'label_smoothing is 1.0'),
    ({'label_smoothing': -0.1}, 'label_smoothing is -0.1'),
    ({'form': 'bidirectional'}, 'every token would see its answer'),
    ({'form': 'generator_discriminator'}, 'replaced_tokens'),
  ],
)
def test_what_cannot_be_trained_is_refused(arguments, message):
  given = {'name': 'causal_lm', 'form': 'causal', 'vocabulary': VOCABULARY}
  with pytest.raises(UserError, match=message):
    objectives.build(**given | arguments)
