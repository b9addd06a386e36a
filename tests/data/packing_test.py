"""Documents share rows; none is lost, and few places stay empty."""

import numpy as np
import pytest

from lm.data import packing


def asked_for(plan: packing.Plan) -> np.ndarray:
  """The tokens that some row asks for: of each piece all but the first."""
  tokens = [
    np.arange(start + 1, start + size)
    for start, size in zip(plan.starts, plan.sizes)
  ]
  return np.sort(np.concatenate(tokens))


def random_offsets(documents: int, mean: int, seed: int = 0) -> np.ndarray:
  sizes = np.random.default_rng(seed).geometric(1 / mean, documents)
  return np.concatenate([[0], np.cumsum(sizes)])


def test_long_documents_are_cut_and_short_ones_left_out():
  starts, sizes = packing.cut(np.array([0, 6, 8, 9, 9]), length=4)
  assert starts.tolist() == [0, 3, 6]
  assert sizes.tolist() == [4, 3, 2]


@pytest.mark.parametrize('size', range(2, 30))
def test_a_cut_document_asks_for_each_token_but_the_first_once(size):
  starts, sizes = packing.cut(np.array([0, size]), length=5)
  asked = [t for s, n in zip(starts, sizes) for t in range(s + 1, s + n)]
  assert asked == list(range(1, size))


def test_pieces_that_share_nothing_have_every_token_once():
  starts, sizes = packing.cut(np.array([0, 6, 8, 9, 9]), length=4, overlap=0)
  assert starts.tolist() == [0, 4, 6, 8]
  assert sizes.tolist() == [4, 2, 2, 1]


def test_marked_pieces_fit_with_their_marks():
  offsets = random_offsets(1000, mean=30)
  plan = packing.pack(offsets, 64, window=100, overlap=0, marks=2)
  tokens = [np.arange(s, s + n) for s, n in zip(plan.starts, plan.sizes)]
  tokens = np.sort(np.concatenate(tokens))
  np.testing.assert_array_equal(tokens, np.arange(offsets[-1]))
  fill = np.add.reduceat(plan.sizes + 2, plan.rows[:-1])
  assert fill.max() == 64
  assert fill.mean() > 0.97 * 64


def test_each_piece_goes_where_it_leaves_the_least_room():
  assert packing.best_fit(np.array([5, 4, 3, 2, 1, 1]), 8) == [0, 1, 0, 1, 1, 1]
  assert packing.best_fit(np.array([8, 8, 1]), 8) == [0, 1, 2]


@pytest.mark.parametrize('window', [7, 100, 5000])
def test_every_token_is_asked_for_in_one_row_and_no_row_overflows(window):
  offsets = random_offsets(1000, mean=30)
  plan = packing.pack(offsets, 64, window=window)
  expected = np.setdiff1d(np.arange(offsets[-1]), offsets[:-1])
  np.testing.assert_array_equal(asked_for(plan), expected)
  fill = np.add.reduceat(plan.sizes, plan.rows[:-1])
  assert fill.max() <= 64
  assert fill.min() > 0


@pytest.mark.parametrize('mean, at_least', [(50, 0.999), (300, 0.995)])
def test_rows_are_nearly_full(mean, at_least):
  plan = packing.pack(random_offsets(20_000, mean), 1024)
  assert plan.sizes.sum() / (plan.size * 1024) > at_least


def test_nothing_to_pack_gives_no_rows():
  assert packing.pack(np.array([0]), 8).size == 0
  assert packing.pack(np.array([0, 1, 1]), 8).size == 0


def test_a_plan_is_made_once_and_comes_back_as_it_was(tmp_path, monkeypatch):
  offsets = random_offsets(300, mean=20)
  made = packing.of_store(tmp_path, offsets, 64)
  monkeypatch.setattr(packing, 'pack', None)
  for one, other in zip(made, packing.of_store(tmp_path, offsets, 64)):
    np.testing.assert_array_equal(one, other)
  assert [path.name for path in tmp_path.iterdir()] == ['pack-64.npy']


@pytest.mark.parametrize('left', [0, 50, 2000])
def test_a_plan_cut_short_is_made_anew_and_said(tmp_path, caplog, left):
  offsets = random_offsets(300, mean=20)
  made = packing.of_store(tmp_path, offsets, 64)
  path = tmp_path / 'pack-64.npy'
  content = path.read_bytes()
  path.write_bytes(content[:left])
  again = packing.of_store(tmp_path, offsets, 64)
  np.testing.assert_array_equal(again.starts, made.starts)
  assert path.read_bytes() == content
  assert 'is made anew' in caplog.text
