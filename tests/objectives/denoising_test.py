"""What other denoising objectives make of a text, each against plain rules."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from lm.types import UserError, Vocabulary
from tests.objectives import texts
from tests.objectives.texts import EOS, MASK, PAD, SENTINELS

NAMES = ('iid_denoising', 'prefix_lm', 'deshuffling', 'infilling')
SIZES = [60, 41, 2, 60, 17]


def made_of(name, sizes=SIZES, form='encoder_decoder', seed=0, **settings):
  """The text, the source and the target of each row, the last two ended."""
  given = texts.examples(*sizes)
  batch = texts.prepare(texts.build(name, form, **settings), given, seed)
  rows = [row[here] for row, here in zip(given['tokens'], given['valid'])]
  found = []
  for row, (source, target) in zip(rows, texts.pairs(batch)):
    assert source[-1] == EOS and target[-1:] in ([], [EOS])
    found.append((row.tolist(), source[:-1], target[:-1]))
  return found


def filled_in(source, target):
  """Puts what follows each sentinel of the target where that stands."""
  spans, mark = collections.defaultdict(list), None
  for token in target:
    if token in SENTINELS:
      mark = token
      assert mark == SENTINELS[len(spans)]
      spans[mark] = []
    else:
      spans[mark].append(token)
  assert [token for token in source if token in SENTINELS] == [*spans]
  return [t for token in source for t in spans.get(token, [token])]


@pytest.mark.parametrize('form', ['encoder_decoder', 'causal'])
@pytest.mark.parametrize('density', [0.15, 0.5, 0.95])
def test_iid_noise_is_taken_out_and_nothing_is_lost(form, density):
  for text, source, target in made_of(
    'iid_denoising', form=form, noise_density=density
  ):
    assert filled_in(source, target) == text


def test_iid_noise_is_of_its_density_and_of_no_length():
  found = made_of('iid_denoising', [500] * 200)
  marks = np.array([np.isin(target, SENTINELS) for *_, target in found], object)
  noise = sum((~row.astype(bool)).sum() for row in marks)
  runs = sum(row.astype(bool).sum() for row in marks)
  assert abs(noise - 15_000) < 3 * np.sqrt(100_000 * 0.15 * 0.85)
  # A run goes on with the density itself: 1 / (1 - 0.15) tokens.
  assert abs(noise / runs - 1 / 0.85) < 0.02


def test_iid_noise_without_a_sentinel_stays():
  vocabulary = texts.VOCABULARY._replace(sentinel_ids=SENTINELS[:3])
  objective = texts.objectives.build(
    'iid_denoising', 'encoder_decoder', vocabulary, noise_density=0.5
  )
  given = texts.examples(60, 60)
  batch = texts.prepare(objective, given)
  for text, (source, target) in zip(given['tokens'], texts.pairs(batch)):
    assert filled_in(source[:-1], target[:-1]) == text.tolist()
    assert sum(token in SENTINELS for token in source) == 3


@pytest.mark.parametrize('form', ['encoder_decoder', 'causal'])
def test_a_prefix_is_any_share_of_the_text(form):
  given = texts.examples(*[11] * 3000)
  batch = texts.prepare(texts.build('prefix_lm', form), given)
  ended = form == 'encoder_decoder'
  sizes = []
  for text, (source, target) in zip(
    given['tokens'].tolist(), texts.pairs(batch)
  ):
    if ended:
      assert source.pop() == target.pop() == EOS
    assert [*source, *target] == text
    sizes.append(len(source))
  assert set(sizes) == set(range(1, 11))
  assert scipy.stats.chisquare(np.bincount(sizes)[1:]).pvalue > 1e-3


def test_each_document_of_a_packed_row_has_a_prefix():
  given = texts.examples(*[12] * 50) | {
    'segment_ids': np.tile(np.repeat([1, 2, 0], [7, 4, 1]), (50, 1)),
    'positions': np.tile([*range(7), *range(4), 0], (50, 1)),
  }
  given['valid'][:, 11] = False
  batch = texts.prepare(texts.build('prefix_lm', 'causal'), given)
  seen = {(1, 2): set(), (2, 1): set()}
  for prefix, asked in zip(batch.inputs['prefix'], batch.weights['tokens']):
    first, second = int(prefix[:7].sum()), int(prefix[7:].sum())
    assert prefix.tolist() == [
      *[True] * first,
      *[False] * (7 - first),
      *[True] * second,
      *[False] * (4 - second),
    ]
    # The last token of a prefix is asked for what follows, and all after it.
    assert asked.tolist() == [
      *[0] * (first - 1),
      *[1] * (7 - first),
      0,
      *[0] * (second - 1),
      *[1] * (4 - second),
      0,
    ]
    seen[1, 2].add(first)
    seen[2, 1].add(second)
  assert seen == {(1, 2): {1, 2, 3, 4, 5, 6}, (2, 1): {1, 2, 3}}
  np.testing.assert_array_equal(
    batch.inputs['positions'], given['positions'][:, :-1]
  )


def test_a_prefix_needs_no_token_that_ends_a_text_in_one_row():
  nothing = Vocabulary(2000)
  objective = texts.objectives.build('prefix_lm', 'causal', nothing)
  assert objective.example_length(64) == 65
  texts.prepare(objective, texts.examples(9))


def test_a_text_is_shuffled_in_any_order():
  orders = collections.Counter()
  for text, source, target in made_of('deshuffling', [3] * 3000):
    assert target == text
    orders[tuple(text.index(token) for token in source)] += 1
  assert len(orders) == 6
  assert scipy.stats.chisquare([*orders.values()]).pvalue > 1e-3


def masks_and_gaps(text, source):
  """How many masks stand before each token that stays, and what is hidden."""
  places = [text.index(token) for token in source if token != MASK]
  assert places == sorted(places)
  gaps = np.diff([-1, *places, len(text)]) - 1
  masks = [0]
  for token in source:
    if token == MASK:
      masks[-1] += 1
    else:
      masks.append(0)
  return np.array(masks), gaps


def test_infilling_hides_its_share_and_a_mask_stands_wherever_it_did():
  for text, source, target in made_of('infilling', [60, 41, 2, 20, 1]):
    assert target == text
    masks, gaps = masks_and_gaps(text, source)
    assert gaps.sum() == round(0.3 * len(text))
    assert not ((gaps > 0) & (masks == 0)).any()


def test_infilled_spans_are_poisson_distributed():
  found = made_of('infilling', [400] * 400, noise_density=0.1)
  lengths = collections.Counter()
  for text, source, _ in found:
    masks, gaps = masks_and_gaps(text, source)
    for gap in gaps[masks == 1]:  # Where masks meet, it cannot be told.
      lengths[int(gap)] += 1
  total = sum(lengths.values())
  assert total > 4000
  # The last span of a row is cut, 1 of 14, so the shares are near, not equal.
  for length in range(8):
    share = scipy.stats.poisson.pmf(length, 3)
    assert abs(lengths[length] / total - share) < 0.025


@pytest.mark.parametrize('name', NAMES)
def test_a_row_never_outgrows_the_model(name):
  for form in ('encoder_decoder', 'causal'):
    objective = texts.build(name, form)
    for length in (16, 47):
      raw = objective.example_length(length)
      batch = texts.prepare(objective, texts.examples(raw))
      row = batch.inputs.get('source_tokens', batch.inputs['tokens'])
      assert length - 2 <= row.shape[1] <= length


def modes_of(batch):
  return [source[0] if source else None for source, _ in texts.pairs(batch)]


@pytest.mark.parametrize('form', ['encoder_decoder', 'causal'])
def test_ul2_says_how_much_it_has_hidden_and_loses_nothing(form):
  given = texts.examples(*[300] * 140)
  batch = texts.prepare(texts.build('ul2', form), given)
  regular, sequential, extreme = SENTINELS[-3:]
  shares = collections.defaultdict(list)
  for text, (source, target) in zip(
    given['tokens'].tolist(), texts.pairs(batch)
  ):
    mode, *source = source
    assert source.pop() == target.pop() == EOS
    if mode == sequential:
      assert [*source, *target] == text
      hidden, runs = len(target), 1
      assert 1 <= hidden <= 150
    else:
      assert filled_in(source, target) == text
      runs = sum(token in SENTINELS for token in target)
      hidden = len(target) - runs
    shares[mode].append((hidden, runs))
  # Of 300 tokens: 15% and 50%, in spans of 3, 8 and 64.
  assert set(shares[regular]) == {(45, 15), (45, 6)}
  assert set(shares[extreme]) == {(150, 50), (150, 19), (45, 1), (150, 2)}
  assert len(set(shares[sequential])) > 10
  assert abs(np.mean([hidden for hidden, _ in shares[sequential]]) - 75) < 30


def test_ul2_draws_its_denoisers_alike():
  given = texts.examples(*[6] * 7000)
  batch = texts.prepare(texts.build('ul2', mode_ids=(7, 8, 9)), given)
  found = collections.Counter(modes_of(batch))
  counts = [found[7], found[8], found[9]]
  expected = [2000, 1000, 4000]
  assert scipy.stats.chisquare(counts, expected).pvalue > 1e-3


def test_ul2_needs_three_modes_and_sentinels_beside_them():
  with pytest.raises(UserError, match=r'mode_ids are \(7,\)'):
    texts.build('ul2', mode_ids=(7,))
  objective = texts.build('ul2')  # 583 tokens: 292 of noise in 97 spans.
  assert objective.example_length(583) == 582
  with pytest.raises(UserError, match='97 sentinels'):
    objective.example_length(600)
  with pytest.raises(UserError, match='has 0 sentinels'):
    texts.objectives.build(
      'ul2', 'causal', Vocabulary(2000, eos_id=1)
    ).example_length(64)


def test_a_text_that_cannot_end_or_be_masked_is_refused():
  with pytest.raises(UserError, match='no token that ends a text'):
    texts.objectives.build('deshuffling', 'causal', Vocabulary(2000))
  with pytest.raises(UserError, match='no token that hides others'):
    texts.objectives.build('infilling', 'causal', Vocabulary(2000, eos_id=1))


def test_a_sentinel_masks_where_nothing_else_does():
  vocabulary = texts.VOCABULARY._replace(mask_id=None)
  objective = texts.objectives.build('infilling', 'encoder_decoder', vocabulary)
  ((source, _),) = texts.pairs(texts.prepare(objective, texts.examples(20)))
  marks = {token for token in source if token in {MASK, *SENTINELS}}
  assert marks == {SENTINELS[0]}


def test_the_loss_of_the_text_leaves_sentinels_and_ends_away():
  objective = texts.build('span_corruption', z_loss=0.1)
  batch = texts.prepare(objective, texts.examples(40, 1))
  target = batch.targets['tokens']
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(*target.shape, 1200)).astype(np.float32)
  _, metrics = objective.loss(
    {'tokens': jnp.asarray(logits)},
    *jax.tree.map(jnp.asarray, (batch.targets, batch.weights)),
  )
  total, count = 0.0, 0
  for row, scores in zip(target, logits.astype(np.float64)):
    for token, score in zip(row, scores):
      if token >= texts.FIRST and token not in SENTINELS:
        total += np.log(np.exp(score).sum()) - score[token]
        count += 1
  assert count == 6 and PAD in target[1]
  np.testing.assert_allclose(metrics['text_loss'], (total, 6), rtol=1e-5)
  assert metrics['loss'][1] == 9  # Two sentinels and an end.
