"""Where people look at a run: TensorBoard, Weights & Biases, MLflow.

`metrics.jsonl` is the record of a run; a board shows what is in it. Each goes on
with the same run after an interruption. Where and as whom is said by the
variables of each one's own documentation: WANDB_PROJECT, WANDB_MODE=offline,
MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME.
"""

import importlib.util
import json
import netrc
import os
import pathlib
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import matplotlib.image
from absl import logging

from lm.data import atomic
from lm.training import run_config
from lm.types import UserError

WORKS = 'works'
NAME = 'lm'  # Of the project or the experiment, if no variable says another.
# How a run ends; one that was killed has saved, and may be resumed.
Outcome = Literal['finished', 'failed', 'killed']


@runtime_checkable
class Board(Protocol):
  """What a run is shown on."""

  def scalars(self, step: int, values: Mapping[str, float]) -> None:
    """Shows numbers, such as `train/loss`."""

  def text(self, step: int, name: str, text: str) -> None:
    """Shows a text."""

  def image(self, step: int, name: str, path: pathlib.Path) -> None:
    """Shows a PNG."""

  def close(self, outcome: Outcome = 'finished') -> None:
    """Sends what was not sent yet, and shows how the run has ended."""


class TensorBoard:
  """Files in WORKDIR/tensorboard, by `tensorboardX`."""

  def __init__(self, workdir: pathlib.Path, start: int):
    import tensorboardX  # It imports torch, if that is installed: seconds.

    self._writer = tensorboardX.SummaryWriter(
      str(workdir / 'tensorboard'), purge_step=start + 1, flush_secs=10
    )

  def scalars(self, step: int, values: Mapping[str, float]) -> None:
    for name, value in values.items():
      self._writer.add_scalar(name, value, step)

  def text(self, step: int, name: str, text: str) -> None:
    self._writer.add_text(name, text, step)

  def image(self, step: int, name: str, path: pathlib.Path) -> None:
    pixels = matplotlib.image.imread(path)
    self._writer.add_image(name, pixels, step, dataformats='HWC')

  def close(self, outcome: Outcome = 'finished') -> None:
    del outcome  # It shows no such thing.
    self._writer.close()


class WeightsAndBiases:
  """A run of W&B. Steps that it has seen before an interruption it keeps."""

  def __init__(self, workdir: pathlib.Path, start: int):
    del start
    import wandb

    self._wandb = wandb
    self._run = wandb.init(
      project=os.environ.get('WANDB_PROJECT', NAME),
      name=workdir.name,
      id=_known(workdir, 'wandb'),
      resume='allow',
      dir=str(workdir),
      config=_config(workdir),
      settings=wandb.Settings(silent=True),
    )
    _keep(workdir, 'wandb', self._run.id)

  def scalars(self, step: int, values: Mapping[str, float]) -> None:
    self._run.log(dict(values), step=step)

  def text(self, step: int, name: str, text: str) -> None:
    table = self._wandb.Table(columns=['step', 'text'], data=[[step, text]])
    self._run.log({name: table}, step=step)

  def image(self, step: int, name: str, path: pathlib.Path) -> None:
    self._run.log({name: self._wandb.Image(str(path))}, step=step)

  def close(self, outcome: Outcome = 'finished') -> None:
    self._run.finish(exit_code=0 if outcome == 'finished' else 1)


class MLflow:
  """A run of MLflow: in WORKDIR/mlruns, if MLFLOW_TRACKING_URI says no other."""

  def __init__(self, workdir: pathlib.Path, start: int):
    del start
    # Files need no database, but are given no new features.
    os.environ.setdefault('MLFLOW_ALLOW_FILE_STORE', 'true')
    import mlflow

    own = (workdir / 'mlruns').absolute().as_uri()
    client = mlflow.MlflowClient(os.environ.get('MLFLOW_TRACKING_URI', own))
    name = os.environ.get('MLFLOW_EXPERIMENT_NAME', NAME)
    found = client.get_experiment_by_name(name)
    experiment = (
      client.create_experiment(name) if found is None else found.experiment_id
    )
    self._client, self._id = client, _known(workdir, 'mlflow')
    if self._id is None:
      self._id = client.create_run(
        experiment, run_name=workdir.name
      ).info.run_id
      for key, value in _config(workdir).items():
        client.log_param(self._id, key, value)
      _keep(workdir, 'mlflow', self._id)
    client.update_run(self._id, status='RUNNING')

  def scalars(self, step: int, values: Mapping[str, float]) -> None:
    for name, value in values.items():
      self._client.log_metric(self._id, name, value, step=step)

  def text(self, step: int, name: str, text: str) -> None:
    self._client.log_text(self._id, text, f'{name}/{step}.txt')

  def image(self, step: int, name: str, path: pathlib.Path) -> None:
    del step  # A new one takes the place of the last.
    self._client.log_artifact(self._id, str(path), name)

  def close(self, outcome: Outcome = 'finished') -> None:
    self._client.set_terminated(self._id, outcome.upper())


