"""A corpus is the same on every call, and its two sides share no document."""

import gzip
import json
import pickle
import random

import pytest

from lm.data import corpora
from lm.types import UserError

TEXTS = [f'document {number}' for number in range(1000)]


def _sides(corpus):
  return [list(corpus.documents(split)) for split in ('train', 'validation')]


def _write(file, texts):
  if '.jsonl' in file.name:
    text = '\n'.join(json.dumps({'text': text}) for text in texts)
  else:
    text = '\n\n'.join(texts)
  content = text.encode()
  file.write_bytes(gzip.compress(content) if '.gz' in file.name else content)


@pytest.mark.parametrize('name', ['a.txt', 'a.txt.gz', 'a.jsonl', 'a.jsonl.gz'])
def test_every_document_is_on_one_side_and_in_order(tmp_path, name):
  _write(tmp_path / name, TEXTS)
  source = 'jsonl' if 'jsonl' in name else 'text'
  corpus = corpora.build(source, str(tmp_path / name))
  train, validation = _sides(corpus)

  assert set(train).isdisjoint(validation)
  assert sorted(train + validation, key=TEXTS.index) == TEXTS
  assert train == sorted(train, key=TEXTS.index)
  assert _sides(corpus) == [train, validation]
  assert _sides(pickle.loads(pickle.dumps(corpus))) == [train, validation]


def test_a_document_keeps_its_side_wherever_it_lies(tmp_path):
  _write(tmp_path / 'a.txt', TEXTS)
  _, before = _sides(corpora.build('text', f'{tmp_path}/a.txt'))
  moved = TEXTS * 2
  random.Random(0).shuffle(moved)
  _write(tmp_path / 'a.txt', moved[:500])
  _write(tmp_path / 'b.txt', moved[500:] + ['one more'])
  train, after = _sides(corpora.build('text', f'{tmp_path}/*.txt'))

  assert set(train).isdisjoint(after)
  assert set(after) - {'one more'} == set(before)
  assert len(after) >= 2 * len(before)


@pytest.mark.parametrize('share', [0.01, 0.1, 0.5, 0.9])
def test_validation_is_about_the_share_asked_for(share):
  texts = [f'text {number}' for number in range(20_000)]
  chosen = [corpora.side(text, share) == 'validation' for text in texts]

  deviation = (share * (1 - share) / len(texts)) ** 0.5
  assert abs(sum(chosen) / len(texts) - share) < 4 * deviation


def test_a_larger_share_only_adds_documents():
  def chosen(share):
    return {text for text in TEXTS if corpora.side(text, share) != 'train'}

  assert chosen(0.1) < chosen(0.2) < chosen(0.7)


@pytest.mark.parametrize('validation', [0.1, 0.25, 0.3])
def test_tail_cuts_the_characters_of_all_files_as_one_text(
  tmp_path, validation
):
  (tmp_path / 'a.txt').write_text('first\n\n你好\n')
  (tmp_path / 'b.txt').write_text('\n second, 世界')
  whole = 'first\n\n你好\n\n second, 世界'
  corpus = corpora.build(
    'text', f'{tmp_path}/*.txt', split='tail', validation=validation
  )

  train, validation_text = _sides(corpus)
  cut = int(len(whole) * (1 - validation))
  assert (train, validation_text) == ([whole[:cut]], [whole[cut:]])


def test_tail_is_the_split_of_nanogpt(shared):
  path = shared / 'data' / 'tinyshakespeare' / 'input.txt'
  data = path.read_text()
  (train,), (validation,) = _sides(
    corpora.build('text', str(path), split='tail')
  )

  assert train == data[: int(len(data) * 0.9)]
  assert validation == data[int(len(data) * 0.9) :]
  assert (len(train), len(validation)) == (1_003_854, 111_540)


