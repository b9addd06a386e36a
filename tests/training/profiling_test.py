"""A run leaves a trace of the steps that it was told to trace, and no others."""

import gzip
import json

import jax
import jax.numpy as jnp
import pytest

from lm.training import loop, profiling
from lm.types import UserError
from tests.training import loop_test


def traced_steps(directory):
  """Returns the steps of the one trace in `directory`."""
  [file] = directory.rglob('*.trace.json.gz')
  events = json.loads(gzip.decompress(file.read_bytes()))['traceEvents']
  return sorted(
    int(event['args']['step_num'])
    for event in events
    if event.get('name') == 'train' and 'step_num' in event.get('args', {})
  )


def test_a_run_traces_the_steps_between_and_both_ends(tmp_path):
  config = loop_test.configure(tmp_path / 'cache', log__profile='2:4')
  loop.train(config, tmp_path / 'run')
  assert traced_steps(tmp_path / 'run/profile') == [2, 3, 4]


@pytest.mark.parametrize('steps', [range(3, 6), range(4, 5)])
def test_a_trace_ends_with_the_last_step_or_with_the_run(tmp_path, steps):
  step_of = jax.jit(lambda x: x + 1)
  state = jnp.zeros(())
  with profiling.tracing(steps, tmp_path) as trace:
    for step in range(1, 6):
      trace(step, state)
      state = step_of(state)
  assert traced_steps(tmp_path) == [*steps]


def test_without_steps_there_is_no_trace(tmp_path):
  with profiling.tracing(profiling.steps_of('', 3), tmp_path) as trace:
    for step in range(4):
      trace(step, None)
  assert [*tmp_path.iterdir()] == []


def test_a_span_has_both_of_its_ends():
  assert profiling.steps_of('2:4', 4) == range(2, 5)


@pytest.mark.parametrize('span', ['4:3', '0:3', '3:7', '3', 'a:b', '-1:2'])
def test_what_are_no_steps_of_the_run_is_refused_before_it_begins(
  tmp_path, span
):
  config = loop_test.configure(tmp_path / 'cache', log__profile=span)
  with pytest.raises(UserError, match=r'config\.log\.profile to a span'):
    loop.train(config, tmp_path / 'run')
  assert not (tmp_path / 'run').exists()
