"""Datasets of TFDS are read by the features that its own builders have."""

import sys
from types import MappingProxyType

import numpy as np
import pytest
import tensorflow_datasets as tfds

from lm.records import reading
from lm.types import UserError

HERE = 'tests.records.tfds_records_test'
Text = tfds.features.Text


class Built(tfds.core.GeneratorBasedBuilder):
  """A few literal examples with the features of a published dataset."""

  VERSION = tfds.core.Version('1.0.0')
  FEATURES = Text()
  KEYS = None
  ROWS = MappingProxyType({})

  def _info(self):
    return self.dataset_info_from_configs(
      features=self.FEATURES, supervised_keys=self.KEYS
    )

  def _split_generators(self, dl_manager):
    return {
      split: self._generate_examples(rows) for split, rows in self.ROWS.items()
    }

  def _generate_examples(self, rows):
    yield from enumerate(rows)


class Sentiment(Built):
  """As glue/sst2."""

  FEATURES = tfds.features.FeaturesDict(
    {
      'sentence': Text(),
      'label': tfds.features.ClassLabel(names=['negative', 'positive']),
      'idx': np.int32,
    }
  )
  ROWS = MappingProxyType(
    {
      'train': [
        {'sentence': f'text {i} 好 ', 'label': i % 2, 'idx': i}
        for i in range(1500)
      ],
      'validation': [{'sentence': 'good', 'label': 1, 'idx': 0}],
      'test': [{'sentence': 'unknown', 'label': -1, 'idx': 0}],
    }
  )


class Similarity(Built):
  """As glue/stsb."""

  FEATURES = tfds.features.FeaturesDict(
    {
      'sentence1': Text(),
      'sentence2': Text(),
      'label': np.float32,
      'idx': np.int32,
    }
  )
  ROWS = MappingProxyType(
    {
      split: [{'sentence1': 'a', 'sentence2': 'b', 'label': label, 'idx': 0}]
      for split, label in (('train', 2.5), ('test', -1.0))
    }
  )


class Named(Built):
  """As conll2003/conll2003, with fewer types."""

  TAGS = ('O', 'B-PER', 'I-PER', 'B-LOC', 'I-LOC')
  FEATURES = tfds.features.FeaturesDict(
    {
      'tokens': tfds.features.Sequence(Text()),
      'pos': tfds.features.Sequence(tfds.features.ClassLabel(names=['NN'])),
      'ner': tfds.features.Sequence(tfds.features.ClassLabel(names=TAGS)),
    }
  )
  ROWS = MappingProxyType(
    {
      'dev': [
        {'tokens': ['-DOCSTART-'], 'pos': [0], 'ner': [0]},
        {
          'tokens': ['Bo', 'Li', 'is', '你'],
          'pos': [0] * 4,
          'ner': [1, 2, 0, 3],
        },
      ]
    }
  )


class Asked(Built):
  """As squad/v2.0."""

  ANSWERS = tfds.features.Sequence({'text': Text(), 'answer_start': np.int32})
  FEATURES = tfds.features.FeaturesDict(
    {
      'id': Text(),
      'title': Text(),
      'context': Text(),
      'question': Text(),
      'answers': ANSWERS,
      'is_impossible': np.bool_,
      'plausible_answers': ANSWERS,
    }
  )
  ROWS = MappingProxyType(
    {
      'train': [
        {
          'id': name,
          'title': 'T',
          'context': '你好 Rome or Pisa',
          'question': f'{name}?',
          'answers': {'text': texts, 'answer_start': starts},
          'is_impossible': not texts,
          'plausible_answers': {'text': ['Pisa'], 'answer_start': [11]},
        }
        for name, texts, starts in (
          ('a', ['Rome', 'Pisa'], [3, 11]),
          ('b', [], []),
          ('c', ['Rome'], [4]),
        )
      ]
    }
  )


class Translated(Built):
  """As wmt14_translate/de-en."""

  FEATURES = tfds.features.Translation(languages=('de', 'en'))
  KEYS = ('de', 'en')
  ROWS = MappingProxyType({'test': [{'de': 'eins', 'en': 'one'}]})


class News(Built):
  """As cnn_dailymail."""

  FEATURES = tfds.features.FeaturesDict(
    {'article': Text(), 'highlights': Text(), 'publisher': Text(), 'id': Text()}
  )
  KEYS = ('article', 'highlights')
  ROWS = MappingProxyType(
    {
      'validation': [
        {'article': 'long', 'highlights': 'short', 'publisher': 'x', 'id': 'i'},
        {'article': 'long', 'highlights': '', 'publisher': 'x', 'id': 'j'},
      ]
    }
  )


class Articles(Built):
  """As xsum."""

  FEATURES = tfds.features.FeaturesDict({'document': Text(), 'summary': Text()})
  KEYS = ('document', 'summary')
  ROWS = MappingProxyType({'test': [{'document': 'long', 'summary': 'short'}]})