def test_the_fingerprint_follows_the_text_and_its_sides_alone(tmp_path):
  _write(tmp_path / 'a.txt', TEXTS)
  _write(tmp_path / 'copy.txt', TEXTS)
  _write(tmp_path / 'changed.txt', ['Document 0', *TEXTS[1:]])
  _write(tmp_path / 'a.jsonl', TEXTS)
  (tmp_path / 'copy.jsonl.gz').write_bytes((tmp_path / 'a.jsonl').read_bytes())

  def fingerprint(source, name, **settings):
    path = f'{tmp_path}/{name}' if name else ''
    return corpora.build(source, path, **settings).fingerprint()

  assert fingerprint('text', 'a.txt') == fingerprint('text', 'copy.txt')
  different = [
    fingerprint('text', 'a.txt'),
    fingerprint('text', 'changed.txt'),
    fingerprint('text', '*.txt'),
    fingerprint('text', 'a.txt', validation=0.2),
    fingerprint('text', 'a.txt', split='tail'),
    fingerprint('text', 'a.jsonl'),
    fingerprint('jsonl', 'a.jsonl'),
    fingerprint('jsonl', 'copy.jsonl.gz'),
    fingerprint('jsonl', 'a.jsonl', field='title'),
    fingerprint('stdlib', ''),
    fingerprint('dialogues', ''),
    fingerprint('dialogues', '', validation=0.2),
  ]
  assert len(set(different)) == len(different)
  assert all(len(bytes.fromhex(digest)) == 32 for digest in different)


def test_the_embedded_english_is_split_without_a_leak():
  train, validation = _sides(corpora.build('stdlib'))

  assert set(train).isdisjoint(validation)
  characters = [sum(map(len, side)) for side in (train, validation)]
  assert 0.05 < characters[1] / sum(characters) < 0.15


def test_dialogues_are_told_by_two_speakers_in_two_languages():
  train, validation = _sides(corpora.build('dialogues'))
  documents = train + validation
  english = [text for text in documents if text.startswith('User: ')]
  chinese = [text for text in documents if text.startswith('用户：')]

  assert len(english) >= 150
  assert len(chinese) >= 150
  assert len(english) + len(chinese) == len(documents) == len(set(documents))
  assert (
    'User: Tell me a joke.\nAssistant: Why did the bicycle fall over? Because'
    ' it was two tired.'
  ) in documents
  greeted = [
    text for text in chinese if '\n助手：你好，我是人工智能助手' in text
  ]
  assert len(greeted) >= 5


def test_dialogues_end_with_the_assistant_and_are_in_the_public_domain():
  lines = corpora.DIALOGUES.read_text('utf-8').splitlines()
  records = [json.loads(line) for line in lines]

  assert all(set(record) == {'id', 'language', 'turns'} for record in records)
  assert {len(record['turns']) for record in records} == {2, 4, 6}
  assert len({record['id'] for record in records}) == len(records)
  beside = corpora.DIALOGUES.with_name('dialogues.jsonl.license')
  assert 'SPDX-License-Identifier: CC0-1.0' in beside.read_text()


@pytest.mark.parametrize(
  'source, settings, message',
  [
    ('txt', {}, "config.data.source is 'txt'.* one of text, jsonl, tfds,"),
    ('text', {}, 'config.data.path is empty'),
    ('tfds', {}, 'config.data.path is empty'),
    ('stdlib', {'path': 'a.txt'}, "'a.txt', but source 'stdlib' has its text"),
    ('stdlib', {'split': 'tail'}, "config.data.split is 'tail'"),
    ('text', {'path': 'a.txt', 'split': 'random'}, "split is 'random'"),
    ('text', {'path': 'a.txt'}, 'no such file'),
    ('stdlib', {'validation': 0.0}, 'config.data.validation is 0.0'),
    ('stdlib', {'validation': 1.1}, 'config.data.validation is 1.1'),
    ('stdlib', {'validation': 10.0}, 'config.data.validation is 10.0'),
  ],
)
def test_settings_that_make_no_sense_are_refused(source, settings, message):
  with pytest.raises(UserError, match=message):
    corpora.build(source, **settings)


@pytest.mark.parametrize('content', ['only one document', ' \n\n'])
def test_a_side_without_documents_is_refused(tmp_path, content):
  (tmp_path / 'a.txt').write_text(content)
  corpus = corpora.build('text', f'{tmp_path}/a.txt')

  with pytest.raises(UserError, match='split of text-a-txt is empty'):
    _sides(corpus)
