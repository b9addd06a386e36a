"""A run is shown on boards, and on the same one after an interruption."""

import json
import pathlib
import signal

import pytest

from lm.analysis import plots
from lm.training import boards, loop, run_config, run_log
from lm.types import UserError
from tests.training import tiny_task

CONFIG = {'seed': 0, 'model': {'name': 'gpt', 'num_layers': 2}}


@pytest.fixture
def workdir(tmp_path) -> pathlib.Path:
  """The folder of a run that has begun."""
  found = tmp_path / 'baby'
  found.mkdir()
  run_config.write(CONFIG, found / 'config.json')
  return found


def show(
  workdir: pathlib.Path,
  name: str,
  start: int,
  last: int,
  error: BaseException | None = None,
) -> None:
  """Logs steps as a run does that ends after `last`, by an error if given."""
  log = run_log.RunLog(
    workdir,
    start=start,
    num_steps=last,
    every=2,
    board=boards.open_all((name,), workdir, start),
    tokens_of_step=lambda step: 1000,
  )
  for step in range(start + 1, last + 1):
    log.train(step, {'loss': 4 / step})
  log.eval(last, {'loss': 8 / last})
  log.sample(last, 'Once', ' upon a time')
  log.close(error)


@pytest.mark.peers
@pytest.mark.slow
def test_mlflow_has_one_run_with_its_config_curves_and_texts(
  workdir, monkeypatch
):
  mlflow = pytest.importorskip('mlflow')
  monkeypatch.delenv('MLFLOW_TRACKING_URI', raising=False)
  show(workdir, 'mlflow', 0, 4, SystemExit(143))
  client = mlflow.MlflowClient((workdir / 'mlruns').as_uri())
  experiment = client.get_experiment_by_name(boards.NAME)
  [run] = client.search_runs([experiment.experiment_id])
  assert run.info.status == 'KILLED'
  show(workdir, 'mlflow', 4, 8)
  [run] = client.search_runs([experiment.experiment_id])
  assert run.info.run_name == 'baby' and run.info.status == 'FINISHED'
  assert run.data.params['model.num_layers'] == '2'
  told = client.get_metric_history(run.info.run_id, 'train/loss')
  assert [(each.step, each.value) for each in told] == [
    (2, 2.0),
    (4, 1.0),
    (6, 4 / 6),
    (8, 0.5),
  ]
  there = {each.path for each in client.list_artifacts(run.info.run_id)}
  assert there == {'curve', 'sample'}
  store = pathlib.Path(run.info.artifact_uri.removeprefix('file://'))
  assert (store / 'sample/8.txt').read_text() == 'Once upon a time'
  assert (store / 'curve/loss.png').read_bytes()[:4] == b'\x89PNG'


@pytest.mark.peers
@pytest.mark.slow
def test_weights_and_biases_offline_has_config_curve_and_texts(
  workdir, monkeypatch
):
  wandb = pytest.importorskip('wandb')
  monkeypatch.setenv('WANDB_MODE', 'offline')
  show(workdir, 'wandb', 0, 4)
  first = json.loads((workdir / 'boards.json').read_text())
  show(workdir, 'wandb', 4, 8)
  assert json.loads((workdir / 'boards.json').read_text()) == first
  wandb.teardown()  # Its own process has written all when it has ended.
  files = sorted(
    workdir.glob(f'wandb/offline-run-*/run-{first["wandb"]}.wandb')
  )
  for file, step in zip(files, (4, 8), strict=True):
    data = file.read_bytes()  # Records, one after another, not compressed.
    for part in (b'train/loss', b'eval/loss', b'model.num_layers', b'baby'):
      assert part in data
    [table] = file.parent.glob('files/media/table/sample*.json')
    assert json.loads(table.read_text())['data'] == [[step, 'Once upon a time']]
    [picture] = file.parent.glob('files/media/images/curve*.png')
    assert picture.read_bytes()[:4] == b'\x89PNG'


class Noted(boards.TensorBoard):
  """A board that notes how each run ends, and does `act` at each number."""

  def scalars(self, step, values):
    self.act()

  def close(self, outcome='finished'):
    super().close()
    self.ends.append(outcome)


def test_a_board_is_told_how_a_run_has_ended(tmp_path, monkeypatch):
  def refuse(params):
    raise UserError('There is nothing to score.')

  ends, signals = [], [signal.SIGTERM]  # It is sent once.
  act = lambda _: signals and signal.raise_signal(signals.pop())
  monkeypatch.setattr(Noted, 'act', act, raising=False)
  monkeypatch.setattr(Noted, 'ends', ends, raising=False)
  monkeypatch.setitem(boards.BOARDS, 'mlflow', Noted)
  config = tiny_task.configure(tmp_path, log__boards='mlflow')
  with pytest.raises(SystemExit) as stopped:
    loop.train(config, tmp_path / 'run')
  assert stopped.value.code == 143 and ends == ['killed']
  loop.train(config, tmp_path / 'run')
  monkeypatch.setattr(loop, 'make_scorer', lambda *_: refuse)
  with pytest.raises(UserError, match='nothing to score'):
    loop.train(config, tmp_path / 'other')
  assert ends == ['killed', 'finished', 'failed']


@pytest.mark.parametrize(
  ('outcome', 'code'), [('finished', 0), ('failed', 1), ('killed', 1)]
)
def test_weights_and_biases_is_told_a_status(outcome, code):
  told = []

  class Run:
    def finish(self, exit_code):
      told.append(exit_code)

  board = boards.WeightsAndBiases.__new__(boards.WeightsAndBiases)
  board._run = Run()
  board.close(outcome)
  assert told == [code]


