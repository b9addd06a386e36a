"""The benchmark of scaling runs, and depth costs next to nothing to compile."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
RESULTS = ROOT / 'benchmarks/results/scaling.json'


@pytest.mark.processes
@pytest.mark.slow
def test_the_quick_form_reports_every_number():
  done = subprocess.run(  # It takes the devices away from who calls it.
    [sys.executable, '-m', 'benchmarks.scaling', '--quick'],
    cwd=ROOT,
    env=os.environ | {'JAX_PLATFORMS': 'cpu'},
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  result = json.loads(done.stdout.splitlines()[-1])
  first, second = result['compiling']['seconds']
  assert result['compiling']['ratio'] == pytest.approx(second / first)
  rows = {
    (row['layout'], row['devices']): row for row in result['weak_scaling']
  }
  assert len(rows) == 8
  for (layout, devices), row in rows.items():
    axes = {axis for one in row['collectives'] for axis in one['axes']}
    assert axes == ({layout} if devices > 1 else set())
  whole, half = (rows['fsdp', n]['parameters_per_device'] for n in (1, 2))
  assert 0.5 < half / whole < 0.6
  assert result.keys() == json.loads(RESULTS.read_text()).keys()


def test_what_is_recorded_keeps_what_is_promised():
  result = json.loads(RESULTS.read_text())
  assert result['compiling']['layers'] == [12, 48]
  assert result['compiling']['ratio'] < 1.3
  by_layout = {}
  for row in result['weak_scaling']:
    times = sum(one['times'] for one in row['collectives'])
    by_layout.setdefault(row['layout'], []).append(times)
  for one, *more in by_layout.values():  # As many on 2 as on 8.
    assert one == 0 and len(set(more)) == 1
