"""A run follows a curve if it is where other seeds are."""

import json

import pytest

from lm.analysis import curves
from lm.types import UserError

SEEDS = [{10: 3.0, 20: 2.0}, {10: 3.2, 20: 2.0, 30: 1.0}]
REFERENCE = curves.summarize(SEEDS) | {'tolerance': 0.05}


def test_seeds_are_summarized_at_the_steps_that_all_have():
  assert REFERENCE['step'] == [10, 20]
  assert REFERENCE['mean'] == pytest.approx([3.1, 2.0])
  # Of 3.0 and 3.2 with n - 1: sqrt(0.01 + 0.01).
  assert REFERENCE['standard_deviation'] == pytest.approx([0.02**0.5, 0.0])


@pytest.mark.parametrize(
  ('curve', 'expected'),
  [
    ({10: 3.6, 20: 2.04}, True),  # 4 deviations are 0.57; 0.05 is the least.
    ({10: 3.7, 20: 2.0}, False),
    ({10: 3.1, 20: 1.94}, False),  # Better than the reference is off as well.
    ({20: 2.0, 40: 9.0}, True),
  ],
)
def test_a_curve_follows_within_what_is_allowed(curve, expected):
  assert curves.follows(curve, REFERENCE)['follows'] is expected


def test_curves_without_a_common_step_cannot_be_compared():
  with pytest.raises(UserError, match=r'config\.eval\.every'):
    curves.follows({5: 1.0}, REFERENCE)


def test_a_curve_is_read_from_the_metrics_of_a_run(tmp_path):
  rows = [
    {'step': 1, 'split': 'train', 'loss': 9.0},
    {'step': 2, 'split': 'eval', 'loss': 4.0},
  ]
  text = ''.join(json.dumps(row) + '\n' for row in rows)
  (tmp_path / 'metrics.jsonl').write_text(text)
  assert curves.read(tmp_path) == {2: 4.0}
  with pytest.raises(UserError, match=r'metrics\.jsonl'):
    curves.read(tmp_path / 'none')