class Odd(Built):
  """Texts whose features have other names."""

  FEATURES = tfds.features.FeaturesDict({'review': Text(), 'stars': np.int64})
  ROWS = MappingProxyType({'train': [{'review': b'\xff', 'stars': 4}]})


@pytest.fixture(autouse=True)
def data_dir(tmp_path, monkeypatch):
  monkeypatch.setattr(tfds.core.constants, 'DATA_DIR', str(tmp_path))


def _read(kind, name, split, *columns, **options):
  path = name if '/' in name else f'{HERE}:{name}'
  return reading.read(
    kind, 'tfds', path, split=split, columns=columns, **options
  )


@pytest.mark.parametrize(
  'kind, name, split, row',
  [
    ('texts', 'Sentiment', 'validation',
     {'id': '0', 'text': 'good', 'label': 'positive'}),
    ('texts', 'Sentiment', 'test', {'id': '0', 'text': 'unknown'}),
    ('texts', 'Similarity', 'train',
     {'id': '0', 'text': 'a', 'text_pair': 'b', 'label': 2.5}),
    ('texts', 'Similarity', 'test', {'id': '0', 'text': 'a', 'text_pair': 'b'}),
    ('entities', 'Named', 'dev',
     {'id': 'dev:2', 'words': ['Bo', 'Li', 'is', '你'],
      'tags': ['B-PER', 'I-PER', 'O', 'B-LOC']}),
    ('pairs', 'Translated', 'test',
     {'id': 'test:1', 'source': 'eins', 'target': 'one'}),
    ('pairs', 'Articles', 'test',
     {'id': 'test:1', 'source': 'long', 'target': 'short'}),
  ],
)  # fmt: skip
def test_features_of_published_datasets_become_records(kind, name, split, row):
  (read,) = _read(kind, name, split).rows

  number = 2 if name == 'Named' else 1
  assert read == row | {'where': f'{name.lower()} {split}:entry {number}'}
  assert 'tensorflow' not in sys.modules


def test_many_examples_are_read_in_order_and_in_part():
  found = _read('texts', 'Sentiment', 'train')

  order = sorted(int(row['id']) for row in found.rows)
  assert order == list(range(1500))
  for row in found.rows:
    label = ('negative', 'positive')[int(row['id']) % 2]
    assert (row['text'], row['label']) == (f'text {row["id"]} 好', label)
  part = _read('texts', 'Sentiment', 'train[:10%]').rows
  assert [row['text'] for row in part] == [r['text'] for r in found.rows[:150]]


def test_answers_are_checked_and_those_of_impossible_questions_are_none():
  with pytest.raises(
    UserError, match=r"'Rome' does not stand at 4, .* but at 3"
  ):
    _read('questions', 'Asked', 'train')
  found = _read('questions', 'Asked', 'train', on_error='skip')

  answers = {row['id']: row['answers'] for row in found.rows}
  assert answers == {
    'a': [{'text': 'Rome', 'start': 3}, {'text': 'Pisa', 'start': 11}],
    'b': [],
  }
  assert found.left_out == {'an answer that is not at its offset': 1}
  assert found.rows[0]['title'] == 'T'


def test_a_translation_can_be_turned():
  (row,) = _read('pairs', 'Translated', 'test', 'source=en', 'target=de').rows

  assert (row['source'], row['target']) == ('one', 'eins')


def test_a_summary_that_is_empty_is_named_by_its_number():
  message = r'news validation:entry \d: its target is empty'
  with pytest.raises(UserError, match=message):
    _read('pairs', 'News', 'validation')
  found = _read('pairs', 'News', 'validation', on_error='skip')

  assert [row['id'] for row in found.rows] == ['i']
  assert found.rows[0]['target'] == 'short'


@pytest.mark.parametrize(
  'kind, name, split, columns, message',
  [
    (
      'texts',
      'glue/none',
      'train',
      (),
      'The path of records.*TFDS cannot open',
    ),
    (
      'texts',
      'glue/sst2',
      'train',
      ('text=x',),
      'glue/sst2 has no such column',
    ),
    ('texts', 'Missing', 'train', (), "no attribute 'Missing'"),
    ('texts', 'Odd', 'train', (), "usual name: they are 'review', 'stars'"),
    ('texts', 'Odd', 'train', ('text=review',), 'byte 0xff is not UTF-8'),
    ('texts', 'Sentiment', 'dev', (), "no 'dev', only train, validation, test"),
    ('texts', 'Sentiment', '', (), "split is '', but"),
    ('entities', 'Sentiment', 'train', (), 'usual name'),
    ('pairs', 'Sentiment', 'train', (), 'usual name'),
  ],
)
def test_a_dataset_that_cannot_be_read_is_refused(
  kind, name, split, columns, message
):
  with pytest.raises(UserError, match=message):
    _read(kind, name, split, *columns)
