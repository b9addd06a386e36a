"""What a run reports while it trains: files, boards, log lines or a bar."""

import atexit
import json
import math
import pathlib
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

import rich.console
from absl import logging
from rich import progress

from lm.analysis import memory, plots
from lm.data import atomic
from lm.training.boards import Board, Boards, outcome_of
from lm.types import UserError

# Only these differ between two bitwise identical runs.
TIME_FIELDS = (
  'seconds',
  'tokens_per_second',
  'model_flops_utilization',
  'peak_bytes',
)

Metrics = Mapping[str, float]


class RunLog:
  """Writes `metrics.jsonl` and `samples.jsonl`, and shows them on boards.

  Lines that an interrupted run wrote after the step that it is restored from
  are dropped, so the files end up as if it had never been interrupted.

  Args:
    workdir: Where the files are.
    start: The step after which the run starts; 0 for a new one.
    num_steps: The last step.
    every: Steps between two lines of training metrics.
    board: Where the run is displayed; it is closed with the log, which, as a
      context, tells it how the run ends.
    tokens_of_step: How many tokens a step has, over all devices.
    peak_tokens_per_second: The peak throughput of the devices, if known.
    active: Whether this process writes; in all but one, the log does nothing.
  """

  def __init__(
    self,
    workdir: pathlib.Path,
    *,
    start: int,
    num_steps: int,
    every: int,
    board: Board | None = None,
    tokens_of_step: Callable[[int], int],
    peak_tokens_per_second: float | None = None,
    active: bool = True,
  ):
    if every < 1:
      raise UserError(
        f'every is {every}, but it is a number of steps. Set config.log.every'
        ' to 1 or more.'
      )
    self._active, self.every = active, every
    if not active:
      return
    self._num_steps = num_steps
    self._tokens_of_step = tokens_of_step
    self._peak = peak_tokens_per_second
    self._last_time = math.nan  # The first step compiles: it is not timed.
    self._seconds, self._timed_steps = 0.0, 0
    self._workdir = workdir
    workdir.mkdir(parents=True, exist_ok=True)
    self._metrics = append_after(workdir / 'metrics.jsonl', start)
    self._samples = append_after(workdir / 'samples.jsonl', start)
    self._board = board or Boards({})
    self._bar = _Bar(start, num_steps) if sys.stderr.isatty() else None

  def __enter__(self):
    return self

  def __exit__(self, kind, error, trace):
    self.close(error)

  def train(self, step: int, metrics: Metrics) -> None:
    """Takes the metrics of every step, and writes those of every N-th."""
    if not self._active:
      return
    now = time.perf_counter()
    if not math.isnan(self._last_time):
      self._seconds += now - self._last_time
      self._timed_steps += 1
    self._last_time = now
    speed = self._speed(step)
    if self._bar:
      self._bar.show(step, metrics['loss'], speed.get('tokens_per_second'))
    if step % self.every == 0:
      used = {'peak_bytes': memory.peak()}
      self._write(step, 'train', {**metrics, **speed, **used})
      self._seconds, self._timed_steps = 0.0, 0
      if not self._bar:
        logging.info('%s', self._line(step, metrics['loss'], speed))

  def eval(self, step: int, metrics: Metrics) -> None:
    """Writes the scores of an evaluation, and plots the loss so far."""
    if not self._active:
      return
    self._write(step, 'eval', metrics)
    values = ', '.join(
      f'{name} {metrics[name]:.4f}' for name in sorted(metrics)
    )
    logging.info('Evaluation at step %d: %s', step, values)
    lines = read(self._workdir / 'metrics.jsonl')
    curve = self._workdir / 'plots/loss.png'
    plots.loss(lines, curve, self._workdir.name)
    self._board.image(step, 'curve', curve)
    self._last_time = time.perf_counter()

  def sample(self, step: int, prompt: str, text: str) -> None:
    """Writes the model's continuation of a prompt."""
    if not self._active:
      return
    _write_line(self._samples, {'step': step, 'prompt': prompt, 'text': text})
    self._board.text(step, 'sample', prompt + text)
    logging.info('Sample at step %d: %s%s', step, prompt, text)
    self._last_time = time.perf_counter()

  def close(self, error: BaseException | None = None) -> None:
    """Ends the bar, and closes the files and the board.

    Args:
      error: What has ended the run; None means its last step.
    """
    if not self._active:
      return
    if self._bar:
      self._bar.close()
    self._metrics.close()
    self._samples.close()
    self._board.close(outcome_of(error))

  def _write(self, step: int, split: str, metrics: Metrics) -> None:
    finite = {
      name: metrics[name] if math.isfinite(metrics[name]) else None
      for name in sorted(metrics)
    }
    _write_line(self._metrics, {'step': step, 'split': split, **finite})
    shown = {f'{split}/{k}': v for k, v in finite.items() if v is not None}
    self._board.scalars(step, shown)

  def _speed(self, step: int) -> dict[str, float]:
    if not self._timed_steps:
      return {}
    seconds = self._seconds / self._timed_steps
    rate = self._tokens_of_step(step) / seconds
    speed = {'seconds': seconds, 'tokens_per_second': rate}
    if self._peak:
      speed['model_flops_utilization'] = rate / self._peak
    return speed

  def _line(self, step: int, loss: float, speed: Metrics) -> str:
    line = f'Step {step}/{self._num_steps}: loss {loss:.4f}'
    if speed:
      left = round((self._num_steps - step) * speed['seconds'])
      rate = speed['tokens_per_second']
      line += f', {rate:,.0f} tokens/s, {left // 60}:{left % 60:02} left'
    return line


