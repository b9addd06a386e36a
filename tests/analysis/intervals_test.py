"""Intervals hold what they promise, and are those of scipy.stats."""

import numpy as np
import pytest
from scipy import stats

from lm.analysis import intervals
from lm.types import UserError

DRAWS = 500
LEVELS = (0.92, 0.98)  # Three points around 95%; 500 draws vary by one.


def by_id(scores):
  return {f'example {i}': float(score) for i, score in enumerate(scores)}


def holds(interval, true):
  return interval.low <= true <= interval.high


def accuracies(rng, n):
  """Returns two models right at the same pairs more often than by chance."""
  hard = rng.normal(size=n)
  right = lambda skill: (skill - hard + rng.normal(size=n) > 0).astype(float)
  # What is right is a normal number of variance 2 above -skill.
  true = stats.norm.cdf(0.5 / np.sqrt(2)) - 0.5
  return right(0.0), right(0.5), true


def losses(rng, n):
  """Returns two models whose difference is skewed, as losses of texts are."""
  hard = rng.gamma(2.0, size=n)
  return hard, hard + rng.gamma(1.0, 0.5, size=n) - 0.3, 0.2


@pytest.mark.parametrize('make', [accuracies, losses])
def test_the_bootstrap_covers_a_known_difference(make):
  rng, found = np.random.default_rng(0), []
  for seed in range(DRAWS):
    first, second, true = make(rng, 150)
    interval = intervals.paired_bootstrap(
      [by_id(first)], [by_id(second)], resamples=1000, seed=seed
    )
    found.append(holds(interval, true))
  assert LEVELS[0] <= np.mean(found) <= LEVELS[1]


def test_where_those_of_a_kind_are_alike_kinds_are_drawn():
  # The truth is of all kinds that there might be, and not of these 60.
  rng, of_kinds, of_examples = np.random.default_rng(9), [], []
  for seed in range(DRAWS):
    kinds = rng.normal(0.3, 1.0, size=(60, 1))
    second = kinds + rng.normal(size=(60, 10))
    for found, scores in (
      (of_kinds, second.mean(axis=1)),
      (of_examples, second.flat),
    ):
      interval = intervals.paired_bootstrap(
        [by_id(np.zeros(len(scores)))],
        [by_id(scores)],
        resamples=500,
        seed=seed,
        of='kind',
      )
      assert f'over {len(scores)} kinds (BCa' in interval.method
      found.append(holds(interval, 0.3))
  assert LEVELS[0] <= np.mean(of_kinds) <= LEVELS[1]
  assert np.mean(of_examples) < 0.7


def test_several_seeds_of_the_same_models_cover_their_mean():
  # The truth is of these trained models, however seeds differ.
  rng, found = np.random.default_rng(1), []
  for seed in range(DRAWS):
    hard, skills = rng.normal(size=120), rng.normal(size=(2, 3, 1))
    scores = skills + hard + rng.normal(size=(2, 3, 120))
    first, second = ([by_id(run) for run in runs] for runs in scores)
    interval = intervals.paired_bootstrap(
      first, second, resamples=500, seed=seed
    )
    found.append(holds(interval, skills[1].mean() - skills[0].mean()))
  assert LEVELS[0] <= np.mean(found) <= LEVELS[1]


@pytest.mark.parametrize('seeds, spreads', [(3, (1, 1)), (5, (1, 4))])
def test_student_covers_a_known_difference(seeds, spreads):
  rng, found = np.random.default_rng(2), []
  for _ in range(DRAWS):
    first = rng.normal(3.0, spreads[0], size=seeds).tolist()
    second = rng.normal(2.5, spreads[1], size=seeds).tolist()
    found.append(holds(intervals.welch(first, second), -0.5))
  assert LEVELS[0] <= np.mean(found) <= LEVELS[1]


def test_student_covers_a_known_mean():
  rng, found = np.random.default_rng(3), []
  for _ in range(DRAWS):
    values = rng.normal(2.0, 1.0, size=3).tolist()
    found.append(holds(intervals.student(values), 2.0))
  assert LEVELS[0] <= np.mean(found) <= LEVELS[1]


FIRST, SECOND = [3.41, 3.45, 3.39], [3.30, 3.36, 3.27, 3.33]


@pytest.mark.parametrize('level', [0.9, 0.95, 0.99])
def test_welch_is_that_of_scipy(level):
  test = stats.ttest_ind(SECOND, FIRST, equal_var=False)
  expected = test.confidence_interval(level)
  found = intervals.welch(FIRST, SECOND, level)
  assert found.estimate == pytest.approx(np.mean(SECOND) - np.mean(FIRST))
  assert found[1:3] == pytest.approx(tuple(expected), rel=1e-9)
  assert found.level == level
  assert "Welch's t" in found.method and 'over 3 and 4 seeds' in found.method


def test_student_is_that_of_scipy():
  expected = stats.ttest_1samp(FIRST, 0.0).confidence_interval()
  found = intervals.student(FIRST)
  assert found[1:3] == pytest.approx(tuple(expected), rel=1e-9)
  assert found.method == "Student's t over 3 seeds"


