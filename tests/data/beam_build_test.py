"""Apache Beam gives the bytes of one machine, whatever happens to workers."""

import contextlib
import functools
import gzip
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from experiments import command, prepare
from lm.data import beam_build, datasets, text_files
from lm.training.sections import SECTIONS
from lm.types import UserError

pytestmark = [pytest.mark.peers, pytest.mark.processes, pytest.mark.slow]

ROOT = pathlib.Path(__file__).parents[2]
TEXTS = [f'Document {n} has words, 你好. ' * (n % 5 + 1) for n in range(600)]
SEVERAL = (
  '--direct_num_workers=2',
  '--direct_running_mode=multi_processing',
)
WORDS = {'tokenizer': 'wordpiece', 'words': 'spaces'}


def write(directory: pathlib.Path, name: str) -> None:
  """Writes three files of text, or of JSON."""
  jsonl = name.startswith('jsonl')
  for number in range(3):
    texts = TEXTS[200 * number : 200 * number + 200]
    content = '\n\n'.join(texts)
    if jsonl:
      content = '\n'.join(json.dumps({'body': text}) for text in texts)
    code = content.encode()
    if name.endswith('gz'):
      code = gzip.compress(code)
    directory.mkdir(exist_ok=True)
    (directory / f'{number}.{name}').write_bytes(code)


def sums(directory: pathlib.Path) -> dict[str, str]:
  """The sum of every file in a directory, and below it."""
  return {
    str(path.relative_to(directory)): hashlib.sha256(
      path.read_bytes()
    ).hexdigest()
    for path in directory.rglob('*')
    if path.is_file()
  }


def settings_of(tmp_path, cache, source='jsonl', name='jsonl', **more):
  return {
    'source': source,
    'path': f'{tmp_path}/in/*.{name}',
    'field': 'body',
    'length': 16,
    'vocab_size': 300,
    'workers': 1,
    'cache': str(tmp_path / cache),
  } | more


def build(settings, runner='', flags=()):
  more = {}
  if runner:
    more['make_store'] = functools.partial(
      beam_build.build, runner=runner, flags=flags
    )
  dataset = datasets.build(**settings, **more)
  return dataset.train + dataset.validation


@pytest.mark.parametrize(
  ('source', 'name', 'more', 'runner', 'flags'),
  [
    ('jsonl', 'jsonl', {}, 'DirectRunner', SEVERAL),
    ('text', 'txt', {'validation': 0.3}, 'DirectRunner', ()),
    ('text', 'txt.gz', WORDS, 'DirectRunner', SEVERAL),
    # As on a cluster, but that Beam's own server stands for it.
    (
      'text',
      'txt',
      {'split': 'tail'},
      'FlinkRunner',
      ('--job_endpoint=embed',),
    ),
    ('jsonl', 'jsonl', {}, 'SparkRunner', ('--job_endpoint=embed',)),
  ],
)
def test_the_bytes_are_those_of_the_local_build(
  tmp_path, monkeypatch, source, name, more, runner, flags
):
  write(tmp_path / 'in', name)
  build(settings_of(tmp_path, 'here', source, name, **more))
  monkeypatch.setattr(text_files, 'PART', 5000)
  stores = build(
    settings_of(tmp_path, 'beam', source, name, **more), runner, flags
  )
  assert len(stores[0].offsets) > 1 and len(stores[1].offsets) > 1
  expected = sums(tmp_path / 'here')
  assert sum(name.endswith('tokens.bin') for name in expected) == 2
  assert sums(tmp_path / 'beam') == expected


START = """
from lm.data import text_files
text_files.PART = 300

from experiments import command, prepare
from lm.training.sections import SECTIONS

if __name__ == '__main__':
  command.run(prepare.main, SECTIONS)
"""


def arguments_of(tmp_path, cache):
  return [
    '--config=configs/gpt.py:debug',
    '--config.data.source=jsonl',
    f'--config.data.path={tmp_path}/in/*.jsonl',
    '--config.data.field=body',
    f'--config.data.cache={tmp_path / cache}',
  ]


