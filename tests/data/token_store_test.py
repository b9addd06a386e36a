"""A store holds what was tokenized, and is there whole or not at all."""

import errno
import hashlib
import io
import json
import os
import pathlib
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from lm.data import array_files, token_store, tokenization, tokenizers
from lm.types import UserError

DOCUMENTS = tuple(
  f'Document {i} is here. ' + 'It has many words, and 你好. ' * (i % 7)
  for i in range(60)
)


@pytest.fixture(scope='module')
def tokenizer():
  return tokenizers.train('bpe', DOCUMENTS, 300)


def build(tokenizer, directory, documents=DOCUMENTS, workers=1, end=True):
  return token_store.build(documents, tokenizer, directory, end, workers)


def sums(directory: pathlib.Path) -> dict[str, str]:
  return {
    path.name: hashlib.sha256(path.read_bytes()).hexdigest()
    for path in directory.iterdir()
  }


def test_a_store_holds_every_document_with_its_end(tokenizer, tmp_path):
  store = build(tokenizer, tmp_path / 'store')
  assert store.tokens.dtype == np.uint16
  for number, (start, end) in enumerate(
    zip(store.offsets[:-1], store.offsets[1:])
  ):
    expected = [*tokenizer.encode(DOCUMENTS[number]), tokenizer.eos_id]
    assert store.tokens[start:end].tolist() == expected
  assert store.offsets[-1] == len(store.tokens) == len(store.marks)


@pytest.mark.parametrize('kind', ['bpe', 'wordpiece'])
def test_the_bytes_of_all_tokens_are_those_of_the_text(kind, tmp_path):
  tokenizer = tokenizers.train(kind, DOCUMENTS, {'bpe': 300}.get(kind, 70))
  store = build(tokenizer, tmp_path / 'store', end=False)
  assert store.bytes_by_id == (kind == 'bpe')
  places = np.arange(len(store.tokens))[None]
  counts = store.bytes_of(places, store.tokens[None])[0]
  found = np.add.reduceat(counts, store.offsets[:-1])
  assert found.tolist() == [len(text.encode()) for text in DOCUMENTS]


def test_a_large_vocabulary_takes_four_bytes_a_token(
  tokenizer, tmp_path, monkeypatch
):
  monkeypatch.setitem(tokenizer.__dict__, 'vocab_size', 1 << 16)
  assert build(tokenizer, tmp_path / 'two').tokens.dtype == np.uint16
  monkeypatch.setitem(tokenizer.__dict__, 'vocab_size', (1 << 16) + 1)
  large = build(tokenizer, tmp_path / 'four')
  assert large.tokens.dtype == np.uint32
  small = token_store.open(tmp_path / 'two')
  np.testing.assert_array_equal(large.tokens, small.tokens)


def test_an_id_beyond_the_vocabulary_is_refused(
  tokenizer, tmp_path, monkeypatch
):
  monkeypatch.setitem(tokenizer.__dict__, 'vocab_size', 100)
  with pytest.raises(UserError, match='its vocabulary has 100 ids'):
    build(tokenizer, tmp_path / 'store')


@pytest.mark.processes
def test_any_number_of_workers_gives_the_same_bytes(
  tokenizer, tmp_path, monkeypatch
):
  jax.block_until_ready(jax.numpy.ones(3) + 1)  # Its threads are running.
  monkeypatch.setattr(tokenization, 'CHUNK', 500)
  for workers in (1, 2):
    build(tokenizer, tmp_path / str(workers), workers=workers)
  monkeypatch.setattr(tokenization, 'CHUNK', 1 << 20)
  build(tokenizer, tmp_path / 'whole')
  expected = sums(tmp_path / 'whole')
  assert len(expected) == 5
  for workers in (1, 2):
    assert sums(tmp_path / str(workers)) == expected


@pytest.mark.parametrize(
  'damage, message',
  [
    ('tokens.bin', 'tokens.bin is cut short: it has 7 of'),
    ('offsets.bin', 'offsets.bin is cut short'),
    ('marks.bin', 'marks.bin is cut short'),
    ('byte_counts.bin', 'byte_counts.bin is cut short'),
    ('meta.json', 'its meta.json is cut short'),
    ('meta.json gone', 'it has no meta.json'),
    ('tokens.bin gone', 'tokens.bin is cut short: it has 0 of'),
  ],
)
def test_a_store_cut_short_is_refused(tokenizer, tmp_path, damage, message):
  build(tokenizer, tmp_path / 'store')
  name, _, gone = damage.partition(' ')
  path = tmp_path / 'store' / name
  path.write_bytes(path.read_bytes()[:7])
  if gone:
    path.unlink()
  with pytest.raises(UserError, match=message):
    token_store.open(tmp_path / 'store')


def test_a_store_of_another_version_is_refused(
  tokenizer, tmp_path, monkeypatch
):
  build(tokenizer, tmp_path / 'store')
  monkeypatch.setattr(token_store, 'VERSION', 99)
  with pytest.raises(UserError, match='it is of version 1, not 99'):
    token_store.open(tmp_path / 'store')


