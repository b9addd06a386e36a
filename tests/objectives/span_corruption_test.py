"""T5's span corruption, against a plain one and against chance."""

import math

import numpy as np
import pytest
import scipy.stats

from lm.objectives import noise
from lm.types import UserError
from tests.objectives import texts
from tests.objectives.texts import EOS, SENTINELS

T5 = noise.Spans(0.15, 3.0)


def marked(tokens, hidden):
  """Puts one sentinel in the place of each run that is hidden."""
  found, number = [], 0
  for place, token in enumerate(tokens):
    if not hidden[place]:
      found.append(token)
    elif place == 0 or not hidden[place - 1]:
      found.append(SENTINELS[number])
      number += 1
  return [*found, EOS]


def taken_out(tokens, hidden):
  """Puts each run that is hidden after its sentinel."""
  found, number = [], 0
  for place, token in enumerate(tokens):
    if hidden[place]:
      if place == 0 or not hidden[place - 1]:
        found.append(SENTINELS[number])
        number += 1
      found.append(token)
  return [*found, EOS]


@pytest.mark.parametrize('form', ['encoder_decoder', 'causal'])
@pytest.mark.parametrize('shares', [T5, noise.Spans(0.5, 2.0)])
def test_given_the_mask_source_and_target_are_those_of_t5(form, shares):
  sizes = [90, 57, 2, 31, 90, 3, 8]
  given = texts.examples(*sizes)
  objective = texts.build(
    'span_corruption',
    form,
    noise_density=shares.density,
    mean_span=shares.mean_span,
  )
  masks = noise.in_spans(shares, given['valid'], np.arange(7), 5)
  assert masks.sum() > 40
  expected = []
  for tokens, mask, size in zip(given['tokens'], masks, sizes):
    text, mask = tokens[:size].tolist(), mask[:size]
    expected.append((marked(text, mask), marked(text, ~mask)))
  assert texts.pairs(texts.prepare(objective, given, seed=5)) == expected


def test_any_mask_can_be_given():
  rng = np.random.default_rng(3)
  given = texts.examples(*[20] * 50)
  tokens, valid = given['tokens'], given['valid']
  masks = rng.random(tokens.shape) < rng.random((50, 1))
  made = noise.corrupt(tokens, masks, valid, np.array(SENTINELS, np.int32))
  for row, (text, mask) in enumerate(zip(tokens.tolist(), masks)):
    source = made.source[row][made.in_source[row]].tolist()
    target = made.target[row][made.in_target[row]].tolist()
    assert [*source, EOS] == marked(text, mask)
    assert [*target, EOS] == taken_out(text, mask)


def test_a_text_looks_as_in_the_paper():
  given = texts.examples(11)
  tokens = np.arange(20, 31, dtype=np.int32)[None]
  mask = np.isin(tokens, [22, 23, 28])
  made = noise.corrupt(
    tokens, mask, given['valid'], np.array([99, 98], np.int32)
  )
  assert made.source[made.in_source].tolist() == [
    *[20, 21, 99, 24, 25, 26, 27, 98, 29, 30]
  ]
  assert made.target[made.in_target].tolist() == [99, 22, 23, 98, 28]


@pytest.mark.parametrize(
  'length, raw, target', [(128, 141, 29), (256, 284, 58), (512, 568, 114)]
)
def test_lengths_are_those_of_the_table(length, raw, target):
  objective = texts.build('span_corruption')
  assert objective.example_length(length) == raw
  batch = texts.prepare(objective, texts.examples(raw, raw - 1))
  assert batch.inputs['source_tokens'].shape == (2, length)
  assert batch.inputs['tokens'].shape == (2, target)
  assert batch.targets['tokens'].shape == (2, target)
  assert batch.inputs['source_valid'][0].all()
  assert batch.weights['tokens'][0].all()


def test_the_longest_row_of_the_table_has_its_length_too():
  # Its 57 spans have sentinels, but the test's vocabulary no 1137 tokens.
  assert texts.build('span_corruption').example_length(1024) == 1137
  assert T5.widths(1137) == (1024, 229)


