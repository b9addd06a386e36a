"""What a run says of itself is complete, and the same after a restart."""

import io
import json
import math
import sys
import time

import pytest
from absl import logging
from tensorboardX.proto import event_pb2

from lm.training import boards, run_log
from lm.types import UserError


def begin(workdir, **settings) -> run_log.RunLog:
  defaults = {
    'start': 0,
    'num_steps': 40,
    'every': 10,
    'tokens_of_step': lambda step: 1000,
  }
  return run_log.RunLog(workdir, **defaults | settings)


def go_on(log: run_log.RunLog, first: int, last: int) -> None:
  """Logs steps whose metrics depend on the step alone."""
  for step in range(first, last + 1):
    log.train(step, {'loss': 5 / step, 'grad_norm': 0.1 * step})
    if step % 20 == 0:
      log.eval(step, {'loss': 6 / step, 'bits_per_byte': 2.0})
      log.sample(step, 'Once', f' upon a time {step} 次')


def without_time(path) -> list[str]:
  lines = run_log.read(path)
  for line in lines:
    for field in run_log.TIME_FIELDS:
      line.pop(field, None)
  return [json.dumps(line) for line in lines]


def test_every_nth_step_and_every_evaluation_is_a_line(tmp_path):
  log = begin(tmp_path)
  go_on(log, 1, 20)
  log.close()
  assert without_time(tmp_path / 'metrics.jsonl') == [
    '{"step": 10, "split": "train", "grad_norm": 1.0, "loss": 0.5}',
    '{"step": 20, "split": "train", "grad_norm": 2.0, "loss": 0.25}',
    '{"step": 20, "split": "eval", "bits_per_byte": 2.0, "loss": 0.3}',
  ]
  assert (tmp_path / 'samples.jsonl').read_text(encoding='utf-8') == (
    '{"step": 20, "prompt": "Once", "text": " upon a time 20 次"}\n'
  )


@pytest.mark.parametrize(
  'interrupted_at, restored', [(37, 20), (20, 20), (19, 0)]
)
@pytest.mark.parametrize('tail', ['', '{"step": 38, "spl', '{"step'])
def test_an_interrupted_run_ends_with_the_same_lines(
  tmp_path, interrupted_at, restored, tail
):
  whole, broken = tmp_path / 'whole', tmp_path / 'broken'
  log = begin(whole)
  go_on(log, 1, 40)
  log.close()
  log = begin(broken)
  go_on(log, 1, interrupted_at)
  log.close()
  for name in ('metrics.jsonl', 'samples.jsonl'):
    with (broken / name).open('a') as file:
      file.write(tail)
  log = begin(broken, start=restored)
  go_on(log, restored + 1, 40)
  log.close()
  files = {path.name for path in broken.iterdir()}
  assert files == {'metrics.jsonl', 'samples.jsonl', 'plots'}
  for name in ('metrics.jsonl', 'samples.jsonl'):
    assert without_time(broken / name) == without_time(whole / name)
    assert (broken / name).read_text().endswith('}\n')


def test_lines_are_there_before_the_run_ends(tmp_path):
  log = begin(tmp_path)
  go_on(log, 1, 20)
  assert len(run_log.read(tmp_path / 'metrics.jsonl')) == 3
  assert len(run_log.read(tmp_path / 'samples.jsonl')) == 1
  log.close()


def test_a_line_that_is_not_json_is_an_error(tmp_path):
  path = tmp_path / 'metrics.jsonl'
  path.write_text('{"step": 1}\n{"step": \n{"step": 3}\n')
  with pytest.raises(UserError, match=r'Line 2 of .*metrics.jsonl is not JSON'):
    begin(tmp_path, start=3)


def test_what_is_not_a_number_is_null(tmp_path):
  log = begin(tmp_path, board=boards.TensorBoard(tmp_path, 0))
  log.eval(5, {'loss': math.nan, 'grad_norm': math.inf, 'accuracy': 0.5})
  log.close()
  assert (tmp_path / 'metrics.jsonl').read_text() == (
    '{"step": 5, "split": "eval", "accuracy": 0.5, "grad_norm": null,'
    ' "loss": null}\n'
  )


