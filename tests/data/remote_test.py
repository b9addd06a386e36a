"""What is elsewhere comes whole, is tried for again, and its loss is said."""

import json

import fsspec
import pytest

from lm.data import remote, text_files
from lm.types import UserError

URL = 'flaky://bucket/folder'


@pytest.mark.parametrize(
  ('place', 'elsewhere'),
  [
    ('gs://bucket/run', True),
    ('memory://run', True),
    ('simplecache::s3://bucket/run', True),
    ('runs/demo', False),
    ('/data/a:b/c', False),
    ('C:/runs', False),
    ('', False),
  ],
)
def test_a_url_is_told_from_a_path(place, elsewhere):
  assert remote.is_url(place) is elsewhere


OPERATIONS = {
  'read': lambda path: remote.read(f'{URL}/a'),
  'write': lambda path: remote.write(b'new', f'{URL}/a'),
  'get': lambda path: remote.get(f'{URL}/a', path / 'got'),
  'put': lambda path: remote.put(path / 'here', f'{URL}/a'),
  'find': lambda path: remote.files(URL),
  'remove': lambda path: remote.remove([f'{URL}/a']),
}


@pytest.mark.parametrize('operation', OPERATIONS)
def test_what_fails_twice_is_tried_a_third_time(flaky, tmp_path, operation):
  (tmp_path / 'here').write_bytes(b'new')
  remote.write(b'old', f'{URL}/a')
  flaky.break_down(2, operation)
  flaky.done.clear()
  found = OPERATIONS[operation](tmp_path)
  assert [name for name, _ in flaky.done] == [operation] * 3
  there = flaky.store
  if operation == 'read':
    assert found == b'old'
  elif operation == 'get':
    assert (tmp_path / 'got').read_bytes() == b'old'
  elif operation == 'find':
    assert found.keys() == {'a'}
  elif operation == 'remove':
    assert not there
  else:
    assert there['/bucket/folder/a'].getvalue() == b'new'


@pytest.mark.parametrize('operation', OPERATIONS)
def test_what_always_fails_is_said_in_the_end(flaky, tmp_path, operation):
  (tmp_path / 'here').write_bytes(b'new')
  remote.write(b'old', f'{URL}/a')
  flaky.break_down(float('inf'), operation)
  flaky.done.clear()
  lost = pytest.raises(remote.LostError, match=rf'{URL}.*connection was lost')
  with lost as raised:
    OPERATIONS[operation](tmp_path)
  assert raised.value.status == 75
  assert len(flaky.done) == 3
  assert flaky.store['/bucket/folder/a'].getvalue() == b'old'
  assert {p.name for p in tmp_path.iterdir()} == {'here'}


@pytest.mark.parametrize(
  ('error', 'message'),
  [
    (PermissionError('not for you'), 'not for you'),
    (OSError(28, 'No space left on device'), 'No space left'),
    (FileNotFoundError('no such bucket'), 'There is no flaky://bucket/folder'),
  ],
)
def test_what_would_fail_again_is_not_tried_again(flaky, error, message):
  flaky.fault = staticmethod(lambda operation, path: error)
  with pytest.raises(UserError, match=message) as raised:
    remote.read(f'{URL}/a')
  assert len(flaky.done) == 1
  assert raised.value.status == 2


def test_a_file_cut_short_on_its_way_is_asked_for_again(flaky, tmp_path):
  remote.write(b'0123456789', f'{URL}/a')
  sent = []

  def cut(path, data):
    sent.append(data[: 4 + 6 * len(sent)])
    return sent[-1]

  flaky.damage = staticmethod(cut)
  remote.get(f'{URL}/a', tmp_path / 'a')
  assert sent == [b'0123', b'0123456789']
  assert (tmp_path / 'a').read_bytes() == b'0123456789'