@pytest.mark.parametrize('length', [16, 40, 100])
def test_a_decoder_has_both_in_one_row(length):
  objective = texts.build('span_corruption', 'causal')
  raw = objective.example_length(length)
  row = texts.prepare(objective, texts.examples(raw)).inputs['tokens']
  assert row.shape[1] <= length < row.shape[1] + 4
  ((source, target),) = texts.pairs(
    texts.prepare(objective, texts.examples(raw))
  )
  assert [*source, *target[:-1]] == row[0].tolist()


def test_a_decoder_reads_the_target_shifted():
  batch = texts.prepare(texts.build('span_corruption'), texts.examples(40))
  target = batch.targets['tokens'][0].tolist()
  assert batch.inputs['tokens'][0].tolist() == [texts.PAD, *target[:-1]]


def test_a_prefix_may_be_hidden_from_what_precedes_it():
  batch = texts.prepare(
    texts.build('span_corruption', 'causal', prefix_visible=False),
    texts.examples(40),
  )
  assert set(batch.inputs) == {'tokens'}


@pytest.mark.parametrize(
  'size, shares',
  [
    (568, T5),
    (40, T5),
    (512, noise.Spans(0.5, 8.0)),
    (40, noise.Spans(0.6, 3.0)),
  ],
)
def test_spans_are_cut_like_t5s(size, shares):
  """Every way to cut m tokens into k spans is as likely as every other.

  So a span has l tokens in C(m - l - 1, k - 2) of C(m - 1, k - 1) cases.
  """
  num_noise, num_spans = (int(n[0]) for n in shares.counts(np.array([size])))
  rows = -(-100_000 // num_spans)
  masks = noise.in_spans(
    shares, np.ones((rows, size), bool), np.arange(rows), 11
  )
  assert not masks[:, 0].any() and masks[:, -1].all()
  assert (masks.sum(axis=1) == num_noise).all()
  flat = np.append(masks.reshape(-1), False)
  ends = np.flatnonzero(flat[1:] != flat[:-1]) + 1
  runs = np.diff(ends, prepend=0)
  assert len(runs) == 2 * rows * num_spans
  for spans, total in [(runs[::2], size - num_noise), (runs[1::2], num_noise)]:
    lengths = np.arange(1, total - num_spans + 2)
    ways = [math.comb(total - int(n) - 1, num_spans - 2) for n in lengths]
    share = np.array(ways, float) / math.comb(total - 1, num_spans - 1)
    found = np.bincount(spans, minlength=lengths[-1] + 1)[1:]
    common = share * len(spans) >= 10  # The others are one class.
    expected = np.append(share[common], share[~common].sum()) * len(spans)
    found = np.append(found[common], found[~common].sum())
    kept = expected > 0
    p = scipy.stats.chisquare(found[kept], expected[kept]).pvalue
    assert p > 1e-3, (p, found, expected)


def test_every_way_to_cut_is_as_likely():
  """Seven into three: 15 ways."""
  rows = 30_000
  parts = noise.segment(
    np.full(rows, 7), np.full(rows, 3), 3, np.arange(rows), 2, 'test'
  )
  assert (parts.sum(axis=1) == 7).all() and (parts > 0).all()
  _, found = np.unique(parts, axis=0, return_counts=True)
  assert len(found) == 15
  assert scipy.stats.chisquare(found).pvalue > 1e-3


def test_a_text_of_one_token_hides_nothing_and_is_asked_nothing():
  batch = texts.prepare(
    texts.build('span_corruption'), texts.examples(1, 2, length=30)
  )
  (alone, nothing), (first, second) = texts.pairs(batch)
  assert len(alone) == 2 and nothing == []
  assert first[1:] == [SENTINELS[0], EOS] and second[1:] != []


@pytest.mark.parametrize(
  'settings, message',
  [
    ({'noise_density': 1.5}, 'noise_density is 1.5, but it is a share'),
    ({'mean_span': 0.5}, 'mean_span is 0.5'),
    ({'label_smoothing': 2.0}, 'label_smoothing is 2.0'),
  ],
)
def test_what_cannot_be_is_refused(settings, message):
  with pytest.raises(UserError, match=message):
    texts.build('span_corruption', **settings)


def test_too_few_sentinels_are_refused_before_the_first_batch():
  objective = texts.build('span_corruption')
  assert objective.example_length(1801) == 2000  # 100 spans.
  with pytest.raises(UserError, match=r'101 spans .* 100 sentinels'):
    objective.example_length(1811)
  with pytest.raises(UserError, match='no room'):
    objective.example_length(2)