@pytest.mark.parametrize('make', [accuracies, losses])
def test_the_bootstrap_is_that_of_scipy(make):
  first, second, _ = make(np.random.default_rng(4), 60)
  expected = stats.bootstrap(
    (second - first,),
    np.mean,
    n_resamples=40_000,
    method='BCa',
    rng=np.random.default_rng(5),
  ).confidence_interval
  found = intervals.paired_bootstrap(
    [by_id(first)], [by_id(second)], resamples=40_000
  )
  width = expected.high - expected.low
  assert found.estimate == pytest.approx(np.mean(second - first))
  assert found[1:3] == pytest.approx(tuple(expected), abs=0.03 * width)
  assert (
    found.method == 'paired bootstrap over 60 examples (BCa, 40,000 resamples)'
  )


def test_the_same_seed_draws_the_same_examples_however_many_at_once(
  monkeypatch,
):
  first, second, _ = losses(np.random.default_rng(8), 50)
  runs = [by_id(first)], [by_id(second)]
  found = intervals.paired_bootstrap(*runs, resamples=1000)
  assert intervals.paired_bootstrap(*runs, resamples=1000) == found
  assert intervals.paired_bootstrap(*runs, resamples=1000, seed=1) != found
  monkeypatch.setattr(intervals, 'MOST', 70 * 50)
  assert intervals.paired_bootstrap(*runs, resamples=1000) == found


def test_scores_of_seeds_are_averaged_before():
  first = [{'a': 0.0, 'b': 1.0}, {'b': 0.0, 'a': 1.0}]
  second = [{'a': 1.0, 'b': 0.5}]
  found = intervals.paired_bootstrap(first, second)
  assert found.estimate == 0.25  # Of 0.5 and 0.
  assert (found.low, found.high) == (0.0, 0.5)
  assert 'averaged over 2 and 1 seeds before' in found.method


def test_what_does_not_vary_has_no_width():
  for found in (
    intervals.student([0.1, 0.1, 0.1]),
    intervals.paired_bootstrap([by_id([1, 2, 3])], [by_id([2, 3, 4])]),
  ):
    assert found.low == found.estimate == found.high
  # Of one that does not, the other's spread is left.
  found = intervals.welch([1.0, 1.0], [2.0, 3.0, 4.0])
  expected = stats.ttest_1samp([2.0, 3.0, 4.0], 1.0).confidence_interval()
  assert found[1:3] == pytest.approx((expected.low - 1, expected.high - 1))


@pytest.mark.parametrize(
  'found, estimate, why',
  [
    (intervals.student([2.5]), 2.5, 'over 1 seed: one alone has no spread'),
    (intervals.welch([2.5], [2.0, 1.0]), -1.0, 'over 1 and 2 seeds: one alone'),
    (intervals.welch([1.0, 1.0], [3.0, 3.0]), 2.0, 'no two seeds differ'),
    (intervals.student([2.5, float('nan')]), None, 'a score is no number'),
    (intervals.welch([2.5, 1.0], [float('inf')] * 2), None, 'no number'),
    (
      intervals.paired_bootstrap([{'a': 1.0}], [{'a': 0.5}]),
      -0.5,
      'over 1 example: one alone',
    ),
    (
      intervals.paired_bootstrap(
        [by_id([1.0, 2.0])], [by_id([1.0, float('nan')])]
      ),
      None,
      'a score is no number',
    ),
  ],
)
def test_where_there_is_no_interval_it_says_why(found, estimate, why):
  assert found[:3] == (estimate, None, None)
  assert found.method.startswith('no interval ') and why in found.method


def test_a_summary_is_of_n_numbers():
  assert intervals.summarize([1.0, 2.0, 4.0]) == (
    3,
    pytest.approx(7 / 3),
    pytest.approx(1.5275252316519468),  # sqrt(7/3)
  )
  assert intervals.summarize([0.1] * 3) == (3, 0.1, 0.0)
  assert intervals.summarize([0.1]) == (1, 0.1, None)
  assert intervals.summarize([1.0, float('nan')]) == (2, None, None)
  assert intervals.summarize([]) == (0, None, None)


ONE = {'a': 1.0, 'b': 2.0}


@pytest.mark.parametrize(
  'first, second, words',
  [
    (
      [ONE],
      [ONE, {'a': 1.0, 'c': 2.0, 'd': 1.0}],
      "Run 1 of the second variant .* 1 \\('b'\\) missing, 2 \\('c', 'd'\\) more",
    ),
    ([ONE, {'a': 1.0}], [ONE], 'Run 1 of the first variant .* none more'),
    ([ONE], [], 'no scored example'),
    ([{}], [{}], 'no scored example'),
  ],
)
def test_examples_that_make_no_pairs_are_refused(first, second, words):
  with pytest.raises(UserError, match=words):
    intervals.paired_bootstrap(first, second)


def test_a_level_is_a_share():
  with pytest.raises(UserError, match='The level of an interval is 95'):
    intervals.student(FIRST, level=95.0)