def test_many_files_are_copied_and_the_last_is_last(flaky, tmp_path):
  names = [f'{number}/x' for number in range(20)] + ['end']
  for name in names:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(name)
  remote.upload(tmp_path, URL, ['end', *names[:-1]], last='end')
  assert flaky.done[-1] == ('put', '/bucket/folder/end')
  assert len(flaky.done) == 21
  remote.download(URL, tmp_path / 'back', names)
  assert {n: (tmp_path / 'back' / n).read_text() for n in names} == {
    n: n for n in names
  }


def test_the_first_of_many_files_that_is_lost_ends_the_others(flaky, tmp_path):
  names = [str(number) for number in range(500)]
  for name in names:
    (tmp_path / name).write_text(name)
  flaky.break_down(float('inf'), 'put')
  with pytest.raises(remote.LostError):
    remote.upload(tmp_path, URL, names, last='0')
  assert len(flaky.done) < 500


def test_a_copy_is_brought_up_to_date_by_what_has_changed(flaky):
  for name in ('a', 'b', 'below/c'):
    remote.write(name.encode(), f'{URL}/{name}')
  copy = remote.fetch(f'{URL}/')
  flaky.done.clear()
  assert remote.fetch(URL) == copy
  assert [name for name, _ in flaky.done] == ['find']
  remote.write(b'other', f'{URL}/a')
  remote.remove([f'{URL}/b'])
  (copy / 'below/c').unlink()
  flaky.done.clear()
  remote.fetch(URL)
  got = {path for name, path in flaky.done if name == 'get'}
  assert got == {'/bucket/folder/a', '/bucket/folder/below/c'}
  assert (copy / 'a').read_bytes() == b'other'
  assert not (copy / 'b').exists()


def test_one_file_is_a_copy_too_and_nothing_is_refused(flaky):
  remote.write(b'{"x": 1}', f'{URL}/a.json')
  assert json.loads(remote.fetch(f'{URL}/a.json').read_text()) == {'x': 1}
  with pytest.raises(remote.MissingError, match=rf'nothing at {URL}/b'):
    remote.fetch(f'{URL}/b')


@pytest.mark.parametrize(
  'pattern', ['a.txt', '*.txt', '**/*.txt', 'be*/c.txt', '[ab].txt', '?.gz']
)
def test_a_pattern_finds_there_what_it_finds_here(flaky, tmp_path, pattern):
  names = ['a.txt', 'b.txt', 'b.gz', 'c.json', 'below/c.txt', 'below/e/f.txt']
  for name in names:
    path = tmp_path / 'here' / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(name)
    remote.write(name.encode(), f'{URL}/{name}')
  found = [
    [file.read_text() for file in text_files.find(f'{place}/{pattern}')]
    for place in (tmp_path / 'here', URL)
  ]
  assert found[0] == found[1] != []


@pytest.mark.parametrize('protocol', ['memory', 'file'])
def test_other_protocols_are_used_alike(flaky, tmp_path, protocol):
  url = f'{protocol}://{tmp_path}/there'
  (tmp_path / 'here').write_bytes(b'abc')
  remote.put(tmp_path / 'here', f'{url}/below/a')
  remote.write(b'de', f'{url}/b')
  assert remote.files(url).keys() == {'below/a', 'b'}
  assert remote.read(f'{url}/below/a') == b'abc'
  assert (remote.fetch(url) / 'b').read_bytes() == b'de'
  remote.remove([f'{url}/b', f'{url}/b'])
  assert remote.files(url).keys() == {'below/a'}
  with pytest.raises(remote.MissingError):
    remote.read(f'{url}/b')


def test_texts_that_are_not_there_are_named(flaky):
  with pytest.raises(UserError, match=rf'no file {URL}/\*\.txt'):
    text_files.find(f'{URL}/*.txt')


def test_a_protocol_that_is_missing_is_named():
  fsspec.register_implementation(
    'lacking', 'no_such_package.Files', errtxt='It is not here', clobber=True
  )
  with pytest.raises(UserError, match=r'pip install no_such_package\.'):
    remote.read('lacking://a')
  with pytest.raises(UserError, match='wrong://a has a protocol that'):
    remote.read('wrong://a')
