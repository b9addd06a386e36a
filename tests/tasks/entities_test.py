"""Named entities, with a head and in words."""

import functools
import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st

from lm import tasks
from lm.data import tokenizers
from lm.data.buckets import Bucketed
from lm.objectives import labelled
from lm.records import reading
from lm.tasks import encoding, iob2
from lm.tasks.task import Answers, Reader
from lm.types import UserError

TEXT = """\
The cat sat on the mat, and the hat sat on the cat. It's the cat's hat!
Who'll say that they've 123 hats -- or 4567 mats?  The weather, whether or not.
我们今天去公园看花，花很好看。明天我们再去公园好吗？好的，我们明天去！
"""
SIZES = {'bpe': 300, 'roberta': 300, 'wordpiece': 95, 'unigram': 165}
FORMS = {
  'wordpiece': 'bidirectional',
  'roberta': 'bidirectional',
  'bpe': 'causal',
  'unigram': 'encoder_decoder',
}
LABELS = ('O', 'B-LOC', 'I-LOC', 'B-PER', 'I-PER')
TRAIN = ({'words': ['a', 'b'], 'tags': ['B-PER', 'B-LOC']},)
WORDS = st.lists(
  st.one_of(
    st.text(min_size=1, max_size=4),
    st.sampled_from(['incomprehensibilities', '我们', '公园', '花', '4567']),
    st.sampled_from(['👩‍👩‍👧', 'e\u0301', '\x00', '[SEP]', 'hat', 'weather']),
  ),
  min_size=1,
  max_size=9,
)


@functools.cache
def trained(kind: str) -> tokenizers.Tokenizer:
  return tokenizers.train(kind, [TEXT], SIZES.get(kind))


def build(
  kind='wordpiece', objective='tags', length=64, train=lambda: TRAIN, **given
):
  reader = Reader(trained(kind), FORMS[kind], objective, length, 64)
  return tasks.build('entities', reader, train, **given)


def record(words, tags=None, id='1'):
  words = words.split() if isinstance(words, str) else list(words)
  row = {'id': id, 'where': f'here:{id}', 'words': words}
  if tags is None:
    return row
  return row | {'tags': tags.split() if isinstance(tags, str) else tags}


def perfect(table, number, noise=0):
  """Returns what a head says that has learned the rows by heart.

  At tokens that it was never asked at, it says anything.
  """
  columns = table.ragged['tokens']
  heads = []
  for row in range(table.size):
    draw = np.random.default_rng((noise, row))
    scores = draw.normal(size=(len(columns['tags'].row(row)), number)) * 9
    asked = columns['tag_weights'].row(row) == 1
    scores[asked] = 5 * np.eye(number)[columns['tags'].row(row)[asked]]
    heads.append(scores.astype(np.float32))
  return Answers({'tags': heads})


def tags_of(words, draw):
  places = draw(
    st.lists(
      st.integers(0, len(LABELS) - 1), min_size=len(words), max_size=len(words)
    )
  )
  return iob2.repaired([LABELS[place] for place in places])


def without_own(kind, words, joiner):
  """Returns which words have no token at all, and which share their first.

  Found by marking each character, and looking at each token.
  """
  (pieces,) = encoding.pieces(trained(kind), [joiner.join(words)])
  owner = []
  for number, word in enumerate(words):
    owner += [number] * len(word) + [None] * len(joiner)
  first = {}
  for token, (start, end) in enumerate(zip(pieces.start, pieces.end)):
    for number in owner[start:end]:
      first.setdefault(number, token)
  order = range(len(words))
  nowhere = [n for n in order if n not in first]
  shared = [
    b
    for a, b in itertools.pairwise(n for n in order if n in first)
    if first[a] == first[b]
  ]
  return nowhere, shared