def start(tmp_path):
  """Starts the command, with shards that are small."""
  (tmp_path / 'start.py').write_text(START)
  return subprocess.Popen(
    [
      *(sys.executable, str(tmp_path / 'start.py')),
      *arguments_of(tmp_path, 'beam'),
      '--runner=DirectRunner',
      f'--runner_options={" ".join(SEVERAL)}',
    ],
    cwd=ROOT,
    env=os.environ | {'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT)},
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def offspring(process: int) -> dict[int, str]:
  """The processes that a process has started, with their command lines."""
  found = {}
  with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # It ended.
    for child in pathlib.Path(f'/proc/{process}/task').glob('*/children'):
      for number in map(int, child.read_text().split()):
        line = pathlib.Path(f'/proc/{number}/cmdline').read_bytes()
        found |= {number: line.replace(b'\0', b' ').decode()}
        found |= offspring(number)
  return found


def wait_for_shards(tmp_path, process) -> list[pathlib.Path]:
  """Returns the first shards, once there are two."""
  while process.poll() is None:
    shards = list((tmp_path / 'beam').glob('tokens-*/*.npys'))
    if len(shards) > 1:
      return shards
    time.sleep(0.002)
  raise AssertionError(process.communicate()[1])


def workers_of(process: int) -> list[int]:
  """The processes that do the work, not the shells that start them."""
  return [
    number
    for number, line in offspring(process).items()
    if 'sdk_worker_main' in line and not line.startswith('/bin/sh')
  ]


@pytest.fixture
def expected(tmp_path):
  """What the command makes without Beam."""
  write(tmp_path / 'in', 'jsonl')
  arguments = arguments_of(tmp_path, 'here')
  prepare.main(**command.parse(prepare.main, arguments, SECTIONS))
  return sums(tmp_path / 'here')


def test_a_killed_worker_is_replaced(tmp_path, expected):
  process = start(tmp_path)
  wait_for_shards(tmp_path, process)
  workers = workers_of(process.pid)
  assert len(workers) == 2
  os.kill(workers[0], signal.SIGKILL)
  out, log = process.communicate(timeout=300)
  assert process.returncode == 0, log
  assert 'A worker was killed after' in log
  assert json.loads(out.splitlines()[-1])['train']['documents'] > 400
  assert sums(tmp_path / 'beam') == expected


def test_after_a_kill_of_all_the_same_command_goes_on(tmp_path, expected):
  process = start(tmp_path)
  shards = wait_for_shards(tmp_path, process)
  ages = {path: path.stat().st_mtime_ns for path in shards}
  every = offspring(process.pid)
  process.kill()
  process.communicate()
  deadline = time.monotonic() + 60
  while any(pathlib.Path(f'/proc/{number}').exists() for number in every):
    assert time.monotonic() < deadline, 'A worker outlives the command.'
    time.sleep(0.1)
  stores = list((tmp_path / 'beam').glob('tokens-*/meta.json'))
  assert stores == []  # Nothing half made is taken for a store.
  process = start(tmp_path)
  seen = set()
  while process.poll() is None:
    for path in ages:
      with contextlib.suppress(FileNotFoundError):  # At the end.
        seen.add((path, path.stat().st_mtime_ns))
    time.sleep(0.002)
  log = process.communicate(timeout=300)[1]
  assert process.returncode == 0, log
  assert seen == set(ages.items())  # None was made anew.
  assert sums(tmp_path / 'beam') == expected


def test_workers_that_are_killed_again_and_again_end_the_command(
  tmp_path, expected
):
  process = start(tmp_path)
  for _ in range(beam_build.TRIES):
    workers = []
    while not workers and process.poll() is None:
      workers = workers_of(process.pid)
    [pipeline] = (n for n in offspring(process.pid) if n == os.getpgid(n))
    os.kill(workers[0], signal.SIGKILL)
    while pathlib.Path(f'/proc/{pipeline}').exists():
      time.sleep(0.01)
  log = process.communicate(timeout=300)[1]
  assert process.returncode == 2
  assert log.splitlines()[-1].startswith(
    f'Workers of DirectRunner were killed {beam_build.TRIES} times'
  )
  assert 'Traceback' not in log


def test_a_line_that_is_no_json_is_said_as_without_beam(tmp_path):
  write(tmp_path / 'in', 'jsonl')
  with (tmp_path / 'in' / '2.jsonl').open('a') as file:
    file.write('\nno JSON')
  token = {'tokenizer': 'bytes', 'vocab_size': None, 'validation': 1e-9}
  settings = settings_of(tmp_path, 'beam', **token)
  with pytest.raises(UserError) as here:
    datasets.build(**settings_of(tmp_path, 'here', **token)).train  # noqa: B018
  with pytest.raises(UserError) as beam:
    build(settings, 'DirectRunner', SEVERAL)
  assert str(beam.value) == str(here.value)
  assert '2.jsonl, line 201, is not JSON' in str(here.value)


def test_a_runner_that_fails_says_so_and_where_its_log_is(tmp_path):
  write(tmp_path / 'in', 'jsonl')
  settings = settings_of(tmp_path, 'beam')
  with pytest.raises(UserError, match=r'(?s)DirectRunner failed: .*beam\.log'):
    build(settings, 'DirectRunner', ('--direct_num_workers=-3',))
  assert len(build(settings, 'DirectRunner')) == 2


def test_shards_left_beside_a_whole_store_are_removed(tmp_path, expected):
  for directory in [*(tmp_path / 'here').glob('tokens-*/')]:
    left = directory.with_name(f'{directory.name}.parts-of-1')
    left.mkdir()
    (left / '00000-of-00001.npys').touch()
  assert sums(tmp_path / 'here') != expected
  arguments = [*arguments_of(tmp_path, 'here'), '--runner=DirectRunner']
  prepare.main(**command.parse(prepare.main, arguments, SECTIONS))
  assert sums(tmp_path / 'here') == expected
