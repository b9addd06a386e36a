"""Which tokens are masked, how many, and by what."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from lm.types import UserError
from tests.objectives import texts
from tests.objectives.texts import CLS, FIRST, MASK, SEP, VOCABULARY

SPANS = ('tokens', 'words', 'ngrams', 'spans')


def masked_lm(form='bidirectional', **settings):
  return texts.build('masked_lm', form, **settings)


def pairs_of_texts(*sizes, length=0, seed=0):
  """[CLS] a ... [SEP] b ... [SEP]; of each size at least 6."""
  given = texts.examples(*sizes, length=length, seed=seed)
  for row, size in zip(given['tokens'], sizes):
    row[0], row[size // 2], row[size - 1] = CLS, SEP, SEP
  return given


def masked_places(batch):
  """Of each row, where it is asked for an answer."""
  places, asked = batch.inputs['predict_at'], batch.weights['tokens'] > 0
  return [row[here].tolist() for row, here in zip(places, asked)]


@pytest.mark.parametrize('max_predictions', [None, 20, 3])
@pytest.mark.parametrize('rate', [0.15, 0.4])
@pytest.mark.parametrize('spans', ['tokens', 'ngrams'])
def test_bert_masks_exactly_the_rounded_share(max_predictions, rate, spans):
  sizes = [*range(6, 129, 7), 128]
  given = pairs_of_texts(*sizes)
  given['word_starts'][:] = True  # Else whole words may not fill the count.
  batch = texts.prepare(
    masked_lm(mask_rate=rate, max_predictions=max_predictions, spans=spans),
    given,
  )
  most = max_predictions or 128
  expected = [min(most, max(1, round(rate * size))) for size in sizes]
  assert [len(places) for places in masked_places(batch)] == expected
  assert batch.weights['tokens'].shape[1] == max(expected)


def test_roberta_masks_the_share_on_average():
  size, rows = 30, 20_000
  rng = np.random.default_rng(0)
  given = {
    'tokens': rng.integers(FIRST, 100, (rows, size), np.int32),
    'valid': np.ones((rows, size), bool),
  }
  batch = texts.prepare(masked_lm(count='stochastic'), given)
  counts = batch.weights['tokens'].sum(axis=1)
  assert set(counts) == {4, 5}
  mean, deviation = 0.15 * size, np.sqrt(0.25 / rows)
  assert abs(counts.mean() - mean) < 3 * deviation
  given = texts.examples(*[31] * 2000)
  counts = texts.prepare(masked_lm(count='stochastic'), given).weights['tokens']
  share = counts.sum() / 2000 - 4  # 4.65 of 31.
  assert abs(share - 0.65) < 3 * np.sqrt(0.65 * 0.35 / 2000)


@pytest.mark.parametrize('spans', SPANS)
def test_of_those_chosen_shares_are_masked_random_and_kept(spans):
  """80 / 10 / 10, and any other token of text."""
  given = texts.examples(*[200] * 600)
  batch = texts.prepare(masked_lm(spans=spans), given)
  asked = batch.weights['tokens'] > 0
  seen = np.take_along_axis(
    batch.inputs['tokens'], batch.inputs['predict_at'], axis=1
  )[asked]
  true = batch.targets['tokens'][asked]
  # Tokens of a span share their fate: so many decisions there are at least.
  decisions = len(true) / (10 if spans == 'spans' else 1)
  other = (seen != MASK) & (seen != true)
  shares = {0.8: seen == MASK, 0.1: other}
  for share, found in shares.items():
    deviation = np.sqrt(share * (1 - share) / decisions)
    assert abs(found.mean() - share) < 3 * deviation
  assert abs((seen == true).mean() - 0.1) < 3 * np.sqrt(0.09 / decisions)
  drawn = seen[other]
  ids = np.arange(6, min(texts.SENTINELS))  # All that are not special.
  assert np.isin(drawn, ids).all()
  found, edges = np.histogram(drawn, 8, (ids[0], ids[-1] + 1))
  expected = np.histogram(ids, edges)[0] * len(drawn) / len(ids)
  assert scipy.stats.chisquare(found, expected).pvalue > 1e-3


def test_a_span_is_masked_changed_or_kept_as_one():
  given = texts.examples(*[200] * 200)
  given['word_starts'][:] = True
  objective = masked_lm(spans='spans', max_predictions=4)
  batch = texts.prepare(objective, given)
  fates = []
  for row, places in enumerate(masked_places(batch)):
    if places[-1] - places[0] == 3:  # One span, as two seldom meet.
      seen, true = batch.inputs['tokens'][row], given['tokens'][row]
      fates.append(
        {
          'masked'
          if seen[p] == MASK
          else 'kept'
          if seen[p] == true[p]
          else 'else'
          for p in places
        }
      )
  assert {len(fate) for fate in fates} == {1}
  assert set.union(*fates) == {'masked', 'kept', 'else'}


@pytest.mark.parametrize('spans', SPANS)
@pytest.mark.parametrize('count', ['exact', 'stochastic'])
@pytest.mark.parametrize('rate', [0.15, 0.9])
def test_no_special_token_is_ever_masked_nor_padding(spans, count, rate):
  rng = np.random.default_rng(1)
  given = texts.examples(*rng.integers(1, 40, 200), length=40)
  special = rng.random(given['tokens'].shape) < rng.random((200, 1))
  ids = sorted({*VOCABULARY.special_ids, *VOCABULARY.sentinel_ids})
  drawn = rng.choice(ids, special.shape)
  tokens = np.where(special, drawn, given['tokens']).astype(np.int32)
  tokens[~given['valid']] = 77  # What stands there must not matter.
  given['tokens'] = tokens
  objective = masked_lm(spans=spans, count=count, mask_rate=rate)
  batch = texts.prepare(objective, given)
  free = given['valid'] & ~np.isin(tokens, ids)
  changed = batch.inputs['tokens'] != tokens
  assert not (changed & ~free).any()
  for row, places in enumerate(masked_places(batch)):
    assert free[row, places].all()
    assert places == sorted(set(places))
    assert not np.delete(changed[row], places).any()
    answers = batch.targets['tokens'][row][: len(places)]
    assert answers.tolist() == tokens[row, places].tolist()


def words_of(starts, free, segments):
  """The places of each word, by reading on from its start."""
  words = []
  for place in range(len(starts)):
    alone = not free[place] or place == 0 or not free[place - 1]
    if alone or starts[place] or segments[place] != segments[place - 1]:
      words.append([])
    words[-1].append(place)
  return [word for word in words if free[word[0]]]


@pytest.mark.parametrize('packed', [False, True])
@pytest.mark.parametrize('spans', SPANS[1:])
def test_a_word_is_masked_whole_or_not_at_all(spans, packed):
  sizes = [60] * 40
  given = pairs_of_texts(*sizes)
  segments = np.ones((40, 60), np.int32)
  if packed:
    segments[:, 20:] = 2
    given['segment_ids'] = segments
    given['positions'] = np.arange(60) - 20 * (segments - 1)
  batch = texts.prepare(masked_lm(spans=spans, mask_rate=0.3), given)
  some = 0
  for row, places in enumerate(masked_places(batch)):
    free = given['tokens'][row] >= FIRST
    words = words_of(given['word_starts'][row], free, segments[row])
    for word in words:
      assert len({place in places for place in word}) == 1
      some += len(word) > 1 and word[0] in places
    assert len(places) <= 18
    rest = [len(word) for word in words if word[0] not in places]
    assert not rest or len(places) + min(rest) > 18  # Nothing more fits.
  assert some > 20


def test_a_word_that_is_too_long_is_passed_over():
  given = texts.examples(20)
  given['word_starts'][:] = np.isin(np.arange(20), [0, 19])
  objective = masked_lm(spans='words', mask_rate=0.2)
  assert masked_places(texts.prepare(objective, given)) == [[19]]
  given['word_starts'][:] = np.arange(20) == 0
  assert masked_places(texts.prepare(objective, given)) == [[]]


@pytest.mark.parametrize(
  'spans, mean, longest',
  # ALBERT: 1 + 2/2 + 3/3 over 1 + 1/2 + 1/3. SpanBERT: 3.8 words (3.1).
  [('words', 1.0, 1), ('ngrams', 18 / 11, 3), ('spans', 3.8, 10)],
)
def test_runs_have_as_many_words_as_published(spans, mean, longest):
  given = texts.examples(*[400] * 400)
  given['word_starts'][:] = True
  # A share that seldom lets two runs meet, but has room for the longest.
  batch = texts.prepare(masked_lm(spans=spans, mask_rate=0.05), given)
  runs = []
  for places in masked_places(batch):
    cuts = np.flatnonzero(np.diff(places) > 1) + 1
    runs += [len(run) for run in np.split(np.array(places), cuts)]
  # Runs that meet count as one, and the last of a row is cut.
  assert abs(np.mean(runs) - mean) < 0.1 * mean
  assert np.mean(np.array(runs) <= longest) > 0.9
  assert max(runs) >= longest


@pytest.mark.parametrize(
  'index, size, count',
  [(0, 40, 4), (50, 40, 10), (100, 40, 16), (10_000, 40, 16)],
)
def test_the_share_moves_on_a_straight_line(index, size, count):
  objective = masked_lm(
    mask_rate=0.1, end_mask_rate=0.4, mask_rate_examples=100
  )
  batch = texts.prepare(objective, texts.examples(size), start=index)
  assert len(masked_places(batch)[0]) == count
  assert batch.inputs['predict_at'].shape == (1, 16)


def test_what_an_example_brings_is_passed_on():
  given = pairs_of_texts(20, 12)
  given |= {
    'segment_ids': given['valid'].astype(np.int32),
    'positions': np.broadcast_to(np.arange(20), (2, 20)),
    'token_types': given['valid'].astype(np.int32),
  }
  inputs = texts.prepare(masked_lm(), given).inputs
  names = {'valid', 'segment_ids', 'positions', 'token_types'}
  assert set(inputs) == names | {'tokens', 'predict_at'}
  for name in names:
    np.testing.assert_array_equal(inputs[name], given[name])


def test_words_are_read_where_they_are_needed():
  assert masked_lm().reads == ()
  assert masked_lm(spans='words').reads == ('word_starts',)
  assert masked_lm().example_length(128) == 128


def test_next_sentences_are_a_term_of_their_own():
  objective = masked_lm(next_sentence=True)
  assert objective.scales == {'tokens': 1.0, 'next_sentence': 1.0}
  assert masked_lm().scales == {'tokens': 1.0}
  given = pairs_of_texts(12, 12, 12) | {
    'next_sentence': np.array([0, 1, 0], np.int32)
  }
  given['valid'][2] = False
  batch = texts.prepare(objective, given)
  assert batch.targets['next_sentence'].tolist() == [0, 1, 0]
  assert batch.weights['next_sentence'].tolist() == [1, 1, 0]
  scores = np.array([[2.0, 0.0], [1.0, 0.5], [0.0, 9.0]], np.float32)
  slots = batch.weights['tokens'].shape
  answers = {
    'tokens': jnp.zeros((*slots, VOCABULARY.size)),
    'next_sentence': jnp.asarray(scores),
  }
  terms, metrics = objective.loss(
    answers, *jax.tree.map(jnp.asarray, (batch.targets, batch.weights))
  )
  nats = np.log1p(np.exp(-2.0)) + np.log1p(np.exp(0.5))
  np.testing.assert_allclose(terms['next_sentence'], nats, rtol=1e-5)
  np.testing.assert_allclose(
    metrics['next_sentence_loss'], (nats, 2), rtol=1e-5
  )
  np.testing.assert_allclose(metrics['next_sentence_accuracy'], (1, 2))
  plain = batch.weights['tokens'].sum() * np.log(VOCABULARY.size)
  np.testing.assert_allclose(metrics['loss'][0], plain, rtol=1e-5)
  np.testing.assert_allclose(terms['tokens'], plain, rtol=1e-5)


def test_pairs_are_needed_to_ask_for_next_sentences():
  with pytest.raises(UserError, match=r"data\.packing to 'pairs'"):
    texts.prepare(masked_lm(next_sentence=True), pairs_of_texts(12))


@pytest.mark.parametrize(
  'settings, message',
  [
    ({'mask_rate': 15.0}, 'mask_rate is 15.0, but it is a share'),
    ({'end_mask_rate': -0.1}, 'end_mask_rate is -0.1'),
    ({'mask_rate_examples': -1}, r'config\.objective\.mask_rate_examples'),
    ({'mask_share': 0.9, 'random_share': 0.2}, 'mask_share is 0.9'),
    ({'max_predictions': 0}, 'max_predictions is 0'),
  ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
  with pytest.raises(UserError, match=message):
    masked_lm(**settings)
