"""Tags of named entities, and which may follow which."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from lm.tasks import iob2
from lm.types import UserError

TAGS = ('O', 'B-LOC', 'I-LOC', 'B-PER', 'I-PER')
SEQUENCES = st.lists(st.sampled_from(TAGS), max_size=12)


def test_an_inventory_has_both_tags_of_each_type_that_occurs():
  tags = ['O', 'I-work-of-art', 'B-LOC', 'O', 'B-work-of-art']
  assert iob2.inventory(tags) == (
    'O',
    'B-LOC',
    'I-LOC',
    'B-work-of-art',
    'I-work-of-art',
  )
  assert iob2.types_of(TAGS) == ('LOC', 'PER')


@pytest.mark.parametrize(
  ('tags', 'complaint'),
  [
    ((), 'The tags are none'),
    (('O',), 'The tags are O,'),
    (('B-LOC', 'I-LOC'), 'The tags are B-LOC, I-LOC,'),
    (('O', 'B-LOC'), 'not O with B- and I-'),
    ((*TAGS, 'O'), 'each once'),
    (('O', 'B', 'I'), "'B' is among the tags"),
    (('O', 'E-LOC'), "'E-LOC' is among the tags"),
  ],
)
def test_other_tags_are_refused(tags, complaint):
  with pytest.raises(UserError, match=complaint):
    iob2.check_inventory(tags)


@pytest.mark.parametrize(
  ('tags', 'entities'),
  [
    ('O O', []),
    ('B-PER I-PER O B-LOC', [('PER', 0, 2), ('LOC', 3, 4)]),
    ('B-PER B-PER', [('PER', 0, 1), ('PER', 1, 2)]),
    ('O I-PER I-PER', [('PER', 1, 3)]),
    ('B-PER I-LOC', [('PER', 0, 1), ('LOC', 1, 2)]),
    ('I-LOC', [('LOC', 0, 1)]),
  ],
)
def test_an_entity_begins_with_a_tag_that_continues_none(tags, entities):
  assert iob2.spans(tags.split()) == entities


@given(SEQUENCES)
def test_entities_are_those_of_seqeval(tags):
  """Whose `get_entities` is conlleval's reading."""
  expected = [(type, a, b + 1) for type, a, b in get_entities(tags)]
  assert iob2.spans(tags) == expected


@given(SEQUENCES)
def test_repaired_tags_have_the_same_entities_and_each_begins_with_b(tags):
  mended = iob2.repaired(tags)
  assert len(mended) == len(tags)
  assert get_entities(mended) == get_entities(tags)
  for before, tag in itertools.pairwise(['O', *mended]):
    assert not tag.startswith('I-') or before[2:] == tag[2:]
  assert iob2.repaired(mended) == mended


def test_the_order_of_tags_is_this():
  never = -np.inf
  made = iob2.order(TAGS)
  np.testing.assert_array_equal(made.first, [0, 0, never, 0, never])
  np.testing.assert_array_equal(
    made.after,
    [
      [0, 0, never, 0, never],
      [0, 0, 0, 0, never],
      [0, 0, 0, 0, never],
      [0, 0, never, 0, 0],
      [0, 0, never, 0, 0],
    ],
  )


def test_the_likeliest_tags_are_those_of_the_whole_sentence():
  scores = np.array([[4.0, 3.0, 0.0, 0.0, 0.0], [1.0, 0.0, 5.0, 0.0, 0.0]])
  assert scores.argmax(axis=1).tolist() == [0, 2]  # O I-LOC
  best = iob2.likeliest(scores, iob2.order(TAGS))
  assert best.tolist() == [1, 2]  # 3 + 5, of O B-LOC it is 4 + 0


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_no_other_possible_tags_have_a_higher_score(data):
  size = data.draw(st.integers(0, 4))
  scores = np.random.default_rng(data.draw(st.integers(0, 999))).normal(
    size=(size, len(TAGS))
  )
  possible = {
    places: sum(scores[word, tag] for word, tag in enumerate(places))
    for places in itertools.product(range(len(TAGS)), repeat=size)
    if (tags := [TAGS[tag] for tag in places]) == iob2.repaired(tags)
  }
  found = tuple(iob2.likeliest(scores, iob2.order(TAGS)).tolist())
  assert found == max(possible, key=possible.get)
