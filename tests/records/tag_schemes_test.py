"""Every scheme of tags is told from the others and says the same in IOB2."""

import random

import pytest
from seqeval import scheme as peer

from lm.records import tag_schemes
from lm.records.tag_schemes import Broken

# The same words, as three papers and two toolkits tag them.
SAME = {
  'IOB2': 'B-PER O B-LOC I-LOC I-LOC B-LOC B-ORG I-ORG',
  'IOB1': 'I-PER O I-LOC I-LOC I-LOC B-LOC I-ORG I-ORG',
  'IOBES': 'S-PER O B-LOC I-LOC E-LOC S-LOC B-ORG E-ORG',
  'BMES': 'S-PER O B-LOC M-LOC E-LOC S-LOC B-ORG E-ORG',
  'BILOU': 'U-PER O B-LOC I-LOC L-LOC U-LOC B-ORG L-ORG',
  'BMEWO': 'W-PER O B-LOC M-LOC E-LOC W-LOC B-ORG E-ORG',
}
ROLES = {
  'IOBES': ('B', 'I', 'E', 'S'),
  'BMES': ('B', 'M', 'E', 'S'),
  'BILOU': ('B', 'I', 'L', 'U'),
  'BMEWO': ('B', 'M', 'E', 'W'),
}


def _spans(rng):
  """Draws the entities of a sentence: (first, last, type), and its length."""
  spans, place = [], 0
  for _ in range(rng.randrange(6)):
    place += rng.choice([0, 0, 1, 3])
    last = place + rng.choice([0, 0, 1, 4])
    spans.append((place, last, rng.choice(['PER', 'creative-work'])))
    place = last + 1
  return spans, place + rng.randrange(3) + 1


def _write(spans, length, scheme):
  tags = ['O'] * length
  for number, (first, last, type) in enumerate(spans):
    if scheme in ROLES:
      begin, inside, end, single = ROLES[scheme]
      roles = [begin, *inside * (last - first - 1), end]
      roles = [single] if first == last else roles
    else:
      before = spans[number - 1] if number else (0, -2, '')
      beside = before[1] == first - 1 and before[2] == type
      roles = ['I'] * (last - first + 1)
      roles[0] = 'B' if scheme == 'IOB2' or beside else 'I'
    tags[first : last + 1] = [f'{role}-{type}' for role in roles]
  return tags


@pytest.mark.parametrize('scheme', SAME)
def test_a_scheme_is_recognized_and_converted(scheme):
  tags = SAME[scheme].split()

  assert tag_schemes.recognize([['O', 'O'], tags]) == scheme
  assert tag_schemes.to_iob2(tags, scheme) == SAME['IOB2'].split()


@pytest.mark.parametrize('scheme', SAME)
def test_no_span_is_lost_whatever_the_scheme(scheme):
  rng = random.Random(1)
  drawn = [_spans(rng) for _ in range(300)]
  written = [_write(*one, scheme) for one in drawn]

  found = tag_schemes.recognize(written)
  read = [tag_schemes.to_iob2(tags, found) for tags in written]

  assert found == scheme
  assert read == [_write(*one, 'IOB2') for one in drawn]
  entities = peer.Entities(read, peer.IOB2).entities
  assert [[(e.start, e.end - 1, e.tag) for e in row] for row in entities] == [
    spans for spans, _ in drawn
  ]


@pytest.mark.parametrize('scheme', ['IOB1', 'IOBES', 'BILOU'])
def test_spans_are_those_that_seqeval_reads(scheme):
  rng = random.Random(2)
  written = [_write(*_spans(rng), scheme) for _ in range(300)]
  read = [tag_schemes.to_iob2(tags, scheme) for tags in written]

  def spans(tags, scheme):
    rows = peer.Entities(tags, scheme).entities
    return [[(e.start, e.end, e.tag) for e in row] for row in rows]

  assert spans(read, peer.IOB2) == spans(written, getattr(peer, scheme))


@pytest.mark.parametrize(
  'scheme, tags, place, problem',
  [
    ('IOB2', 'O I-PER O', 1, "'I-PER' continues no entity"),
    ('IOB2', 'B-LOC I-PER', 1, "'I-PER' continues no entity"),
    ('IOB2', 'B-LOC E-LOC', 1, "'E-LOC' is none of IOB2"),
    ('IOB1', 'I-PER O B-PER', 2, "'B-PER' divides no two entities"),
    ('IOB1', 'I-PER S-PER', 1, "'S-PER' is none of IOB1"),
    ('BMES', 'O B-ORG M-ORG', 2, "ends before 'M-ORG' does"),
    ('BMES', 'B-ORG O', 1, "'O' comes before 'B-ORG' ends"),
    ('BMES', 'B-ORG E-PER', 1, "'E-PER' comes before 'B-ORG' ends"),
    ('BMES', 'B-ORG B-ORG E-ORG', 1, "'B-ORG' comes before 'B-ORG' ends"),
    ('BMES', 'S-ORG E-ORG', 1, "'E-ORG' continues no entity"),
    ('IOBES', 'B-ORG M-ORG E-ORG', 1, "'M-ORG' is none of IOBES"),
    ('BILOU', 'L-ORG', 0, "'L-ORG' continues no entity"),
    ('BILOU', 'B-ORG U-ORG', 1, "'U-ORG' comes before 'B-ORG' ends"),
  ],
)
def test_a_broken_sequence_is_named_where_it_breaks(
  scheme, tags, place, problem
):
  broken = tag_schemes.to_iob2(tags.split(), scheme)

  assert isinstance(broken, Broken)
  assert broken.place == place
  assert problem in broken.problem


def test_few_broken_sequences_do_not_hide_the_scheme():
  good = ['B-LOC I-LOC O', 'O B-PER', 'B-LOC O B-PER I-PER', 'O O']
  broken = ['O I-LOC', 'I-PER O O']

  rows = [tags.split() for tags in good + broken]

  assert tag_schemes.recognize(rows) == 'IOB2'


@pytest.mark.parametrize('tags', ['B I O', 'I I O', 'B M E O S'])
def test_entities_may_have_no_types(tags):
  rows = [tags.split()]
  read = tag_schemes.to_iob2(rows[0], tag_schemes.recognize(rows))

  assert set(read) == {'B', 'I', 'O'}


@pytest.mark.parametrize(
  'tag', ['PER', 'B-', '', 'o', 'X-PER', 'O-PER', 'BPER']
)
def test_what_is_no_tag_is_found(tag):
  broken = tag_schemes.invalid(['O', tag, 'B-PER'])

  assert (broken.place, repr(tag) in broken.problem) == (1, True)
  assert tag_schemes.invalid(['O', 'B_LOC', 'B-creative-work']) is None
