"""Which checkpoint is used, and when a run stops early."""

import math
import pathlib
from collections.abc import Mapping
from typing import Any

from lm.analysis.directions import higher_is_better
from lm.parallel import hosts
from lm.training import lora, run_log
from lm.training.checkpoint_files import Here, best_step
from lm.training.checkpoints import restore_params
from lm.training.lora import Lora
from lm.types import PyTree, UserError


def chosen(
  config: Mapping[str, Any], workdir: pathlib.Path, step: int | None = None
) -> tuple[PyTree, dict[str, Any]]:
  """Returns the parameters of a run that are used, and their `meta.json`.

  They are numpy arrays of the model alone, with LoRA merged in.

  Args:
    config: The config of the run.
    workdir: The workdir of the run.
    step: The step of a checkpoint; None means the best by `checkpoint.best`,
      or, if that is '', the newest intact one.
  """
  checkpoints = workdir / 'checkpoints'
  best = config.get('checkpoint', {}).get('best', '')
  if step is None and best:
    step = best_step(Here(checkpoints), best)
  params, meta = restore_params(checkpoints, step)
  return lora.merged(params, Lora(**config.get('lora', {}))), meta


def scores_of(
  config: Mapping[str, Any], workdir: pathlib.Path
) -> tuple[int, dict[str, float]]:
  """Returns the step and scores of the best checkpoint, or of the last one.

  Args:
    config: The config of the run: `checkpoint.best`.
    workdir: The workdir of the run.
  """
  path, metric = workdir / 'metrics.jsonl', config['checkpoint']['best']
  evals = [line for line in run_log.read(path) if line['split'] == 'eval']
  if not evals:  # Another process may have written them elsewhere.
    return 0, {}
  shelf = Here(workdir / 'checkpoints')
  step = best_step(shelf, metric) if metric else None
  line = next((x for x in evals if x['step'] == step), evals[-1])
  beside = ('step', 'split', *run_log.TIME_FIELDS)
  return line['step'], {k: v for k, v in line.items() if k not in beside}


class Patience:
  """Early stopping: ends a run whose evaluations no longer improve.

  Its state is read from `metrics.jsonl`, so an interrupted run ends where it
  would have ended without interruption.

  Args:
    config: The config of the run: `eval.patience` and `checkpoint.best`.
    workdir: The workdir of the run.
  """

  def __init__(self, config: Mapping[str, Any], workdir: pathlib.Path):
    self._patience = config['eval']['patience']
    self._metric = config['checkpoint']['best']
    if self._patience and not self._metric:
      raise UserError(
        f'config.eval.patience is {self._patience}, but it is not said what an'
        ' evaluation is the best by. Set config.checkpoint.best, such as to'
        " 'loss', or config.eval.patience to 0."
      )
    self._scores: list[float] = []
    path = workdir / 'metrics.jsonl'
    if self._patience and hosts.is_first() and path.exists():
      lines = run_log.read(path)
      evals = (line for line in lines if line['split'] == 'eval')
      self._scores = [_score(line, self._metric) for line in evals]

  def steps(self, start: int, num_steps: int) -> range:
    """Returns the remaining steps after `start`."""
    over = hosts.of_first(self._over())
    return range(start + 1, start + 1 if over else num_steps + 1)

  def after(self, scores: Mapping[str, float]) -> bool:
    """Records an evaluation, and returns whether it is the last."""
    if not self._patience:
      return False
    self._scores.append(_score(scores, self._metric))
    return bool(hosts.of_first(self._over()))

  def _over(self) -> bool:
    if not self._patience or not self._scores:
      return False
    best = self._scores.index(max(self._scores))
    return len(self._scores) - 1 - best >= self._patience


def _score(scores: Mapping[str, Any], metric: str) -> float:
  """Returns a score for which higher is better."""
  value = scores.get(metric)
  if value is None or math.isnan(value):
    return -math.inf
  return value if higher_is_better(metric) else -value