@given(
  WORDS,
  st.sampled_from(sorted(FORMS)),
  st.sampled_from([' ', '']),
  st.integers(5, 30),
  st.booleans(),
  st.data(),
)
@example(list('我们今天去公园'), 'wordpiece', '', 6, True, None)
@example(['incomprehensibilities'] * 3, 'bpe', ' ', 9, True, None)
@settings(deadline=None, max_examples=300)
def test_what_is_encoded_and_perfectly_answered_is_read_back(
  words, kind, joiner, length, constrained, data
):
  """Whatever the text, the tokenizer, the family and the length of a row."""
  if data is None:
    tags = [LABELS[1 + n % 2] for n in range(len(words))]
  else:
    tags = tags_of(words, data.draw)
  task = build(kind, length=length, joiner=joiner, constrained=constrained)
  rows = [record(words, tags), record(words[:1], tags[:1], id='2')]
  table = task.encode(rows)
  assert max(table.sizes('tokens')) <= length
  found = task.predict(rows, table, perfect(table, len(LABELS)))
  nowhere, shared = without_own(kind, words, joiner)
  expected = list(tags)
  for number in range(len(words)):  # What they cannot be asked for.
    if number in nowhere:
      expected[number] = 'O'
    elif number in shared:
      before = expected[number - 1]
      expected[number] = before.replace('B-', 'I-')
  if not (constrained and (nowhere or shared)):
    assert found[0]['prediction'] == iob2.repaired(expected)
  for number in nowhere:
    assert found[0]['prediction'][number] == 'O'
  assert found[0]['prediction'] == iob2.repaired(found[0]['prediction'])
  assert [row['id'] for row in found] == ['1', '2']


@given(
  st.lists(
    st.text(
      st.characters(codec='utf-8', categories=('L', 'N', 'P', 'S')), min_size=1
    ),
    min_size=1,
    max_size=9,
  ),
  st.sampled_from(sorted(FORMS)),
  st.integers(5, 30),
  st.data(),
)
@settings(deadline=None)
def test_visible_words_between_spaces_are_read_back_without_exception(
  words, kind, length, data
):
  tags = tags_of(words, data.draw)
  task = build(kind, length=length)
  rows = [record(words, tags)]
  table = task.encode(rows)
  found = task.predict(rows, table, perfect(table, len(LABELS)))
  assert found[0]['prediction'] == tags
  assert task.score(rows, found)['f1'] == float(set(tags) != {'O'})


def test_a_prediction_has_its_entities():
  task = build()
  rows = [record('The cat sat on 我们 mats', 'B-PER I-PER O O B-LOC I-LOC')]
  table = task.encode(rows)
  (found,) = task.predict(rows, table, perfect(table, 5))
  assert found == {
    'id': '1',
    'prediction': rows[0]['tags'],
    'entities': [
      {'type': 'PER', 'text': 'The cat', 'start_word': 0, 'end_word': 2},
      {'type': 'LOC', 'text': '我们 mats', 'start_word': 4, 'end_word': 6},
    ],
  }
  assert task.score(rows, [found])['f1'] == 1


def test_the_tags_are_those_of_the_training_data_and_remembered():
  task = build()
  assert task.taken == {'labels': LABELS}
  assert (task.num_labels, task.writing) == (5, None)
  again = build(train=lambda: 1 / 0, labels=('B-X', 'O', 'I-X'))
  assert again.taken == {'labels': ('B-X', 'O', 'I-X')}
  rows = [record('\x00 cat', 'O B-X')]
  table = again.encode(rows)
  (found,) = again.predict(rows, table, perfect(table, 3))
  assert found['prediction'] == ['O', 'B-X']


def test_tags_that_are_not_known_are_not_asked_for():
  task = build()
  rows = [record('The cat'), record('The hat', 'O B-LOC', id='2')]
  table = task.encode(rows)
  weights = table.ragged['tokens']['tag_weights']
  assert [weights.row(n).sum() for n in (0, 1)] == [0, 2]
  heads = Answers({'tags': [np.eye(5)[[0, 3, 4, 0, 0, 0]] for _ in rows]})
  found = task.predict(rows, table, heads)
  assert [row['prediction'] for row in found] == [['B-PER', 'I-PER']] * 2


@pytest.mark.parametrize(
  ('constrained', 'tags'),
  [(True, ['O', 'O', 'B-PER']), (False, ['O', 'B-LOC', 'B-PER'])],
)
def test_a_tag_that_cannot_follow_is_not_chosen_or_is_mended(constrained, tags):
  task = build(constrained=constrained)
  rows = [record('The cat sat')]
  table = task.encode(rows)
  scores = np.zeros((5, 5))
  scores[1] = [9, 0, 0, 0, 0]
  scores[2] = [4, 0, 5, 0, 0]  # I-LOC after O.
  scores[3] = [0, 0, 0, 9, 0]
  (found,) = task.predict(rows, table, Answers({'tags': [scores]}))
  assert found['prediction'] == tags


