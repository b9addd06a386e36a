"""What is typed reaches `main`; mistakes are messages, defects tracebacks."""

import inspect
import json
import subprocess
import sys
from collections.abc import Sequence

import pytest
from ml_collections import config_dict

from experiments import command
from lm.data import remote
from lm.types import UserError


def fetch(
  workdir: str,
  step: int | None = None,
  rate: float = 0.5,
  dry_run: bool = False,
  allow_change: tuple[str, ...] = (),
  text: Sequence[str] = (),
) -> None:
  """Fetches.

  Args:
    workdir: Where it lies,
      all 100% of it.
    step: Which one: the last, where none is named.
  """


def build(config: config_dict.ConfigDict, workdir: str = 'runs') -> None:
  """Builds.

  Args:
    config: What to build.
  """


def sizes(*, width: int = 1, depth: int = 2): ...


@pytest.fixture
def sections(tmp_path):
  """A config file with one section, and what can be set in it."""
  text = "get_config = lambda variant: {'model': {'width': 3}}"
  (tmp_path / 'tiny.py').write_text(text)
  return {'model': lambda: inspect.signature(sizes).parameters}


def run(monkeypatch, main, *argv, sections=None):
  """Returns the exit status."""
  monkeypatch.setattr(sys, 'argv', ['command', *argv])
  with pytest.raises(SystemExit) as ended:
    command.run(main, sections)
  return ended.value.code


@pytest.mark.parametrize(
  ('argv', 'arguments'),
  [
    (['--workdir=a b'], {'workdir': 'a b'}),
    (['--workdir', 'x', '--step', '3'], {'workdir': 'x', 'step': 3}),
    (['--workdir=x', '--step=none'], {'workdir': 'x', 'step': None}),
    (['--workdir=x', '--rate=-1e-3'], {'workdir': 'x', 'rate': -0.001}),
    (['--workdir=x', '--dry_run'], {'workdir': 'x', 'dry_run': True}),
    (['--dry_run=false', '--workdir='], {'workdir': '', 'dry_run': False}),
    (
      ['--workdir=x', '--allow_change=a', '--allow_change=b,c'],
      {'workdir': 'x', 'allow_change': ('a', 'b', 'c')},
    ),
    (
      ['--workdir=x', '--text=a, b', '--text='],
      {'workdir': 'x', 'text': ['a, b', '']},
    ),
  ],
)
def test_a_command_line_is_the_arguments_of_main(argv, arguments):
  assert command.parse(fetch, argv) == arguments


def test_a_config_is_read_completed_and_overridden(tmp_path, sections):
  argv = [f'--config={tmp_path}/tiny.py', '--config.model.depth', '5']
  arguments = command.parse(build, argv, sections)
  assert arguments['config'].to_dict() == {'model': {'width': 3, 'depth': 5}}
  repeated = [*argv, '--config.model.width=6', '--config.model.width=7']
  assert command.parse(build, repeated, sections)['config'].model.width == 7


@pytest.mark.parametrize(
  ('argv', 'complaint'),
  [
    ([], '--workdir is missing.'),
    (['--workdir'], '--workdir: expected one argument. See --help.'),
    (
      ['--wrkdir=x'],
      'There is no argument --wrkdir. Did you mean --workdir? See --help.',
    ),
    (['--workdir=x', 'y'], 'There is no argument y.'),
    (['--work=x'], 'There is no argument --work.'),
    (
      ['--workdir=x', '--step=2.5'],
      "--step is '2.5', but it is to be an integer or none.",
    ),
    (['--workdir=x', '--config.seed=1'], 'no argument --config.seed.'),
  ],
)
def test_a_mistake_is_one_message_and_status_2(
  monkeypatch, capsys, argv, complaint
):
  assert run(monkeypatch, fetch, *argv) == 2
  printed = capsys.readouterr()
  assert complaint in printed.err
  assert printed.err.count('\n') == 1
  assert printed.out == ''


