"""Examples are pure functions of (seed, index), and miss no token."""

import numpy as np
import pytest

from lm.data import sources
from lm.data.token_store import TokenStore
from lm.types import UserError, Vocabulary


def make_store(directory, sizes, bytes_by_id=False) -> TokenStore:
  """A store whose tokens count from 0, and whose bytes are their squares."""
  total = sum(sizes)
  return TokenStore(
    directory=directory,
    tokens=np.arange(total, dtype=np.uint16),
    offsets=np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]),
    byte_counts=np.arange(total, dtype=np.int32) ** 2,
    marks=np.zeros(total, np.uint8),
    bytes_by_id=bytes_by_id,
    vocab_size=total,
  )


PACKINGS = {'windows': sources.windows, 'documents': sources.packed}


def build(packing, store, length, seed):
  request = sources.Request(length, seed, reads=('bytes',))
  return PACKINGS[packing](store, request)


def targets(examples) -> list[int]:
  """What a model that predicts the next token is asked for."""
  asked = examples['valid'][:, 1:]
  if 'segment_ids' in examples:
    segments = examples['segment_ids']
    asked = asked & (segments[:, 1:] == segments[:, :-1])
  return examples['tokens'][:, 1:][asked].tolist()


def test_windows_in_order_share_one_token(tmp_path):
  source = build('windows', make_store(tmp_path, [9]), 4, None)
  assert source.size == 3
  examples = source.examples_at(np.arange(4))
  assert examples['tokens'].tolist() == [
    [0, 1, 2, 3],
    [3, 4, 5, 6],
    [6, 7, 8, 0],
    [0, 0, 0, 0],
  ]
  assert examples['valid'].tolist() == [
    [True, True, True, True],
    [True, True, True, True],
    [True, True, True, False],
    [False, False, False, False],
  ]
  assert examples['bytes'].tolist() == [
    [0, 1, 4, 9],
    [9, 16, 25, 36],
    [36, 49, 64, 0],
    [0, 0, 0, 0],
  ]


def test_packed_documents_have_segments_and_positions(tmp_path):
  store = make_store(tmp_path, [3, 2, 5, 1])
  source = build('documents', store, 6, None)
  examples = source.examples_at(np.array([1, 0, 2]))
  assert examples['tokens'].tolist() == [
    [0, 1, 2, 3, 4, 0],
    [5, 6, 7, 8, 9, 0],
    [0, 0, 0, 0, 0, 0],
  ]
  assert examples['segment_ids'].tolist() == [
    [1, 1, 1, 2, 2, 0],
    [1, 1, 1, 1, 1, 0],
    [0, 0, 0, 0, 0, 0],
  ]
  assert examples['positions'].tolist() == [
    [0, 1, 2, 0, 1, 0],
    [0, 1, 2, 3, 4, 0],
    [0, 0, 0, 0, 0, 0],
  ]
  assert (examples['valid'] == (examples['segment_ids'] > 0)).all()


MARKED = Vocabulary(100, frozenset((98, 99)), cls_id=98, sep_id=99)


def build_marked(store, length, seed=None, vocabulary=MARKED):
  request = sources.Request(
    length, seed, ('word_starts',), vocabulary, marks=True
  )
  return sources.packed(store, request)


def test_documents_between_marks_share_no_token(tmp_path):
  store = make_store(tmp_path, [3, 2, 6, 1])
  examples = build_marked(store, 6).examples_at(np.arange(5))
  assert examples['tokens'].tolist() == [
    [98, 5, 6, 7, 8, 99],
    [98, 0, 1, 2, 99, 0],
    [98, 3, 4, 99, 0, 0],
    [98, 9, 10, 99, 0, 0],
    [98, 11, 99, 0, 0, 0],
  ]
  examples = build_marked(store, 9).examples_at(np.arange(3))
  assert examples['tokens'].tolist() == [
    [98, 5, 6, 7, 8, 9, 10, 99, 0],
    [98, 0, 1, 2, 99, 98, 3, 4, 99],
    [98, 11, 99, 0, 0, 0, 0, 0, 0],
  ]
  assert examples['segment_ids'].tolist() == [
    [1, 1, 1, 1, 1, 1, 1, 1, 0],
    [1, 1, 1, 1, 1, 2, 2, 2, 2],
    [1, 1, 1, 0, 0, 0, 0, 0, 0],
  ]
  assert examples['positions'].tolist() == [
    [0, 1, 2, 3, 4, 5, 6, 7, 0],
    [0, 1, 2, 3, 4, 0, 1, 2, 3],
    [0, 1, 2, 0, 0, 0, 0, 0, 0],
  ]
  assert (examples['valid'] == (examples['segment_ids'] > 0)).all()
  is_mark = examples['tokens'] >= 98
  np.testing.assert_array_equal(
    examples['word_starts'], is_mark | ~examples['valid']
  )


def test_without_marks_in_the_vocabulary_pieces_still_share_nothing(tmp_path):
  store = make_store(tmp_path, [6, 1])
  examples = build_marked(store, 4, vocabulary=Vocabulary(9)).examples_at(
    np.arange(2)
  )
  assert examples['tokens'].tolist() == [[0, 1, 2, 3], [4, 5, 6, 0]]
  assert examples['segment_ids'].tolist() == [[1, 1, 1, 1], [1, 1, 2, 0]]


@pytest.mark.parametrize('seed', [None, 3])
def test_an_epoch_has_every_token_between_marks_once(tmp_path, seed):
  store = make_store(tmp_path, [30, 40, 5, 12, 1])
  source = build_marked(store, 16, seed)
  tokens = source.examples_at(np.arange(source.size))['tokens']
  sizes = {'begin': (tokens == 98).sum(), 'end': (tokens == 99).sum()}
  assert sizes['begin'] == sizes['end'] == len(source.plan.sizes)
  valid = source.examples_at(np.arange(source.size))['valid']
  assert sorted(tokens[valid & (tokens < 98)]) == [*range(88)]