def test_a_long_sentence_loses_words_only_without_windows(caplog):
  words = ['cat', 'sat', 'on', 'the', 'hat', 'the', 'mat', 'and']
  rows = [record(words, 'B-LOC O B-PER I-PER O B-LOC O B-PER')]
  found = {}
  for stride in (None, 0):
    task = build(length=6, stride=stride)
    with caplog.at_level('INFO'):
      table = task.encode(rows)
    (found[stride],) = task.predict(rows, table, perfect(table, 5))
  assert 'Of 1 sentences 1 are longer than the 6 tokens' in caplog.text
  assert 'Of 8 words 4 do not fit into config.data.length' in caplog.text
  assert found[None]['prediction'] == rows[0]['tags']
  assert 'lost' not in found[None]
  assert found[0]['prediction'] == ['B-LOC', 'O', 'B-PER', 'I-PER', *'OOOO']
  assert found[0]['lost'] == 4
  scores = task.score(rows, [found[0]])
  assert (scores['precision'], scores['recall']) == (1, 0.5)
  assert scores['lost_to_length'] == 2


def test_words_that_have_no_token_are_counted_and_of_no_entity(caplog):
  task = build()
  rows = [record(['The', '\x00', 'cat', '\u3000'], 'B-PER I-PER I-PER O')]
  with caplog.at_level('INFO'):
    table = task.encode(rows)
  assert 'Of 4 words 2 have no token' in caplog.text
  (found,) = task.predict(rows, table, perfect(table, 5))
  assert found['prediction'][1::2] == ['O', 'O']
  assert task.score(rows, [found])['recall'] == 0


def test_words_within_one_token_go_on_with_the_first(caplog):
  """`我们` is a token of this tokenizer, though the words are 我 and 们."""
  words = list('去我们好')
  assert len(trained('unigram').encode('去我们好')) == 3
  rows = [
    record(words, 'O B-PER I-PER O'),
    record(words, 'O O B-PER O', id='2'),
    record(words, 'O B-LOC O B-LOC', id='3'),
  ]
  task = build('unigram', joiner='')
  with caplog.at_level('INFO'):
    table = task.encode(rows)
  assert 'Of 12 words 3 share the token of the word before' in caplog.text
  found = task.predict(rows, table, perfect(table, 5))
  assert [' '.join(row['prediction']) for row in found] == [
    'O B-PER I-PER O',
    'O O O O',
    'O B-LOC I-LOC B-LOC',
  ]
  assert found[0]['entities'][0]['text'] == '我们'


@pytest.mark.parametrize('kind', sorted(FORMS))
def test_a_batch_asks_for_each_word_once(kind):
  rows = [
    record('It is the cat of 我们', 'O O O B-PER O B-LOC'),
    record('whether or not', 'O O O', id='2'),
  ]
  table = build(kind, length=9).encode(rows)
  source = Bucketed(table, 8, ({'tokens': 4}, {'tokens': 9}))
  tokenizer = trained(kind)
  objective = labelled.tags(FORMS[kind], tokenizer.vocabulary)
  asked = []
  for start in range(0, source.size, 8):
    index = start + np.arange(8)
    batch = objective.prepare(source.examples_at(index), index, 0)
    tokens = 'source_tokens' if kind == 'unigram' else 'tokens'
    seen = batch.weights['tags'] == 1
    assert batch.weights['tags'].sum() == seen.sum()
    marks = tokenizer.special_ids - {tokenizer.unk_id}
    assert not np.isin(batch.inputs[tokens][seen], [*marks]).any()
    asked += batch.targets['tags'][seen].tolist()
  assert sorted(asked) == [0] * 7 + [1, 3]


WRITTEN = dict(kind='bpe', objective='answers')


