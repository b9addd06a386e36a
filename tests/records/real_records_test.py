"""Published datasets have as many records as their publishers say."""

import collections

import pytest

from lm.records import overlap, reading, splits
from lm.types import UserError

# kind, source, path within the data, split, records; and words in them,
# counted by other means than these readers.
COUNTS = [
  ('texts', 'glue', 'sst2', 'train', 67_349),
  ('texts', 'glue', 'sst2', 'validation', 872),
  ('texts', 'glue', 'sst2', 'test', 1821),
  ('texts', 'glue', 'cola', 'train', 8551),
  ('texts', 'glue', 'cola', 'dev', 1043),
  ('texts', 'glue', 'cola', 'test', 1063),
  ('texts', 'tsv', 'chnsenticorp/{split}.tsv', 'train', 9600),
  ('texts', 'tsv', 'chnsenticorp/{split}.tsv', 'dev', 1200),
  ('texts', 'tsv', 'chnsenticorp/{split}.tsv', 'test', 1200),
  ('entities', 'conll', 'wnut17/wnut17train.conll', '', 3394),
  ('entities', 'conll', 'wnut17/emerging.dev.conll', '', 1009),
  ('entities', 'conll', 'wnut17/emerging.test.annotated', '', 1287),
  ('entities', 'conll', 'resume_ner_zh/dev.char.bmes', '', 463),
  ('entities', 'conll', 'resume_ner_zh/test.char.bmes', '', 477),
  ('questions', 'squad', 'squadshifts_newwiki/new_wiki_v1.0.json', '', 7938),
  ('questions', 'squad', 'squad2_dev_half/dev-v2.0.json', '', 6078),
  ('questions', 'squad', 'xquad/xquad.en.json', '', 1190),
  ('questions', 'squad', 'xquad/xquad.de.json', '', 1190),
  ('questions', 'squad', 'xquad/xquad.zh.json', '', 1190),
  ('pairs', 'parallel', 'multi30k_en_de/train.{en,de}.gz', '', 29_000),
  ('pairs', 'parallel', 'multi30k_en_de/val.{en,de}.gz', '', 1014),
  ('pairs', 'parallel', 'multi30k_en_de/test_2016_flickr.{en,de}.gz', '', 1000),
  ('pairs', 'parallel', 'multi30k_en_de/test_2017_flickr.{en,de}.gz', '', 1000),
  ('pairs', 'parallel', 'multi30k_en_de/test_2018_flickr.{en,de}.gz', '', 1071),
  ('pairs', 'parallel', 'multi30k_en_de/test_2017_mscoco.{en,de}.gz', '', 461),
  ('pairs', 'tsv', 'tatoeba_en_zh/cmn.txt', '', 28_447),
  ('dialogues', 'dailydialog', 'dailydialog/{split}.zip', 'train', 11_118),
  ('dialogues', 'dailydialog', 'dailydialog/{split}.zip', 'validation', 1000),
  ('dialogues', 'dailydialog', 'dailydialog/{split}.zip', 'test', 1000),
  ('dialogues', 'kdconv', 'kdconv_zh/*.json', '', 600),
  ('dialogues', 'chatterbot', 'chatterbot/chinese/*.yml', '', 467),
  (
    'dialogues',
    'instructions',
    'instruct_rasbt/instruction-data.json',
    '',
    1100,
  ),
]


@pytest.fixture
def read(shared):
  def read(kind, source, path, split='', **options):
    where = str(shared / 'data' / path)
    return reading.read(kind, source, where, split=split, **options)

  return read


@pytest.mark.slow  # All together.
@pytest.mark.parametrize('kind, source, path, split, count', COUNTS)
def test_no_record_is_lost_or_made(read, kind, source, path, split, count):
  found = read(kind, source, path, split)

  assert (len(found.rows), found.left_out) == (count, {})


def test_labels_are_those_that_are_told_and_of_test_sets_none(read):
  def labels(*given):
    rows = read('texts', *given).rows
    return collections.Counter(row.get('label') for row in rows)

  assert labels('glue', 'sst2', 'dev') == {'1': 444, '0': 428}
  assert labels('glue', 'cola', 'dev') == {'1': 721, '0': 322}
  assert labels('glue', 'cola', 'test') == {None: 1063}
  names = labels('tsv', 'chnsenticorp/dev.tsv').keys()
  assert names == {'positive', 'negative'}
  assert labels('tsv', 'chnsenticorp/test.tsv') == {None: 1200}