BOARDS = {
  'tensorboard': TensorBoard,
  'wandb': WeightsAndBiases,
  'mlflow': MLflow,
}
PACKAGES = {
  'tensorboard': 'tensorboardX',
  'wandb': 'wandb',
  'mlflow': 'mlflow-skinny',
}
KEYLESS = ('offline', 'dryrun', 'disabled')  # Modes of W&B that send nothing.
KEYS = ('WANDB_API_KEY', 'WANDB_IDENTITY_TOKEN_FILE')
WANDB_URL = 'https://api.wandb.ai'


class Boards:
  """Several boards as one; a run goes on without one that fails."""

  def __init__(self, boards: Mapping[str, Board]):
    self._boards = dict(boards)

  def scalars(self, step: int, values: Mapping[str, float]) -> None:
    self._each(lambda board: board.scalars(step, values))

  def text(self, step: int, name: str, text: str) -> None:
    self._each(lambda board: board.text(step, name, text))

  def image(self, step: int, name: str, path: pathlib.Path) -> None:
    self._each(lambda board: board.image(step, name, path))

  def close(self, outcome: Outcome = 'finished') -> None:
    self._each(lambda board: board.close(outcome))

  def _each(self, show: Callable[[Board], None]) -> None:
    for name, board in [*self._boards.items()]:
      try:
        show(board)
      except Exception as error:  # Whatever its network or its disk has.
        _give_up(name, error)
        del self._boards[name]


def _give_up(name: str, error: Exception) -> None:
  logging.warning(
    'From here on the run is not shown on %s: %r. It goes on, and metrics.jsonl'
    ' has it all.',
    name,
    error,
  )


def open_all(names: Sequence[str], workdir: pathlib.Path, start: int) -> Boards:
  """Returns the boards of a run that open; they go on after step `start`."""
  opened = {}
  for name in names:
    try:
      opened[name] = BOARDS[name](workdir, start)
    except Exception as error:  # A server that cannot be reached, or refuses.
      _give_up(name, error)
  return Boards(opened)


def outcome_of(error: BaseException | None) -> Outcome:
  """Returns how a run has ended, by the exception that ended it, if any.

  A run that was told to stop ends by SystemExit, which is no Exception.
  """
  if error is None:
    return 'finished'
  return 'failed' if isinstance(error, Exception) else 'killed'


def check(names: Sequence[str], env: Mapping[str, str] = os.environ) -> None:
  """Raises UserError if a run with this environment could not use a board."""
  for name in names:
    if not (found := state(name, env)).startswith(WORKS):
      raise UserError(
        f'config.log.boards has {name!r}, but it is {found}. Mend that, or leave'
        ' it out.'
      )


def installed(name: str) -> bool:
  """Returns whether what a board needs is there."""
  module = PACKAGES[name].removesuffix('-skinny')
  return importlib.util.find_spec(module) is not None


def state(name: str, env: Mapping[str, str] = os.environ) -> str:
  """Returns what a run with this environment would find of a board."""
  if not installed(name):
    return f'not installed: pip install {PACKAGES[name]}'
  if name == 'wandb' and env.get('WANDB_MODE') not in KEYLESS:
    host = urllib.parse.urlsplit(env.get('WANDB_BASE_URL', WANDB_URL)).netloc
    if not {*KEYS} & env.keys() and not _is_in_netrc(host, env):
      return (
        f'without a key for {host}: wandb login, or set WANDB_BASE_URL (of a'
        ' server of your own) or WANDB_MODE=offline'
      )
  where = {
    'tensorboard': 'files in WORKDIR/tensorboard',
    'wandb': env.get('WANDB_MODE', 'online'),
    'mlflow': env.get('MLFLOW_TRACKING_URI', 'files in WORKDIR/mlruns'),
  }
  return f'{WORKS}: {where[name]}'


def _is_in_netrc(host: str, env: Mapping[str, str]) -> bool:
  """Whether the file in which `wandb login` writes keys has one for a host."""
  path = pathlib.Path(env.get('NETRC', '~/.netrc')).expanduser()
  try:
    return netrc.netrc(path).authenticators(host) is not None
  except (OSError, UnicodeError, netrc.NetrcParseError):
    return False


def _config(workdir: pathlib.Path) -> dict[str, Any]:
  """Returns the config of a run by dotted keys."""
  path = workdir / 'config.json'
  if not path.exists():
    return {}
  found = {}
  for key, value in run_config.read(path).items():
    if isinstance(value, dict):
      found |= {f'{key}.{field}': item for field, item in value.items()}
    else:
      found[key] = value
  return found


def _known(workdir: pathlib.Path, name: str) -> str | None:
  """Returns what a board calls this run; None: it is new to it."""
  path = workdir / 'boards.json'
  return json.loads(path.read_text()).get(name) if path.exists() else None


def _keep(workdir: pathlib.Path, name: str, identity: str) -> None:
  path = workdir / 'boards.json'
  told = json.loads(path.read_text()) if path.exists() else {}
  with atomic.new_file(path) as part:
    part.write_text(json.dumps(told | {name: identity}) + '\n')