class _Bar:
  """A progress bar at the bottom of a terminal, below what is logged."""

  def __init__(self, start: int, num_steps: int):
    self._progress = progress.Progress(
      progress.MofNCompleteColumn(),
      progress.BarColumn(bar_width=None),
      progress.TextColumn('loss {task.fields[loss]:.4f}'),
      progress.TextColumn('{task.fields[rate]:,.0f} tokens/s'),
      progress.TimeRemainingColumn(),
      console=rich.console.Console(stderr=True),
    )
    self._task = self._progress.add_task(
      '', total=num_steps, completed=start, loss=math.nan, rate=math.nan
    )
    self._progress.start()
    atexit.register(self._progress.stop)  # It restores the cursor.
    logging.get_absl_handler().python_handler.setStream(sys.stderr)

  def show(self, step: int, loss: float, rate: float | None) -> None:
    fields = {'loss': loss} if rate is None else {'loss': loss, 'rate': rate}
    self._progress.update(self._task, completed=step, **fields)

  def close(self) -> None:
    self._progress.stop()
    logging.get_absl_handler().python_handler.setStream(sys.stderr)


def read(path: pathlib.Path) -> list[dict[str, Any]]:
  """Returns the lines of a JSON lines file, except a truncated last one.

  Raises:
    UserError: Another line is not JSON.
  """
  whole, _, _ = path.read_bytes().rpartition(b'\n')
  lines = []
  for number, line in enumerate(whole.splitlines(), start=1):
    try:
      lines.append(json.loads(line))
    except ValueError as error:
      raise UserError(
        f'Line {number} of {path} is not JSON ({error}). Mend or remove it.'
      ) from error
  return lines


def last_scores(workdir: pathlib.Path) -> dict[str, Any]:
  """Returns the last evaluation that a run recorded."""
  lines = read(workdir / 'metrics.jsonl')
  scores = [line for line in lines if line['split'] == 'eval']
  return scores[-1] if scores else {}


def append_after(path: pathlib.Path, step: int) -> TextIO:
  """Opens a file to append lines to, after dropping those of later steps."""
  if path.exists():
    kept = [line for line in read(path) if line['step'] <= step]
    text = ''.join(map(_text, kept)).encode()
    if text != path.read_bytes():
      with atomic.new_file(path) as part:
        part.write_bytes(text)
  return path.open('a', encoding='utf-8')


def _write_line(file: TextIO, line: Mapping[str, Any]) -> None:
  file.write(_text(line))
  file.flush()  # So that a killed process loses nothing.


def _text(line: Mapping[str, Any]) -> str:
  return json.dumps(line, ensure_ascii=False, allow_nan=False) + '\n'