def test_no_entity_of_wnut_is_lost(read):
  rows = read('entities', 'conll', 'wnut17/emerging.test.annotated').rows

  begun = collections.Counter(
    t for row in rows for t in row['tags'] if t[0] == 'B'
  )

  # Derczynski et al. 2017, table 2.
  assert begun == {
    'B-person': 429,
    'B-location': 150,
    'B-corporation': 66,
    'B-product': 127,
    'B-creative-work': 142,
    'B-group': 165,
  }


@pytest.mark.slow
def test_sentences_cut_within_an_entity_are_named(read):
  path = 'resume_ner_zh/train.char.bmes'

  with pytest.raises(
    UserError, match="bmes:62390: the sentence ends before 'M-ORG' does"
  ):
    read('entities', 'conll', path)
  found = read('entities', 'conll', path, on_error='skip')

  assert found.left_out == {'a broken sequence of tags': 4}
  assert len(found.rows) + 4 == 3821
  assert {tag[:2] for row in found.rows for tag in row['tags']} == {
    'O',
    'B-',
    'I-',
  }


def test_an_exchange_that_is_none_is_named(read):
  with pytest.raises(UserError, match=r'trivia\.yml:35: its turns are'):
    read('dialogues', 'chatterbot', 'chatterbot/english/*.yml')
  found = read(
    'dialogues', 'chatterbot', 'chatterbot/english/*.yml', on_error='skip'
  )

  assert (len(found.rows), sum(found.left_out.values())) == (2025, 1)


@pytest.mark.parametrize(
  'path, answers, unanswerable, articles',
  [
    ('squadshifts_newwiki/new_wiki_v1.0.json', 22_794, 0, 48),
    ('squad2_dev_half/dev-v2.0.json', None, 3168, 16),
    ('xquad/xquad.zh.json', 1190, 0, 48),
  ],
)
def test_answers_and_articles_are_as_counted(
  read, path, answers, unanswerable, articles
):
  rows = read('questions', 'squad', path).rows

  counts = [len(row['answers']) for row in rows]
  assert answers in (None, sum(counts))
  assert counts.count(0) == unanswerable
  assert len({row['title'] for row in rows}) == articles


def test_turns_and_sources_are_as_counted(read):
  daily = {
    split: read(
      'dialogues', 'dailydialog', 'dailydialog/{split}.zip', split
    ).rows
    for split in ('train', 'validation', 'test')
  }
  turns = [sum(len(row['turns']) for row in rows) for rows in daily.values()]
  assert turns == [87_171, 8_069, 7_740]
  rows = read('dialogues', 'kdconv', 'kdconv_zh/*.json').rows
  assert sum(len(row['turns']) for row in rows) == 13_372
  pairs = read('pairs', 'tsv', 'tatoeba_en_zh/cmn.txt').rows
  assert len({row['source'] for row in pairs}) == 27_056
  train, held_out = splits.divide(pairs, 0.1, seed=0, by='source')
  assert {r['source'] for r in train}.isdisjoint(r['source'] for r in held_out)


@pytest.mark.parametrize(
  'given, train, scored, count',
  [
    (('texts', 'glue', 'cola'), 'train', 'dev', 16),
    (('texts', 'tsv', 'chnsenticorp/{split}.tsv'), 'train', 'dev', 338),
    (('texts', 'tsv', 'chnsenticorp/{split}.tsv'), 'train', 'test', 331),
  ],
)  # fmt: skip
def test_known_duplicates_are_found(read, given, train, scored, count):
  train, scored = (read(*given, split=side).rows for side in (train, scored))

  kept = splits.without_duplicates(scored, train)

  assert len(scored) - len(kept) == count


@pytest.mark.parametrize('scored, distinct', [('test', 92), ('validation', 68)])
def test_known_dialogues_are_found(read, scored, distinct):
  source = ('dialogues', 'dailydialog', 'dailydialog/{split}.zip')
  train, rows = (read(*source, split=side).rows for side in ('train', scored))

  kept = splits.without_duplicates(rows, train)

  gone = [splits.content(row) for row in rows if row not in kept]
  assert len(set(gone)) == distinct
  assert len(gone) == distinct + 1  # One of them stands there twice.


def test_contexts_in_two_sets_of_questions_are_found(read):
  english, squad = (
    list({row['context'] for row in read('questions', 'squad', path).rows})
    for path in ('xquad/xquad.en.json', 'squad2_dev_half/dev-v2.0.json')
  )

  found = overlap.overlap(squad, english)

  assert (found.texts, found.exact) == (240, 78)
  assert found.ngrams[13] >= 78
