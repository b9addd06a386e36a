"""The report warns where its own numbers say that something was not fair."""

import copy
import json
import pathlib

from lm.comparison import report, tables

RESULTS = pathlib.Path(__file__).parents[2] / 'benchmarks/results/studies'


def test_a_rate_that_was_chosen_too_early_is_told():
  found = json.loads((RESULTS / 'families.json').read_text())
  assert tables.behind_trials(found) == []
  early = copy.deepcopy(found)
  early['rows']['bert']['1']['loss'] = 6.37  # Its trial ended at 6.36.
  assert tables.behind_trials(early) == ['bert (seed 1)']
  assert any('No better' in part for part in report._rates(early))
  assert not any('No better' in part for part in report._rates(found))
  # A trial that failed has no loss, nor has a run that diverged.
  early['trials']['bert'] = {'0.001': None}
  del early['rows']['gpt']['0']['loss']
  assert tables.behind_trials(early) == []


def test_a_trial_without_a_loss_has_diverged_once_a_rate_was_taken():
  found = json.loads((RESULTS / 'families.json').read_text())
  rates = [f'{rate:g}' for rate in found['study']['tuning']['learning_rates']]
  found['trials']['bert'][rates[-1]] = None
  row_of = lambda name: {row[0]: row for row in tables.rates_table(found)[1]}[
    name
  ]
  assert row_of('bert')[-2] == 'diverged'
  found['rates']['bert'] = None
  assert row_of('bert')[-2] == '-'


def test_a_seed_that_did_not_learn_is_told_even_if_its_trial_was_whole():
  found = json.loads((RESULTS / 'masking_rate.json').read_text())
  assert found['study']['tuning']['share'] == 1
  stayed = ['30_per_cent (seed 0)', '40_per_cent (seed 0)']
  assert tables.behind_trials(found) == stayed
  [told] = tables.doubts(found)
  assert told.startswith('More than 0.1 nats worse than the trial')
  assert all(run in told for run in stayed)