def test_one_that_is_not_installed_is_refused(monkeypatch):
  monkeypatch.setitem(boards.PACKAGES, 'mlflow', 'no_such_board')
  with pytest.raises(UserError, match='pip install no_such_board'):
    boards.check(('tensorboard', 'mlflow'))


def test_a_run_goes_on_without_a_board_that_fails(tmp_path):
  unmade = boards.TensorBoard.__new__(boards.TensorBoard)  # It has no writer.
  other = boards.TensorBoard(tmp_path, 0)
  both = boards.Boards({'first': unmade, 'second': other})
  both.scalars(1, {'train/loss': 2.0})
  both.text(1, 'sample', 'Once')
  both.close()
  [file] = (tmp_path / 'tensorboard').iterdir()
  assert b'train/loss' in file.read_bytes() and b'Once' in file.read_bytes()


def test_a_run_goes_on_without_a_board_that_does_not_open(
  workdir, monkeypatch, caplog
):
  class Unreachable(boards.TensorBoard):
    def __init__(self, workdir, start):
      raise ConnectionError('no route to 10.0.0.1')

  monkeypatch.setitem(boards.BOARDS, 'mlflow', Unreachable)
  opened = boards.open_all(('mlflow', 'tensorboard'), workdir, 0)
  opened.scalars(1, {'train/loss': 2.0})
  opened.close()
  assert 'is not shown on mlflow' in caplog.text
  assert 'no route to 10.0.0.1' in caplog.text
  [file] = (workdir / 'tensorboard').iterdir()
  assert b'train/loss' in file.read_bytes()


@pytest.mark.peers
@pytest.mark.slow
def test_a_run_goes_on_without_a_server_that_cannot_be_reached(
  workdir, monkeypatch, caplog
):
  pytest.importorskip('mlflow')
  wandb = pytest.importorskip('wandb')
  monkeypatch.setenv('MLFLOW_TRACKING_URI', 'http://127.0.0.1:9')
  monkeypatch.setenv('MLFLOW_HTTP_REQUEST_MAX_RETRIES', '0')
  monkeypatch.setenv('WANDB_MODE', 'online')
  monkeypatch.setenv('WANDB_BASE_URL', 'http://127.0.0.1:9')
  monkeypatch.setenv('WANDB_API_KEY', 'a' * 40)
  monkeypatch.setenv('WANDB_INIT_TIMEOUT', '1')
  boards.open_all(('mlflow', 'wandb'), workdir, 0).close()
  wandb.teardown()
  assert 'is not shown on mlflow' in caplog.text
  assert 'is not shown on wandb' in caplog.text


def test_tensorboard_shows_pictures(tmp_path):
  board = boards.TensorBoard(tmp_path, 0)
  picture = tmp_path / 'loss.png'
  plots.loss([{'step': 1, 'split': 'train', 'loss': 1.0}], picture, 'a')
  board.image(3, 'curve', picture)
  board.close()
  [file] = (tmp_path / 'tensorboard').iterdir()
  assert b'curve' in file.read_bytes() and b'PNG' in file.read_bytes()


VARIABLES = (
  *boards.KEYS,
  'WANDB_MODE',
  'WANDB_BASE_URL',
  'NETRC',
  'MLFLOW_TRACKING_URI',
)


def test_a_key_is_looked_for_where_wandb_login_writes_it(monkeypatch, tmp_path):
  monkeypatch.setattr(boards, 'installed', lambda name: True)
  monkeypatch.setenv('HOME', str(tmp_path))
  for variable in VARIABLES:
    monkeypatch.delenv(variable, raising=False)
  company = {'WANDB_BASE_URL': 'https://ml.company.com:8080'}
  (tmp_path / '.netrc').write_text(
    'machine ml.company.com:8080 login a password b'
  )
  assert boards.state('wandb', company) == 'works: online'
  assert 'key for api.wandb.ai: wandb login' in boards.state('wandb', {})
  (tmp_path / 'keys').write_text('machine api.wandb.ai login a password b')
  assert boards.state('wandb', {'NETRC': f'{tmp_path}/keys'}).startswith(
    'works'
  )
  (tmp_path / 'keys').write_bytes(b'machine \xff wandb')
  for name in ('keys', 'missing'):
    found = boards.state('wandb', {'NETRC': f'{tmp_path}/{name}'})
    assert found.startswith('without a key')


def test_the_doctor_says_which_will_work(monkeypatch, tmp_path):
  monkeypatch.setenv('HOME', str(tmp_path))
  for variable in VARIABLES:
    monkeypatch.delenv(variable, raising=False)
  monkeypatch.setattr(boards, 'installed', lambda name: name != 'mlflow')
  assert boards.state('tensorboard') == 'works: files in WORKDIR/tensorboard'
  assert boards.state('mlflow') == 'not installed: pip install mlflow-skinny'
  assert boards.state('wandb').startswith('without a key for api.wandb.ai: ')
  monkeypatch.setenv('WANDB_API_KEY', 'a')
  assert boards.state('wandb') == 'works: online'
  monkeypatch.setenv('WANDB_MODE', 'online')
  assert boards.state('wandb') == 'works: online'
  monkeypatch.delenv('WANDB_API_KEY')
  assert boards.state('wandb').startswith('without a key for api.wandb.ai: ')
  for mode in ('offline', 'disabled', 'dryrun'):
    monkeypatch.setenv('WANDB_MODE', mode)
    assert boards.state('wandb') == f'works: {mode}'
