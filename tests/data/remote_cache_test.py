"""Tokens that one machine has made are copied by the others, and checked."""

import pathlib

import numpy as np
import pytest

from lm.data import datasets, remote, token_store, tokenizers
from lm.types import UserError

TEXT = '\n\n'.join(f'Paragraph {i} says this.' for i in range(100)) + '\n'
CACHE = 'flaky://bucket/cache'


@pytest.fixture
def settings(flaky):
  remote.write(TEXT.encode(), 'flaky://bucket/texts/a.txt')
  return {
    'source': 'text',
    'path': 'flaky://bucket/texts/*.txt',
    'tokenizer': 'characters',
    'length': 16,
    'cache': CACHE,
    'workers': 1,
  }


def build(settings) -> list[np.ndarray]:
  """The tokens of both splits."""
  dataset = datasets.build(**settings)
  return [np.array(dataset.train[0].tokens), dataset.validation[0].tokens]


@pytest.fixture
def another_machine(tmp_path, monkeypatch):
  """Makes this a machine that has nothing, and cannot make anything."""

  def move():
    monkeypatch.setenv('LM_CACHE', str(tmp_path / 'another_machine'))
    monkeypatch.setattr(token_store, 'build', None)
    monkeypatch.setattr(tokenizers, 'train', None)

  return move


def kept(tmp_path, machine='another_machine') -> list[pathlib.Path]:
  return list((tmp_path / machine).glob('tokens-*/tokens.bin'))


def a_path(flaky, end) -> str:
  return max(
    (path for path in flaky.store if path.endswith(end)),
    key=lambda path: flaky.store[path].getbuffer().nbytes,
  )


def flip(data: bytes) -> bytes:
  middle = len(data) // 2
  return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def test_text_elsewhere_is_as_text_here(settings, tmp_path):
  (tmp_path / 'a.txt').write_text(TEXT)
  here = settings | {
    'path': str(tmp_path / '*.txt'),
    'cache': str(tmp_path / 'cache'),
  }
  for one, other in zip(build(settings), build(here)):
    np.testing.assert_array_equal(one, other)
  names = {path.name for path in (tmp_path / 'cache').glob('*-*[0-9a-f]')}
  there = {name.split('/')[0] for name in remote.files(CACHE)}
  assert there == names  # The same bytes have the same name.


def test_what_one_machine_has_made_another_copies(
  settings, tmp_path, another_machine
):
  made = build(settings)
  another_machine()
  for _ in range(2):
    for one, other in zip(build(settings), made):
      np.testing.assert_array_equal(one, other)
  assert len(kept(tmp_path)) == 2


def test_each_file_is_copied_once(settings, flaky, another_machine):
  build(settings)
  another_machine()
  build(settings)
  flaky.done.clear()
  build(settings)
  assert not [path for operation, path in flaky.done if operation == 'get']


def test_a_store_that_is_half_there_is_built_and_put_there(
  settings, flaky, tmp_path, monkeypatch
):
  made = build(settings)
  for path in [path for path in flaky.store if path.endswith('/meta.json')]:
    del flaky.store[path]
  monkeypatch.setenv('LM_CACHE', str(tmp_path / 'another_machine'))
  for one, other in zip(build(settings), made):
    np.testing.assert_array_equal(one, other)
  assert len([path for path in flaky.store if path.endswith('meta.json')]) == 2


def test_a_bit_that_flips_on_its_way_is_found_and_copied_again(
  settings, flaky, another_machine, caplog
):
  made = build(settings)
  another_machine()
  left = [1]

  def damage(path, data):
    if path.endswith('/tokens.bin') and left[0]:
      left[0] -= 1
      return flip(data)
    return data

  flaky.damage = staticmethod(damage)
  for one, other in zip(build(settings), made):
    np.testing.assert_array_equal(one, other)
  assert left == [0]
  assert 'its SHA-256 is' in caplog.text and 'copied again' in caplog.text


def test_a_bit_that_is_flipped_there_is_said_and_nothing_is_kept(
  settings, flaky, tmp_path, another_machine
):
  build(settings)
  path = a_path(flaky, '/tokens.bin')
  damaged = flip(flaky.store[path].getvalue())
  flaky.pipe_file(flaky(), path, damaged)
  another_machine()
  with pytest.raises(UserError, match=rf'{CACHE}/tokens-\w+ was copied twice'):
    build(settings)
  assert kept(tmp_path) == []
  assert not list((tmp_path / 'another_machine').glob('*.tmp'))


def test_a_connection_that_is_lost_for_good_is_said(
  settings, flaky, tmp_path, another_machine
):
  build(settings)
  another_machine()
  flaky.break_down(float('inf'), 'get', 'marks.bin')
  with pytest.raises(remote.LostError, match=r'marks\.bin could not be read'):
    build(settings)
  assert kept(tmp_path) == []
  flaky.work()
  build(settings)
  assert len(kept(tmp_path)) == 2


def test_a_tokenizer_may_be_at_a_url(settings, tmp_path):
  tokenizer = tokenizers.train('characters', [TEXT])
  tokenizer.save(tmp_path / 'saved')
  for path in (tmp_path / 'saved').iterdir():
    remote.put(path, f'flaky://bucket/tokenizer/{path.name}')
  for url in ('tokenizer', 'tokenizer/tokenizer.json'):
    changed = settings | {'tokenizer': f'flaky://bucket/{url}'}
    found = datasets.build(**changed).tokenizer
    assert found.encode('says').tolist() == tokenizer.encode('says').tolist()
