"""Pairs of texts are as BERT makes them."""

import numpy as np
import pytest

from lm.data import pairs
from lm.types import UserError
from tests.data.sentence_rows_test import CLS, SEP, make_store, request

DOCUMENTS = np.random.default_rng(0).integers(1, 9, (30, 6)).tolist()


def build(directory, length=24, seed=0, documents=DOCUMENTS, **rules):
  return pairs.pairs(
    make_store(directory, documents), request(length, seed, **rules)
  )


def parts(examples):
  """Yields both texts of each row, its label, and checks its form."""
  columns = ('tokens', 'token_types', 'valid', 'next_sentence')
  for tokens, types, valid, label in zip(*(examples[c] for c in columns)):
    size = int(valid.sum())
    assert valid[:size].all() and not tokens[size:].any()
    row = tokens[:size].tolist()
    assert row[0] == CLS and row[-1] == SEP and row.count(SEP) == 2
    middle = row.index(SEP)
    expected = [0] * (middle + 1) + [1] * (size - middle - 1)
    assert types.tolist() == expected + [0] * (len(tokens) - size)
    yield row[1:middle], row[middle + 1 : -1], int(label)


def document_of(store, token):
  return int(np.searchsorted(store.offsets, token - 10, 'right')) - 1


def test_the_second_text_follows_or_is_of_another_document(tmp_path):
  source, index = build(tmp_path), np.arange(2000)
  labels = []
  for first, second, label in parts(source.examples_at(index)):
    assert first and second and len(first) + len(second) <= 21
    for text in (first, second):  # Each is a stretch of one document.
      assert text == list(range(text[0], text[0] + len(text)))
      assert len({document_of(source.store, t) for t in text}) == 1
    owners = [document_of(source.store, text[0]) for text in (first, second)]
    assert (owners[0] != owners[1]) == bool(label)
    if not label:
      assert second[0] > first[-1]
    labels.append(label)
  rows = source.place(index)[0]
  several = np.diff(source.chunks[rows, :2])[:, 0] > 1
  labels = np.array(labels)
  assert labels[~several].all()  # One sentence alone has a foreign second.
  number = several.sum()
  assert number > 1000
  assert abs(labels[several].sum() - number / 2) < 3 * (number / 4) ** 0.5


def test_uncut_texts_are_whole_sentences(tmp_path):
  source = build(tmp_path, length=200)
  ends = {0, *source.ends.tolist()}
  for first, second, _ in parts(source.examples_at(np.arange(300))):
    for text in (first, second):
      assert text[0] - 10 in ends and text[-1] - 9 in ends


def test_the_longer_text_is_cut_on_both_sides(tmp_path):
  source = build(tmp_path, length=12, documents=[[40, 3], [40, 40]])
  sizes, starts = set(), set()
  for first, second, label in parts(source.examples_at(np.arange(500))):
    sizes.add((len(first), len(second), label))
    starts.add(first[0])
  assert max(a + b for a, b, _ in sizes) == 9
  assert (5, 4, 1) in sizes  # Both were too long.
  assert len(starts) > 10


def test_an_example_does_not_depend_on_its_batch(tmp_path):
  source = build(tmp_path)
  whole = source.examples_at(np.arange(100, 140))
  for number in (0, 17, 39):
    alone = source.examples_at(np.array([100 + number]))
    for name, rows in alone.items():
      np.testing.assert_array_equal(rows[0], whole[name][number])


def test_one_pass_has_every_chunk_and_then_filler(tmp_path):
  source = build(tmp_path, seed=None)
  examples = source.examples_at(np.arange(source.size + 2))
  assert (
    examples['valid'].any(axis=1).tolist() == [True] * source.size + [False] * 2
  )
  again = build(tmp_path, seed=None).examples_at(np.arange(source.size + 2))
  for name, rows in examples.items():
    np.testing.assert_array_equal(again[name], rows)


def test_versions_of_a_pair_come_again(tmp_path):
  source = build(tmp_path, duplicates=2)
  rows = {}
  for epoch in range(5):
    index = np.arange(source.size) + epoch * source.size
    examples = source.examples_at(index)
    for draw, *row in zip(
      source.draws(index), examples['tokens'], examples['next_sentence']
    ):
      row = [row[0].tolist(), int(row[1])]
      assert rows.setdefault(int(draw), row) == row
  assert sorted(rows) == [*range(source.size)]


def test_each_version_draws_anew_which_documents_have_short_chunks(tmp_path):
  rules = {'documents': [[2] * 60] * 40, 'length': 43, 'short_seq_prob': 0.5}
  one = build(tmp_path, **rules).chunks
  source = build(tmp_path, duplicates=3, **rules)
  begins = np.flatnonzero(source.chunks[:, 0] == 0)  # Where a version does.
  assert len(begins) == 3
  np.testing.assert_array_equal(source.chunks[: len(one)], one)
  versions = np.split(source.chunks, begins[1:])
  texts = {tuple(map(tuple, version.tolist())) for version in versions}
  assert len(texts) == 3
  in_order = build(tmp_path, seed=None, duplicates=3, **rules)
  np.testing.assert_array_equal(in_order.chunks, one)


def test_sentences_in_the_other_order_are_of_one_document(tmp_path):
  source = build(tmp_path, pair='sentence_order')
  labels = []
  for first, second, label in parts(source.examples_at(np.arange(1000))):
    owners = {document_of(source.store, text[0]) for text in (first, second)}
    assert len(owners) == 1
    assert (first[0] > second[0]) == bool(label)
    labels.append(label)
  assert abs(np.sum(labels) - 500) < 3 * 250**0.5


def test_some_chunks_are_short(tmp_path):
  sizes = {
    share: np.diff(
      build(
        tmp_path, length=43, documents=[[2] * 60] * 40, short_seq_prob=share
      ).chunks[:, :2]
    )
    for share in (0.0, 1.0)
  }
  assert (sizes[0.0] == 20).all()
  assert sizes[1.0].min() <= 2 and sizes[1.0].mean() < 14


def test_all_chunks_of_a_document_aim_at_one_length(tmp_path):
  documents = [[1] * 41] * 240
  source = build(tmp_path, length=43, documents=documents)
  first, _, target = source.chunks.T
  of_document = target[first % 41 == 0]
  assert (target == of_document[first // 41]).all()
  assert of_document.min() >= 2 and of_document.max() == 40
  share = 0.1 * 38 / 39  # Of those drawn, some are as long as a row.
  deviation = (share * (1 - share) / len(of_document)) ** 0.5
  assert len(of_document) == 240
  assert abs(np.mean(of_document < 40) - share) < 3 * deviation


@pytest.mark.parametrize(
  'documents, rules, message',
  [
    ([[2, 2]], {}, 'one document only'),
    ([[2], [2]], {'pair': 'sentence_order'}, 'has two sentences'),
    ([[2], [2]], {'pair': 'other'}, r'config\.data\.pair'),
    ([[2], [2]], {'short_seq_prob': 2.0}, r'config\.data\.short_seq_prob'),
    ([[2], [2]], {'length': 4}, r'config\.data\.length higher'),
  ],
)
def test_what_makes_no_pairs_is_refused(tmp_path, documents, rules, message):
  with pytest.raises(UserError, match=message):
    build(tmp_path, documents=documents, **rules)
