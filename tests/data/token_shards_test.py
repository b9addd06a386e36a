"""Shards of tokens are made once, by whoever, and make one store."""

import hashlib
import json

import pytest

from lm.data import (
  corpora,
  text_files,
  token_shards,
  token_store,
  tokenization,
  tokenizers,
)
from lm.types import UserError

TEXTS = [f'Document {n} has words, 你好. ' * (n % 7 + 1) for n in range(200)]


@pytest.fixture
def corpus(tmp_path, monkeypatch):
  monkeypatch.setattr(text_files, 'PART', 2000)
  lines = [json.dumps({'text': text}) for text in TEXTS]
  (tmp_path / 'a.jsonl').write_text('\n'.join(lines))
  return corpora.build('jsonl', f'{tmp_path}/a.jsonl', validation=0.05)


def job_of(corpus, kind='bpe', size=300, side='train', end=True):
  tokenizer = tokenizers.train(kind, corpus.documents('train'), size, end)
  return token_shards.Job(corpus.parts, side, tokenizer, end, 'tokenizer')


def make_all(directory, job):
  token_shards.begin(directory, job)
  numbers = range(len(job.parts))
  entries = [token_shards.make(directory, job, number) for number in numbers]
  token_shards.write_index(directory, entries)


def sums(directory):
  return {
    path.name: hashlib.sha256(path.read_bytes()).hexdigest()
    for path in directory.iterdir()
    if path.name != 'job.pickle'  # Its bytes may differ.
  }


@pytest.mark.parametrize(
  ('kind', 'size', 'end', 'side'),
  [
    ('bpe', 300, True, 'train'),
    ('bpe', 300, True, 'validation'),
    ('wordpiece', 90, True, 'train'),
    ('characters', None, False, 'train'),
  ],
)
def test_shards_in_any_order_make_the_store_of_one_machine(
  corpus, tmp_path, kind, size, end, side
):
  job = job_of(corpus, kind, size, side, end)
  count = len(job.parts)
  assert count > 10
  order = [3, *reversed(range(count)), 5]  # Two are made twice.
  token_shards.begin(tmp_path / 'shards', job)
  made = {n: token_shards.make(tmp_path / 'shards', job, n) for n in order}
  token_shards.write_index(tmp_path / 'shards', made.values())
  token_store.write(
    token_shards.read(tmp_path / 'shards'), job.tokenizer, tmp_path / 'joined'
  )
  token_store.build(
    corpus.documents(side), job.tokenizer, tmp_path / 'whole', end, 1
  )
  assert sums(tmp_path / 'joined') == sums(tmp_path / 'whole')


LONG = '\n'.join(f'Line {n} of a long document.' for n in range(500))


def long_and_short(side):
  yield from (LONG, 'Short.')


def nothing(side):
  yield from ()


def test_a_document_in_pieces_and_shards_without_any_are_put_together(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(tokenization, 'CHUNK', 300)
  tokenizer = tokenizers.train('bytes', [])
  parts = (nothing, long_and_short, nothing)
  job = token_shards.Job(parts, 'train', tokenizer, True, 'spaces')
  make_all(tmp_path / 'shards', job)
  store = token_store.write(
    token_shards.read(tmp_path / 'shards'), tokenizer, tmp_path / 'joined'
  )
  assert store.offsets.tolist() == [0, len(LONG) + 1, len(LONG) + 8]
  documents = long_and_short('train')
  token_store.build(documents, tokenizer, tmp_path / 'whole', True, 1, 'spaces')
  assert sums(tmp_path / 'joined') == sums(tmp_path / 'whole')


def test_the_index_tells_what_is_in_each_shard(corpus, tmp_path):
  job = job_of(corpus)
  make_all(tmp_path, job)
  entries = json.loads((tmp_path / 'index.json').read_text())['shards']
  found = sums(tmp_path)
  for number, entry in enumerate(entries):
    documents = list(job.parts[number]('train'))
    assert entry['number'] == number
    assert entry['sha256'] == found[entry['name']]
    assert entry['size'] == (tmp_path / entry['name']).stat().st_size
    assert entry['num_documents'] == len(documents)
    assert entry['num_bytes'] == sum(len(text.encode()) for text in documents)
    assert entry['num_tokens'] == sum(
      len(job.tokenizer.encode(text)) + 1 for text in documents
    )


def test_a_finished_shard_is_found_and_one_cut_short_is_made_anew(
  corpus, tmp_path, caplog
):
  job = job_of(corpus)
  make_all(tmp_path, job)
  before = sums(tmp_path)
  first, second, *_ = sorted(tmp_path.glob('*.npys'))
  age = first.stat().st_mtime_ns
  second.write_bytes(second.read_bytes()[:-5])
  make_all(tmp_path, job)
  assert first.stat().st_mtime_ns == age
  assert sums(tmp_path) == before
  assert f'{second.name} is damaged' in caplog.text


@pytest.mark.parametrize('gone', [False, True])
def test_a_shard_that_changed_after_it_was_made_is_refused(
  corpus, tmp_path, gone
):
  job = job_of(corpus)
  make_all(tmp_path, job)
  path = sorted(tmp_path.glob('*.npys'))[3]
  content = bytearray(path.read_bytes())
  content[-1] ^= 1
  path.write_bytes(content)
  if gone:
    path.unlink()
  with pytest.raises(UserError, match=f'{path.name} is damaged: its SHA-256'):
    list(token_shards.read(tmp_path))


def test_what_is_wrong_with_the_text_is_left_for_the_others(corpus, tmp_path):
  job = job_of(corpus)
  (tmp_path / 'a.jsonl').write_text('no JSON\n' * 10_000)
  token_shards.begin(tmp_path / 'shards', job)
  assert token_shards.failure(tmp_path / 'shards') == ''
  with pytest.raises(UserError, match='is not JSON'):
    token_shards.make(tmp_path / 'shards', job, 1)
  assert 'is not JSON' in token_shards.failure(tmp_path / 'shards')
  assert token_shards.num_made(tmp_path / 'shards') == 0
  token_shards.begin(tmp_path / 'shards', job)
  assert token_shards.failure(tmp_path / 'shards') == ''


def test_another_machine_reads_the_same_job(corpus, tmp_path):
  job = job_of(corpus)
  make_all(tmp_path / 'one', job)
  make_all(tmp_path / 'two', token_shards.job(tmp_path / 'one'))
  one, two = sums(tmp_path / 'one'), sums(tmp_path / 'two')
  assert one['index.json'] == two['index.json']
