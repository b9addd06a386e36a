"""A run that is told to stop saves; one that is told again ends at once."""

import signal

import pytest

from lm.training import stopping


def test_a_second_signal_at_once_is_the_same(monkeypatch):
  now = 100.0
  monkeypatch.setattr(stopping.time, 'monotonic', lambda: now)
  ended = []
  before = signal.signal(signal.SIGTERM, lambda *_: ended.append(now))
  try:
    with stopping.on_signals() as request:
      assert not request.agreed
      for seconds in (0.0, 0.1, 1.0):
        now = 100.0 + seconds
        signal.raise_signal(signal.SIGTERM)
      assert request.agreed and request.signal == signal.SIGTERM
      assert not ended
      now = 105.0
      signal.raise_signal(signal.SIGTERM)
      assert ended == [105.0]
  finally:
    signal.signal(signal.SIGTERM, before)


def test_a_run_ends_as_its_signal_would_end_it():
  request = stopping.Request()
  request.signal = signal.SIGINT
  with pytest.raises(SystemExit) as raised:
    stopping.leave(request, 3)
  assert raised.value.code == 130