def test_speed_counts_training_alone(tmp_path, monkeypatch):
  now = 100.0
  monkeypatch.setattr(time, 'perf_counter', lambda: now)
  log = begin(tmp_path, every=2, peak_tokens_per_second=16_000.0)
  # The first step compiles, and the evaluation takes long: neither counts.
  for step, seconds in enumerate([50.0, 0.25, 0.125, 0.125], start=1):
    now += seconds
    log.train(step, {'loss': 1.0})
    if step == 2:
      now += 70
      log.eval(step, {'loss': 1.0})
  log.close()
  lines = run_log.read(tmp_path / 'metrics.jsonl')
  speeds = [line for line in lines if line['split'] == 'train']
  assert [line['seconds'] for line in speeds] == [0.25, 0.125]
  assert [line['tokens_per_second'] for line in speeds] == [4000.0, 8000.0]
  assert [line['model_flops_utilization'] for line in speeds] == [0.25, 0.5]
  assert set(speeds[0]) == {*run_log.TIME_FIELDS, 'step', 'split', 'loss'}


def test_without_a_terminal_there_is_a_plain_line(tmp_path, monkeypatch):
  said = []
  monkeypatch.setattr(
    logging, 'info', lambda text, *values: said.append(text % values)
  )
  now = 0.0
  monkeypatch.setattr(time, 'perf_counter', lambda: now)
  log = begin(tmp_path)
  for step in range(1, 11):
    now += 2.5
    log.train(step, {'loss': 3.0})
  log.close()
  assert said == ['Step 10/40: loss 3.0000, 400 tokens/s, 1:15 left']


class Terminal(io.StringIO):
  """What stderr is where a person looks on."""

  def isatty(self) -> bool:
    return True


def test_a_terminal_shows_a_bar(tmp_path, monkeypatch):
  monkeypatch.setenv('TERM', 'xterm')
  monkeypatch.setenv('COLUMNS', '100')
  terminal = Terminal()
  monkeypatch.setattr(sys, 'stderr', terminal)
  log = begin(tmp_path)
  go_on(log, 1, 40)
  log.close()
  shown = terminal.getvalue()
  assert '40/40' in shown
  assert 'loss 0.1250' in shown
  assert 'tokens/s' in shown
  assert sys.stderr is terminal
  assert logging.get_absl_handler().python_handler.stream is terminal
  logging.get_absl_handler().python_handler.setStream(sys.__stderr__)


def scalars(workdir) -> dict[str, list[tuple[int, float]]]:
  """Reads TensorBoard's files by the format of TFRecord."""
  found: dict[str, list[tuple[int, float]]] = {}
  for path in sorted((workdir / 'tensorboard').iterdir()):
    data = path.read_bytes()
    while data:
      length = int.from_bytes(data[:8], 'little')
      event = event_pb2.Event.FromString(data[12 : 12 + length])
      data = data[16 + length :]
      for value in event.summary.value:
        if value.HasField('simple_value'):
          found.setdefault(value.tag, []).append(
            (event.step, value.simple_value)
          )
  return found


def test_tensorboard_shows_the_same_numbers(tmp_path):
  log = begin(tmp_path, board=boards.TensorBoard(tmp_path, 0))
  go_on(log, 1, 20)
  log.close()
  shown = scalars(tmp_path)
  assert shown['train/loss'] == [(10, 0.5), (20, 0.25)]
  assert shown['eval/bits_per_byte'] == [(20, 2.0)]
  assert 'train/tokens_per_second' in shown


def test_other_processes_say_nothing(tmp_path):
  unmade = boards.TensorBoard.__new__(boards.TensorBoard)  # It would fail.
  log = begin(tmp_path, board=unmade, active=False)
  go_on(log, 1, 40)
  log.close()
  assert list(tmp_path.iterdir()) == []


def test_a_span_of_no_steps_is_an_error(tmp_path):
  with pytest.raises(UserError, match=r'every is 0.*config\.log\.every'):
    begin(tmp_path, every=0)