def test_verify_finds_a_flipped_bit(tokenizer, tmp_path):
  store = build(tokenizer, tmp_path / 'store')
  token_store.verify(store)
  path = tmp_path / 'store' / 'tokens.bin'
  content = bytearray(path.read_bytes())
  content[100] ^= 4
  path.write_bytes(content)
  with pytest.raises(UserError, match=r'tokens\.bin is damaged'):
    token_store.verify(token_store.open(tmp_path / 'store'))


def test_meta_tells_what_is_there(tokenizer, tmp_path):
  store = build(tokenizer, tmp_path / 'store')
  meta = json.loads((tmp_path / 'store' / 'meta.json').read_text())
  found = sums(tmp_path / 'store')
  for name, file in meta['files'].items():
    assert file['sha256'] == found[f'{name}.bin']
  assert meta['num_documents'] == len(DOCUMENTS)
  assert meta['num_tokens'] == len(store.tokens)
  assert meta['num_bytes'] == len(''.join(DOCUMENTS).encode())
  assert meta['tokenizer'] == tokenizer.fingerprint()


@pytest.mark.parametrize('documents', [(), ('', '')])
def test_text_without_tokens_is_refused_and_leaves_nothing(
  tokenizer, tmp_path, documents
):
  with pytest.raises(UserError, match='has no tokens'):
    build(tokenizer, tmp_path / 'store', documents)
  assert not list(tmp_path.iterdir())


def test_a_tokenizer_without_an_end_of_text_is_refused(tmp_path):
  tokenizer = tokenizers.train('bytes', [], end_of_text=False)
  with pytest.raises(UserError, match=r'config\.data\.end_of_text is True'):
    build(tokenizer, tmp_path / 'store')


def test_a_full_disk_is_said_and_leaves_nothing(
  tokenizer, tmp_path, monkeypatch
):
  monkeypatch.setattr(tokenization, 'CHUNK', 500)
  append = array_files.ArrayFile.append

  def until_full(file, array):
    if file.size > 1000:
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    append(file, array)

  monkeypatch.setattr(array_files.ArrayFile, 'append', until_full)
  with pytest.raises(UserError, match=r'The disk of .* is full'):
    build(tokenizer, tmp_path / 'store')
  assert not list(tmp_path.iterdir())


SLOW_BUILD = """
import pathlib, sys, time
from lm.data import token_store, tokenization, tokenizers
tokenization.CHUNK = 1000

def documents():
  for i in range(40):
    print(i, flush=True)
    time.sleep(0.05)
    yield f'Document {i} has some words, twenty or so. ' * 20

tokenizer = tokenizers.train('bytes', [])
directory = pathlib.Path(sys.argv[1])
token_store.build(documents(), tokenizer, directory, True, 1)
"""


def start_slow_build(directory: pathlib.Path) -> subprocess.Popen:
  return subprocess.Popen(
    [sys.executable, '-c', SLOW_BUILD, str(directory)],
    stdout=subprocess.PIPE,
    text=True,
  )


@pytest.mark.processes
def test_a_killed_build_looks_unfinished_and_is_cleaned(tmp_path):
  with start_slow_build(tmp_path / 'store') as killed:
    for line in killed.stdout:
      if line == '20\n':
        break
    killed.send_signal(signal.SIGKILL)
  (left,) = tmp_path.iterdir()
  assert left.name.startswith('store~')
  with pytest.raises(UserError, match='no token store'):
    token_store.open(tmp_path / 'store')
  tokenizer = tokenizers.train('bytes', [])
  build(tokenizer, tmp_path / 'store')
  assert [path.name for path in tmp_path.iterdir()] == ['store']


@pytest.mark.processes
def test_two_builds_at_once_leave_one_store(tmp_path):
  both = [start_slow_build(tmp_path / 'store') for _ in range(2)]
  for process in both:
    with process:
      process.communicate()
    assert process.returncode == 0
  assert [path.name for path in tmp_path.iterdir()] == ['store']
  token_store.verify(token_store.open(tmp_path / 'store'))


def test_memory_does_not_grow_with_the_text(tokenizer, tmp_path, monkeypatch):
  monkeypatch.setattr(tokenization, 'CHUNK', 2000)
  waiting, most = 0, 0

  def documents():
    nonlocal waiting, most
    for _ in range(300):
      waiting += 1
      most = max(most, waiting)
      yield 'Some words of a document. ' * 20

  tokenize = tokenization.tokenize

  def counted(chunk, **settings):
    nonlocal waiting
    waiting -= len(chunk.texts)
    return tokenize(chunk, **settings)

  monkeypatch.setattr(tokenization, 'tokenize', counted)
  build(tokenizer, tmp_path / 'store', documents())
  assert most < 90  # Sixteen chunks of some four documents, and a little.


class Terminal(io.StringIO):
  def isatty(self):
    return True


@pytest.mark.parametrize('stream', [Terminal, io.StringIO])
def test_a_bar_is_shown_on_a_terminal_alone(
  tokenizer, tmp_path, monkeypatch, stream
):
  monkeypatch.setattr(sys, 'stderr', stream())
  build(tokenizer, tmp_path / 'store')
  shown = sys.stderr.getvalue()
  assert ('Tokenizing' in shown) == (stream is Terminal)
  if stream is io.StringIO:
    assert not shown
