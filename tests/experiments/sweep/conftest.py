"""A command in the place of training, which takes no time."""

import pathlib
import sys

import pytest

from experiments import cells

ROOT = pathlib.Path(__file__).parents[3]

# It trains as train does for who looks from outside: evaluations, a result; it
# goes on where it stands, and saves when it is told to stop. The loss is the
# distance of the rate from 1e-3, in orders of magnitude.
TRAINS = """
import json, math, pathlib, signal, sys, time
flags = dict(word.split('=', 1) for word in sys.argv[1:])
place = pathlib.Path(flags['--workdir'])
rate = float(flags.get('--config.optimizer.learning_rate', 1e-3))
seconds = float(flags.get('--config.log.slow_step', 0))
place.mkdir(parents=True, exist_ok=True)
with (place / 'started').open('a') as file:
  file.write('x')
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
metrics = place / 'metrics.jsonl'
done = len(metrics.read_text().splitlines()) if metrics.exists() else 0
for step in range(done + 1, 5):
  time.sleep(seconds)
  if stop:
    sys.exit(143)
  loss = abs(math.log10(rate) + 3) + 1 / step
  line = {'step': step, 'split': 'eval', 'loss': loss, 'accuracy': 0.5}
  with metrics.open('a') as file:
    file.write(json.dumps(line) + '\\n')
if rate > 0.5:
  sys.exit('It diverged.')
print(json.dumps({'workdir': str(place), **line}))
"""


@pytest.fixture
def stub(tmp_path):
  """Returns what a command is replaced by."""
  path = tmp_path / 'trains.py'
  path.write_text(TRAINS)
  # Neither site packages nor their hooks: it begins at once.
  return [sys.executable, '-S', '-E', str(path)]


@pytest.fixture
def trained(stub, monkeypatch):
  """Makes sweeps of this process call the stub."""
  monkeypatch.chdir(ROOT)
  monkeypatch.setattr(cells, 'program', lambda name: stub)
  monkeypatch.setattr(cells, 'POLL', 0.02)


@pytest.fixture
def write(tmp_path):
  """Returns what writes the file of a sweep, given what it returns."""

  def write(returned):
    path = tmp_path / 'sweep.py'
    path.write_text(f'def get_sweep(over):\n  return {returned}\n')
    return str(path)

  return write
