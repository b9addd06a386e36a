"""A run that hangs says where."""

import time

import pytest

from lm.training import watchdog


@pytest.fixture
def told(monkeypatch, capfd):
  """Returns what was printed when steps took these seconds."""
  monkeypatch.setattr(watchdog, 'LEAST', 0.2)

  def run(spans, factor=3.0):
    with watchdog.watching(factor) as beat:
      for step, seconds in enumerate(spans, start=1):
        beat(step)
        time.sleep(seconds)
    return capfd.readouterr().err

  return run


def test_all_stacks_are_shown_once_a_step_takes_too_long(told, caplog):
  stacks = told([0.01] * 5 + [0.6])
  assert stacks.count('in watch') == 1 and 'watchdog_test.py' in stacks
  [record] = [r for r in caplog.records if 'has taken' in r.getMessage()]
  assert record.getMessage().startswith('Step 6 has taken 0 s')


def test_nobody_is_suspected_too_early(told):
  assert told([0.15, 0.15, 0.15, 0.15, 0.3], factor=3.0) == ''
  assert told([0.01, 0.6]) == ''  # What is usual is not known yet.
  assert told([0.01] * 5 + [0.6], factor=0.0) == ''
