"""Masks, drawn: a row for each query, `#` where it sees the key."""

import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from lm.models import masks
from lm.models.attention import attend

SEGMENTS = jnp.array([[1, 1, 2, 0]])
HELD = jnp.array([[True, True, False, True]])


def drawn(matrix):
  return [''.join('.#'[int(seen)] for seen in row) for row in matrix]


PICTURES = {
  'causal': (
    masks.causal(),
    ['#...',
     '##..',
     '###.',
     '####'],
  ),
  'window': (
    masks.window(2),
    ['#...',
     '##..',
     '.##.',
     '..##'],
  ),
  'a window of one': (
    masks.window(1),
    ['#...',
     '.#..',
     '..#.',
     '...#'],
  ),
  'valid': (
    masks.valid(HELD),
    ['##.#',
     '##.#',
     '##.#',
     '##.#'],
  ),
  'prefix of a causal row': (
    masks.causal() & masks.prefix(jnp.array([[True, True, False, False]])),
    ['##..',
     '##..',
     '###.',
     '####'],
  ),
  'prefix & segments': (
    masks.causal()
    & masks.same_segment(SEGMENTS)
    & masks.prefix(jnp.array([[True, True, True, False]])),
    ['##..',
     '##..',
     '..#.',
     '...#'],
  ),
  'prefix where all is seen': (
    masks.valid(HELD) & masks.prefix(HELD),
    ['##.#',
     '##.#',
     '##.#',
     '##.#'],
  ),
  'segments': (
    masks.same_segment(SEGMENTS),
    ['##..',
     '##..',
     '..#.',
     '...#'],
  ),
  'causal & segments': (
    masks.causal() & masks.same_segment(SEGMENTS),
    ['#...',
     '##..',
     '..#.',
     '...#'],
  ),
  'causal & valid': (
    masks.causal() & masks.valid(HELD),
    ['#...',
     '##..',
     '##..',
     '##.#'],
  ),
  'the narrower of two windows': (
    masks.window(3) & masks.window(2),
    ['#...',
     '##..',
     '.##.',
     '..##'],
  ),
  'valid & valid': (
    masks.valid(HELD) & masks.valid(jnp.array([[False, True, True, True]])),
    ['.#.#',
     '.#.#',
     '.#.#',
     '.#.#'],
  ),
  'all': (
    masks.window(3) & masks.valid(HELD) & masks.same_segment(SEGMENTS),
    ['#...',
     '##..',
     '....',
     '...#'],
  ),
}  # fmt: skip


@pytest.mark.parametrize('name', PICTURES)
def test_a_mask_looks_like_this(name):
  mask, picture = PICTURES[name]
  row = jnp.arange(4)[None]
  dense = mask.dense(row, row)
  assert dense.shape[1] == 1  # The same for every head.
  assert drawn(np.broadcast_to(dense[0, 0], (4, 4))) == picture


@pytest.mark.parametrize('name', PICTURES)
def test_joining_is_commutative_and_keeps_what_is_joined_with_nothing(name):
  mask, picture = PICTURES[name]
  row = jnp.arange(4)[None]
  for whole in (mask & masks.Mask(), masks.Mask() & mask):
    dense = whole.dense(row, row)[0, 0]
    assert drawn(np.broadcast_to(dense, (4, 4))) == picture


def test_half_of_the_heads_see_forward_and_half_backward():
  mask = masks.direction('forward_backward', 3)
  slots = jnp.arange(3)[None]
  seen = mask.dense(slots, slots)
  assert seen.shape == (1, 3, 3, 3)
  for head in range(2):
    assert drawn(np.array(seen[0, head])) == ['#..', '##.', '###']
  assert drawn(np.array(seen[0, 2])) == ['###', '.##', '..#']


def test_a_prompt_that_all_may_see_is_shorter_than_the_cache():
  mask = masks.causal() & masks.prefix(jnp.array([[True, True]]))
  seen = mask.dense(jnp.arange(2)[None], jnp.arange(4)[None])
  assert drawn(np.array(seen[0, 0])) == ['##..', '##..']


def test_a_document_sees_its_own_source_alone():
  mask = masks.same_segment(jnp.array([[1, 1, 2, 0]]), jnp.array([[1, 2, 2]]))
  seen = mask.dense(jnp.arange(3)[None], jnp.arange(4)[None])
  assert drawn(np.array(seen[0, 0])) == ['##..', '..#.', '..#.']


def test_nothing_restricted_needs_no_matrix():
  row = jnp.arange(4)[None]
  assert masks.Mask().dense(row, row) is None


def test_queries_of_each_row_stand_at_the_slots_of_a_cache():
  # Five slots; the prompts had 3 and 1 tokens, and two more are read.
  slots = jnp.array([[3, 4], [1, 2]])
  mask = masks.causal().dense(slots, jnp.arange(5)[None])
  assert drawn(mask[0, 0]) == ['####.', '#####']
  assert drawn(mask[1, 0]) == ['##...', '###..']
  band = masks.window(2).dense(slots, jnp.arange(5)[None])
  assert drawn(band[0, 0]) == ['..##.', '...##']
  assert drawn(band[1, 0]) == ['##...', '.##..']


def test_two_ways_to_cut_a_row_into_documents_are_refused():
  segments = masks.same_segment(SEGMENTS)
  with pytest.raises(ValueError, match='cannot be joined'):
    segments & segments


def test_a_window_is_a_whole_number_that_holds_where_it_is_said():
  with pytest.raises(TypeCheckError):
    masks.window(1.5)
  row = jnp.arange(3)[None]
  for banded, last in ((True, '.##'), (False, '###')):
    mask = masks.window(2, jnp.asarray([banded]))
    mask = mask.replace(banded=mask.banded[0])  # As a scan over layers does.
    assert drawn(mask.dense(row, row)[0, 0]) == ['#..', '##.', last]


def test_a_window_of_some_layers_is_not_joined_with_another():
  with pytest.raises(ValueError, match='cannot be joined'):
    masks.window(3) & masks.window(2, jnp.asarray([True]))


def test_attention_reads_what_the_mask_shows_and_is_finite_where_it_is_nothing():
  rng = np.random.default_rng(0)
  query, key = jnp.asarray(rng.normal(size=(2, 1, 4, 1, 4)), jnp.float32)
  value = jnp.eye(4)[None, :, None]  # So that what is read are the weights.
  mask = masks.causal() & masks.valid(jnp.array([[False, True, True, True]]))
  slots = jnp.arange(4)[None]
  read = attend(query, key, value, mask, slots, lambda weights: weights)
  weights = np.asarray(read[0, :, 0])
  np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-6)
  assert drawn(weights[1:] > 0) == ['.#..', '.##.', '.###']
  scores = np.asarray(query[0, 3, 0] @ key[0, 1:, 0].T)
  expected = np.exp(scores) / np.exp(scores).sum()
  np.testing.assert_allclose(weights[3, 1:], expected, atol=1e-6)
