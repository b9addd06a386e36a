"""Entities in words."""

import pytest
from hypothesis import example, given, settings, strategies as st

from lm.tasks import listings
from lm.tasks.iob2 import Span
from lm.tasks.listings import Item

TYPES = {'person': 'PER', 'location': 'LOC', 'a;b:': 'ODD'}


@pytest.mark.parametrize(
  ('items', 'listing'),
  [
    ([], 'none'),
    (
      [Item('person', 'Ann Lee'), Item('location', 'Paris')],
      'person: Ann Lee; location: Paris',
    ),
    ([Item('person', ':;'), Item('a;b:', ';')], 'person: ::;;; a;;b::: ;;'),
    ([Item('person', 'none')], 'person: none'),
  ],
)
def test_a_listing_reads_so(items, listing):
  assert listings.write(items) == listing
  assert listings.parse(listing) == items


@given(
  st.lists(
    st.builds(
      Item,
      st.sampled_from(sorted(TYPES)),
      st.text(min_size=1).filter(lambda text: text == text.strip() != ''),
    )
  )
)
@example([Item('a;b:', ';;;'), Item('person', ':')])
def test_any_listing_is_read_as_it_was_written(items):
  assert listings.parse(listings.write(items)) == items


@pytest.mark.parametrize(
  ('listing', 'items'),
  [
    ('', []),
    (' none ', []),
    ('; ;', []),
    ('person:Ann ;person :Bob', [('person', 'Ann'), ('person', 'Bob')]),
    ('person: Ann; loc', [('person', 'Ann'), ('', 'loc')]),
    ('person: 9:30', [('person', '9:30')]),
    (': Ann', [('', 'Ann')]),
    ('person:', [('person', '')]),
  ],
)
def test_what_a_model_writes_amiss_is_read_as_far_as_it_goes(listing, items):
  assert listings.parse(listing) == items


WORDS = ['Ann', 'met', 'Ann', 'Lee', 'in', 'New', 'York', '.']


@pytest.mark.parametrize(
  ('listing', 'entities', 'spurious'),
  [
    ('person: Ann Lee', [('PER', 2, 4)], []),
    ('person: Ann; person: Ann', [('PER', 0, 1), ('PER', 2, 3)], []),
    ('person: NewYork', [('PER', 5, 7)], []),  # Some decoders lose spaces.
    ('person: Ｎew York', [('PER', 5, 7)], []),  # T5's normalizes.
    ('person: ann', [], ['ann']),
    ('person: Ne', [], ['Ne']),
    ('location: York; person: Ann', [('LOC', 6, 7)], ['Ann']),  # Out of order.
    ('person: Ann; person: Ann; person: Ann', 2, ['Ann']),
    ('animal: Ann', [], ['Ann']),
    ('person: Bob; person: Lee', [('PER', 3, 4)], ['Bob']),
    ('Ann', [], ['Ann']),
    ('person:', [], ['']),
  ],
)
def test_what_is_listed_is_sought_from_left_to_right(
  listing, entities, spurious
):
  found = listings.find(listings.parse(listing), WORDS, TYPES)
  assert [item.text for item in found.spurious] == spurious
  if isinstance(entities, int):
    assert len(found.entities) == entities
  else:
    assert found.entities == entities


@given(st.lists(st.text(min_size=1), min_size=1, unique=True), st.data())
@example(['中', '国', '👩‍👩‍👧', ';', 'e\u0301', '\u3000', ':', 'ﬁ'], None)
@settings(deadline=None)
def test_entities_of_words_are_found_where_they_were(words, data):
  """Where no word is part of another, so that each text stands there once."""
  essences = [listings.essence(word) for word in words]
  words = [
    word
    for number, word in enumerate(words)
    if essences[number]
    and not any(
      essences[number] in other or other in essences[number]
      for other in essences[:number]
      if other
    )
  ]
  cuts = [0, *range(1, len(words), 3), len(words)]
  if data is not None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(words)))))
  spans = [Span('PER', a, b) for a, b in zip(cuts[::2], cuts[1::2]) if a < b]
  for joiner in ('', ' '):
    items = [
      Item('person', joiner.join(words[span.start : span.end]))
      for span in spans
    ]
    listing = listings.write(items)
    found = listings.find(listings.parse(listing), words, TYPES)
    assert found.spurious == []
    assert found.entities == spans
