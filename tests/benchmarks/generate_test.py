"""The benchmark of generation runs, and both make the same texts."""

import json

import pytest

from benchmarks import generate


@pytest.mark.peers
@pytest.mark.slow
def test_the_tiny_form_measures_every_case_and_both_agree(capsys, tmp_path):
  out = tmp_path / 'generate.json'
  out.write_text(json.dumps({'cases': {'of before': {}}}))
  generate.main(turns=2, tiny=True, out=str(out))
  result = json.loads(capsys.readouterr().out.splitlines()[-1])
  assert result == json.loads(out.read_text())
  assert result['cases'].keys() == {'of before', *generate.CASES}
  for name in generate.CASES:
    case = result['cases'][name]
    assert case['agree'] == 1.0
    assert min(case['tokens_per_second'].values()) > 0
    assert case['ratio']['low'] <= case['ratio']['high']
