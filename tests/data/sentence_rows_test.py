"""Rows hold whole sentences, and an epoch all of them."""

import numpy as np
import pytest

from lm.data import sentence_rows
from lm.data.sources import Request
from lm.data.token_store import TokenStore
from lm.data.tokenization import SENTENCE_END, WORD_START
from lm.types import UserError, Vocabulary

CLS, SEP = 1, 2
VOCABULARY = Vocabulary(10_000, frozenset((CLS, SEP)), cls_id=CLS, sep_id=SEP)


def make_store(directory, documents, end_of_text=False) -> TokenStore:
  """Documents are lists of the sizes of sentences; tokens count from 10."""
  tokens, marks, offsets = [], [], [0]
  for sentences in documents:
    for size in sentences:
      tokens += range(10 + len(tokens), 10 + len(tokens) + size)
      marks += [WORD_START] * (size - 1) + [WORD_START | SENTENCE_END]
    if end_of_text:
      tokens.append(SEP)
      marks.append(0)
    offsets.append(len(tokens))
  byte_counts = np.ones(10_000, np.int32)
  byte_counts[SEP] = 0
  return TokenStore(
    directory=directory,
    tokens=np.array(tokens, np.uint16),
    offsets=np.array(offsets),
    byte_counts=byte_counts,
    marks=np.array(marks, np.uint8),
    bytes_by_id=True,
    vocab_size=10_000,
  )


def request(length, seed=None, **rules):
  return Request(length, seed, vocabulary=VOCABULARY, **rules)


def drawn(examples):
  names = {CLS: '<', SEP: '>', 0: '.'}
  return [
    ' '.join(names.get(token, str(token - 10)) for token in row)
    for row in examples['tokens'].tolist()
  ]


def test_a_row_has_as_many_sentences_as_fit_and_cuts_what_is_longer(tmp_path):
  store = make_store(tmp_path, [[4, 2, 3], [9, 1]])
  source = sentence_rows.sentences(store, request(8, reads=('word_starts',)))
  examples = source.examples_at(np.arange(source.size + 1))
  assert drawn(examples) == [
    '< 0 1 2 3 4 5 >',
    '< 6 7 8 > . . .',
    '< 9 10 11 12 13 14 >',
    '< 15 16 17 18 > . .',
    '. . . . . . . .',
  ]
  np.testing.assert_array_equal(examples['valid'], examples['tokens'] > 0)
  assert examples['word_starts'].all()


def test_a_mark_between_documents_belongs_to_the_sentence_before(tmp_path):
  store = make_store(tmp_path, [[2, 2], [3]], end_of_text=True)
  assert sentence_rows.sentence_ends(store).tolist() == [2, 5, 9]
  source = sentence_rows.sentences(store, request(7))
  assert drawn(source.examples_at(np.arange(2))) == [
    '< 0 1 2 3 > >',
    '< 5 6 7 > > .',
  ]


def test_an_epoch_has_every_token_once_and_the_next_another_order(tmp_path):
  sizes = np.random.default_rng(0).integers(1, 12, (20, 4))
  store = make_store(tmp_path, sizes.tolist())
  source = sentence_rows.sentences(store, request(16, seed=3))
  epochs = []
  for epoch in range(2):
    index = np.arange(source.size) + epoch * source.size
    tokens = source.examples_at(index)['tokens']
    text = tokens[tokens >= 10]
    assert sorted(text) == sorted(store.tokens)
    epochs.append(text.tolist())
    np.testing.assert_array_equal(
      source.examples_at(index[::-1])['tokens'], tokens[::-1]
    )
  assert epochs[0] != epochs[1]
  again = sentence_rows.sentences(store, request(16, seed=3))  # From its file.
  np.testing.assert_array_equal(again.starts, source.starts)


def test_versions_of_a_row_come_again(tmp_path):
  store = make_store(tmp_path, [[4, 2, 3], [9, 1]])
  source = sentence_rows.sentences(store, request(8, seed=0, duplicates=3))
  size = source.size
  rows = {}
  for epoch in range(6):
    index = np.arange(size) + epoch * size
    tokens = source.examples_at(index)['tokens']
    for draw, row in zip(source.draws(index), tokens):
      assert rows.setdefault(int(draw), row.tolist()) == row.tolist()
  assert sorted(rows) == list(range(3 * size))
  free = sentence_rows.sentences(store, request(8, seed=0))
  np.testing.assert_array_equal(free.draws(np.arange(50)), np.arange(50))


def test_rows_need_marks_and_room(tmp_path):
  store = make_store(tmp_path, [[2]])
  with pytest.raises(UserError, match=r"'wordpiece' or 'roberta'"):
    sentence_rows.sentences(store, Request(8))
  with pytest.raises(UserError, match=r'config\.data\.length higher'):
    sentence_rows.sentences(store, request(2))
