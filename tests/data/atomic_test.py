"""What is written appears whole or not at all."""

import errno
import os
import socket
import subprocess
import sys
import threading
import time
from unittest.mock import Mock

import pytest

from lm.data import atomic
from lm.training import workdir as workdirs


def names(directory):
  return sorted(path.name for path in directory.iterdir())


def test_a_directory_appears_when_it_is_whole(tmp_path):
  target = tmp_path / 'deep' / 'store'
  with atomic.new_directory(target) as path:
    (path / 'one').write_text('1')
    assert not target.exists()
  assert names(target) == ['one']
  assert names(tmp_path / 'deep') == ['store']


@pytest.mark.parametrize('kind', ['new_file', 'new_directory'])
def test_an_error_leaves_nothing(tmp_path, kind):
  with (
    pytest.raises(OSError, match='No space left'),
    getattr(atomic, kind)(tmp_path / 'store'),
  ):
    raise OSError(28, 'No space left on device')
  assert names(tmp_path) == []


def test_of_two_at_once_the_first_to_finish_stays(tmp_path):
  target = tmp_path / 'store'
  with atomic.new_directory(target) as one:
    with atomic.new_directory(target) as other:
      (one / 'file').write_text('one')
      (other / 'file').write_text('other')
      assert one.exists() and other.exists()
    assert (target / 'file').read_text() == 'other'
  assert (target / 'file').read_text() == 'other'
  assert names(tmp_path) == ['store']


def test_a_file_replaces_the_one_before_it(tmp_path):
  for text in ('one', 'other'):
    with atomic.new_file(tmp_path / 'file') as path:
      path.write_text(text)
  assert (tmp_path / 'file').read_text() == 'other'
  assert names(tmp_path) == ['file']


def test_what_a_killed_process_left_is_cleaned_and_what_a_living_one_writes_not(
  tmp_path,
):
  ended = subprocess.Popen([sys.executable, '-c', ''])
  ended.wait()
  host = socket.gethostname()
  for writer in (
    f'{host}~{ended.pid}~a',
    f'{host}~{os.getpid()}~b',  # Of an earlier process with our number.
    f'{host}~{os.getppid()}~c',
    f'elsewhere~{ended.pid}~d',
  ):
    (tmp_path / f'store~{writer}.tmp').mkdir()
  with atomic.new_directory(tmp_path / 'store'):
    pass
  assert names(tmp_path) == sorted(
    ['store', f'store~{host}~{os.getppid()}~c.tmp']
    + [f'store~elsewhere~{ended.pid}~d.tmp']
  )


def test_removing_twice_is_no_error(tmp_path):
  (tmp_path / 'store').mkdir()
  (tmp_path / 'store' / 'file').touch()
  atomic.remove(tmp_path / 'store')
  atomic.remove(tmp_path / 'store')
  assert names(tmp_path) == []


def test_one_at_a_time_works_on_a_target(tmp_path):
  order = []

  def second():
    with atomic.locked(tmp_path / 'new' / 'target'):
      order.append('second')

  with atomic.locked(tmp_path / 'new' / 'target'):
    waiting = threading.Thread(target=second)
    waiting.start()
    time.sleep(0.1)
    order.append('first')
  waiting.join()
  assert order == ['first', 'second']


def test_a_file_system_without_locks_is_no_reason_to_stop(
  tmp_path, monkeypatch, caplog
):
  def flock(file, how):
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

  monkeypatch.setattr(atomic.fcntl, 'flock', flock)
  made = []
  with atomic.locked(tmp_path / 'store'), workdirs.held(tmp_path / 'run'):
    made.append(tmp_path / 'run')
  assert made and 'has no locks' in caplog.text
  error = OSError(errno.EIO, os.strerror(errno.EIO))
  monkeypatch.setattr(atomic.fcntl, 'flock', Mock(side_effect=error))
  with pytest.raises(OSError, match='Input/output'), workdirs.held(tmp_path):
    made.append(None)