def test_what_is_read_and_written_is_this():
  task = build(**WRITTEN, template='tag {text}', names=('place', 'person'))
  rows = [
    record('Ann Lee saw Paris ; ok', 'B-PER I-PER O B-LOC O O'),
    record('ok', 'O', id='2'),
    record('It'),
  ]
  rows[2]['id'] = '3'
  table = task.encode(rows)
  texts = {
    name: [
      trained('bpe').decode(table.ragged[name][name].row(n)) for n in range(3)
    ]
    for name in ('source', 'target')
  }
  end = '<|endoftext|>'
  assert texts == {
    'source': [
      f'tag Ann Lee saw Paris ; ok{end}',
      f'tag ok{end}',
      f'tag It{end}',
    ],
    'target': [f'person: Ann Lee; place: Paris{end}', f'none{end}', ''],
  }
  assert task.writing.max_new_tokens == 64
  written = ['person: Ann Lee; place: Paris', 'none', 'dog: It; person: I']
  found = task.predict(rows, table, Answers(texts=written))
  assert [row['prediction'] for row in found[:2]] == [
    row['tags'] for row in rows[:2]
  ]
  assert found[0]['entities'][1] == {
    'type': 'LOC',
    'text': 'Paris',
    'start_word': 3,
    'end_word': 4,
  }
  assert found[2] == {
    'id': '3',
    'prediction': ['O'],
    'entities': [],
    'text': 'dog: It; person: I',
    'spurious': [
      {'type': 'none', 'text': 'It'},
      {'type': 'PER', 'text': 'I'},
    ],
  }


def test_what_is_listed_but_not_there_costs_precision():
  task = build(**WRITTEN)
  rows = [record('Ann saw Bob', 'B-PER O B-PER'), record('ok', 'O', id='2')]
  table = task.encode(rows)
  written = ['PER: Ann; PER: Tom; dog: Ann', 'LOC: Rome; LO']
  found = task.predict(rows, table, Answers(texts=written))
  scores = task.score(rows, found)
  assert scores['precision'] == pytest.approx(1 / 5)  # Of five listed, Ann.
  assert scores['recall'] == 1 / 2
  assert scores['precision_PER'] == 1 / 2


@given(WORDS, st.sampled_from(['', ' ']), st.data())
@settings(deadline=None)
def test_a_listing_is_read_back_unless_it_is_counted(words, joiner, data):
  rows = [record(words, tags_of(words, data.draw))]
  task = build(**WRITTEN, joiner=joiner)
  table = task.encode(rows)
  target = trained('bpe').decode(table.ragged['target']['target'].row(0)[:-1])
  (found,) = task.predict(rows, table, Answers(texts=[target]))
  names = [span['text'] for span in found['entities']]
  golden = [
    joiner.join(words[span.start : span.end])
    for span in iob2.spans(rows[0]['tags'])
  ]
  if len(table.ragged['target']['target'].row(0)) < 64:  # It was not cut.
    assert len(names) + len(found['spurious']) == len(golden)
  if len({*words}) == len(words) and all(map(str.isalpha, words)):
    text = ' '.join(words)
    if all(text.count(name) == 1 for name in (*words, *golden)):
      assert found['prediction'] == rows[0]['tags']


def test_an_entity_whose_words_stand_there_before_is_counted(caplog):
  task = build(**WRITTEN)
  rows = [record('May saw May', 'O O B-PER')]
  with caplog.at_level('INFO'):
    task.encode(rows)
  assert 'Of 1 sentences 1 have entities whose words stand' in caplog.text


def test_a_tag_that_is_none_of_the_training_is_named_with_its_line(tmp_path):
  path = tmp_path / 'new.conll'
  path.write_text('ok O\n\nAnn B-PER\nParis B-CITY\n')
  rows = reading.read('entities', 'conll', str(path)).rows
  with pytest.raises(UserError, match=r"new\.conll:3: .*'B-CITY'"):
    build().encode(rows)


@pytest.mark.parametrize(
  ('given', 'complaint'),
  [
    (dict(objective='label'), "'entities' cannot be done with .*'label'"),
    (dict(stride=63), 'config.task.stride is 63, .*62 tokens'),
    (dict(stride=-1), 'config.task.stride is -1'),
    (dict(length=2), 'no room'),
    (dict(labels=('O', 'B-X')), 'config.task.labels'),
    (dict(train=lambda: [record('a', 'O')]), 'The tags are O,'),
    (dict(train=lambda: [record('a', 'B')]), "'B' is among the tags"),
    (dict(WRITTEN, names=('a',)), 'config.task.names has 1 values'),
    (dict(WRITTEN, names=('a', 'a')), 'all different'),
    (dict(WRITTEN, template='all {words}'), 'config.task.template'),
    (dict(WRITTEN, kind='unigram'), 'the tokenizer has no more than'),
    (dict(WRITTEN, kind='wordpiece', objective='tag'), 'tags or answers'),
  ],
)
def test_a_mistake_in_the_settings_is_told(given, complaint):
  with pytest.raises(UserError, match=complaint):
    build(**given).encode([record('The cat', 'O O')])