@pytest.mark.parametrize('packing', PACKINGS)
@pytest.mark.parametrize('seed', [None, 3])
def test_examples_have_the_types_that_objectives_expect(
  tmp_path, packing, seed
):
  source = build(packing, make_store(tmp_path, [50]), 8, seed)
  examples = source.examples_at(np.arange(5))
  types = {name: (x.shape, x.dtype) for name, x in examples.items()}
  expected = {name: ((5, 8), np.int32) for name in types}
  assert types == expected | {'valid': ((5, 8), np.dtype(bool))}
  assert {'tokens', 'valid', 'bytes'} <= set(types)


@pytest.mark.parametrize('length', [2, 3, 5, 8, 200])
@pytest.mark.parametrize('sizes', [[2], [9], [50, 3, 1, 2, 30, 17], [64]])
@pytest.mark.parametrize('packing', PACKINGS)
def test_one_pass_asks_for_every_token_once(tmp_path, packing, sizes, length):
  store = make_store(tmp_path, sizes)
  source = build(packing, store, length, None)
  # Two batches more than there are, as the last one of an evaluation may be.
  examples = source.examples_at(np.arange(source.size + 2))
  firsts = [0] if packing == 'windows' else store.offsets.tolist()
  expected = [t for t in range(sum(sizes)) if t not in firsts]
  assert sorted(targets(examples)) == expected


@pytest.mark.parametrize('packing', PACKINGS)
@pytest.mark.parametrize('bytes_by_id', [True, False])
def test_bytes_are_those_of_the_tokens(tmp_path, packing, bytes_by_id):
  store = make_store(tmp_path, [40, 7], bytes_by_id)
  examples = build(packing, store, 10, 1).examples_at(np.arange(9))
  expected = np.where(examples['valid'], examples['tokens'] ** 2, 0)
  np.testing.assert_array_equal(examples['bytes'], expected)


@pytest.mark.parametrize('packing', PACKINGS)
def test_an_example_depends_on_its_index_alone(tmp_path, packing):
  store = make_store(tmp_path, [30, 80, 5, 12] * 20)
  source = build(packing, store, 16, 7)
  index = np.array([5, 0, 10**6, 3 * source.size + 1, 5])
  together = source.examples_at(index)
  again = build(packing, store, 16, 7)
  for place, one in enumerate(index):
    alone = again.examples_at(np.array([one]))
    for name, array in alone.items():
      np.testing.assert_array_equal(array[0], together[name][place])


@pytest.mark.parametrize('packing', PACKINGS)
def test_every_example_comes_once_an_epoch_and_each_epoch_in_another_order(
  tmp_path, packing
):
  store = make_store(tmp_path, [30, 80, 5, 12] * 20)
  source = build(packing, store, 16, 7)
  epochs = [
    source.examples_at(epoch * source.size + np.arange(source.size))
    for epoch in range(3)
  ]
  starts = [examples['tokens'][:, 0] for examples in epochs]
  for start, examples in zip(starts, epochs):
    assert len(set(start.tolist())) == source.size
    assert len(set(targets(examples))) == len(targets(examples))
  if packing == 'documents':
    assert set(starts[0].tolist()) == set(starts[1].tolist())
  assert (np.argsort(starts[0]) != np.argsort(starts[1])).mean() > 0.9
  other = build(packing, store, 16, 8)
  first = other.examples_at(np.arange(source.size))['tokens'][:, 0]
  assert (np.argsort(starts[0]) != np.argsort(first)).mean() > 0.9


def test_each_epoch_moves_the_windows_by_a_number_of_its_own(tmp_path):
  source = build('windows', make_store(tmp_path, [1000]), 11, 0)
  assert source.size == 98  # Of 99 whole windows, one is room to move.
  starts = source.examples_at(np.arange(400 * 98))['tokens'][:, 0]
  moved = starts.reshape(400, 98) % 10
  assert (moved == moved[:, :1]).all()  # One grid an epoch,
  assert set(moved[:, 0].tolist()) == set(range(10))  # anywhere over time.
  assert source.examples_at(np.arange(400 * 98))['valid'].all()


@pytest.mark.parametrize('tokens', [11, 12, 20, 21, 30])
def test_a_text_of_few_windows_is_used_from_its_start_to_its_end(
  tmp_path, tokens
):
  source = build('windows', make_store(tmp_path, [tokens]), 11, 0)
  examples = source.examples_at(np.arange(500))
  assert examples['valid'].all()
  seen = set(examples['tokens'].ravel().tolist())
  assert seen == set(range(tokens))


@pytest.mark.parametrize(
  'packing, sizes, length, seed, message',
  [
    ('windows', [10], 11, 0, r'10 tokens, fewer than one window of 11.*length'),
    ('windows', [1], 11, None, r'1 tokens, fewer than one window'),
    ('windows', [10], 1, 0, r'Set config\.data\.length higher'),
    ('documents', [10], 1, 0, r'Set config\.data\.length higher'),
    ('documents', [1, 1], 8, 0, r'None of the 2 documents'),
    ('marked', [10], 2, 0, r'Set config\.data\.length higher'),
  ],
)
def test_a_text_too_short_is_refused(
  tmp_path, packing, sizes, length, seed, message
):
  store = make_store(tmp_path, sizes)
  with pytest.raises(UserError, match=message):
    if packing == 'marked':
      build_marked(store, length, seed)
    else:
      build(packing, store, length, seed)
