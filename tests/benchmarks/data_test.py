"""The benchmark of the data runs, and says what it measured."""

import json

import pytest

from benchmarks import data


def test_the_quick_form_reports_every_number(capsys):
  data.main(quick=True)
  result = json.loads(capsys.readouterr().out.splitlines()[-1])
  building = result['building']
  assert building['ratio'] == pytest.approx(
    building['ours'] / building['encode_batch'], rel=0.05
  )
  assert building['cpu_ratio'] > 0
  measured = [
    (row['packing'], row['batch'], row['length']) for row in result['loading']
  ]
  assert measured == [
    ('windows', 12, 64),
    ('windows', 8, 256),
    ('documents', 12, 64),
    ('documents', 8, 256),
  ]
  assert all(row['tokens_per_second'] > 0 for row in result['loading'])
