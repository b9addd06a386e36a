"""The report warns where its own numbers say that something was not fair."""

import copy
import json
import pathlib

from lm.comparison import report, tables

RESULTS = pathlib.Path(__file__).parents[2] / 'benchmarks/results/studies'


def test_a_rate_that_was_chosen_too_early_is_told():
  found = json.loads((RESULTS / 'families.json').read_text())
  assert tables.no_better_than_trials(found) == []
  early = copy.deepcopy(found)
  early['table']['loss']['bert']['mean'] = 6.5  # Its trial ended at 6.36.
  assert tables.no_better_than_trials(early) == ['bert']
  assert any('No better' in part for part in report._rates(early))
  assert not any('No better' in part for part in report._rates(found))
  # A trial of a whole run has nothing that could be lost; one that failed has
  # no loss.
  early['study']['tuning']['share'] = 1.0
  assert tables.no_better_than_trials(early) == []
  early['study']['tuning']['share'] = 0.3
  early['trials']['bert'] = {'0.001': None}
  early['table']['loss']['gpt'] = {'mean': None}
  assert tables.no_better_than_trials(early) == []