def test_what_may_do_better_later_is_told_from_a_mistake(monkeypatch, capsys):
  def main() -> None:
    raise remote.LostError('gs://a is lost.')

  assert run(monkeypatch, main) == 75  # EX_TEMPFAIL of sysexits.h
  assert capsys.readouterr().err == 'gs://a is lost.\n'


@pytest.mark.parametrize(
  ('override', 'complaint'),
  [
    ('--config.model.widht=3', 'Did you mean config.model.width?'),
    ('--config.model.width=x', "config.model.width is 'x'"),
    ('--config.model.width', '--config.model.width has no value.'),
  ],
)
def test_a_mistake_in_a_config_is_one_message(
  monkeypatch, capsys, tmp_path, sections, override, complaint
):
  argv = [f'--config={tmp_path}/tiny.py', override]
  assert run(monkeypatch, build, *argv, sections=sections) == 2
  printed = capsys.readouterr().err
  assert complaint in printed
  assert printed.count('\n') == 1


def raising(error):
  def main() -> None:
    raise error

  return main


@pytest.mark.parametrize(
  ('main', 'status', 'printed'),
  [
    (lambda: None, None, ''),
    (lambda: 1, 1, ''),
    (raising(UserError('Too big. Make it small.')), 2, 'Too big. Make it sma'),
    (raising(KeyboardInterrupt()), 130, 'Interrupted.'),
  ],
)
def test_the_exit_status_says_how_it_ended(
  monkeypatch, capsys, main, status, printed
):
  assert run(monkeypatch, main) == status
  assert printed in capsys.readouterr().err


def test_a_defect_keeps_its_traceback(monkeypatch):
  monkeypatch.setattr(sys, 'argv', ['command'])
  with pytest.raises(ZeroDivisionError):
    command.run(lambda: 1 // 0)


def test_help_is_the_docstrings_of_the_command(monkeypatch, capsys, sections):
  assert run(monkeypatch, fetch, '--help') == 0
  printed = capsys.readouterr().out
  assert printed.startswith('What is typed reaches `main`')  # This module's.
  flags = {w for w in printed.split() if w.startswith('--')}
  assert flags == {
    '--help',
    '--workdir',
    '--step',
    '--rate',
    '--dry_run',
    '--allow_change',
    '--text',
  }
  assert 'Where it lies, all 100% of it.' in ' '.join(printed.split())
  assert 'Default: 0.5' in printed
  assert run(monkeypatch, build, '--help', sections=sections) == 0
  assert '--config.KEY VALUE' in capsys.readouterr().out


SCRIPT = """
from absl import logging
from experiments import command

def say(message):
  logging.info(message)

def main() -> None:
  say('ours')
  exec(compile('logging.info("theirs")', '/lib/orbax.py', 'exec'))
  command.report({'loss': 1.5})
  1 / 0

command.run(main)
"""


def test_logs_go_to_stderr_and_results_to_stdout():
  file = f'{command.ROOT}/experiments/example.py'
  code = f'exec(compile({SCRIPT!r}, {file!r}, "exec"))'
  ended = subprocess.run(
    [sys.executable, '-c', code],
    cwd=command.ROOT,
    capture_output=True,
    text=True,
  )
  assert ended.returncode == 1
  assert json.loads(ended.stdout) == {'loss': 1.5}
  first, *_, last = ended.stderr.splitlines()
  assert first.endswith('ours')  # And no word on flags before it.
  assert 'theirs' not in ended.stderr.partition('Traceback')[0]
  assert last == 'ZeroDivisionError: division by zero'


def test_a_reader_that_has_read_enough_is_no_defect():
  many = "[print('a' * 99, flush=True) for _ in range(9999)]"
  program = f'from experiments import command; command.run(lambda: {many})'
  with subprocess.Popen(
    [sys.executable, '-c', program],
    cwd=command.ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
  ) as process:
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b''
  assert process.returncode == 0
