"""Datasets of TFDS are built and read in a process without TensorFlow."""

import pickle
import sys
from types import MappingProxyType

import numpy as np
import pytest
import tensorflow_datasets as tfds

from lm.data import corpora, text_files
from lm.types import UserError

HERE = 'tests.data.tfds_text_test'
TEXTS = [f'第 {number} text' for number in range(2000)]


class Unsplit(tfds.core.GeneratorBasedBuilder):
  """Two thousand short texts, of which none are set aside."""

  VERSION = tfds.core.Version('1.0.0')
  SPLITS = MappingProxyType({'train': TEXTS})

  def _info(self):
    features = {
      'text': tfds.features.Text(),
      'title': tfds.features.Text(),
      'label': tfds.features.ClassLabel(num_classes=2),
      'scores': tfds.features.Tensor(shape=(None,), dtype=np.float32),
    }
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(features)
    )

  def _split_generators(self, dl_manager):
    return {
      split: self._generate_examples(texts)
      for split, texts in self.SPLITS.items()
    }

  def _generate_examples(self, texts):
    for key, text in enumerate(texts):
      yield (
        key,
        {'text': text, 'title': 'Same', 'label': key % 2, 'scores': [0.5]},
      )


class Split(Unsplit):
  """The same texts, divided by the publisher."""

  SPLITS = MappingProxyType(
    {'train': TEXTS[:1500], 'validation': TEXTS[1500:], 'test': ['t']}
  )


class TestOnly(Unsplit):
  """A dataset that is not for training."""

  __test__ = False  # It is no test of pytest's.
  SPLITS = MappingProxyType({'test': TEXTS[:3]})


class WantsTensorFlow(Unsplit):
  """A dataset whose building needs what is not installed."""

  def _split_generators(self, dl_manager):
    raise ModuleNotFoundError('No TensorFlow', name='tensorflow')


@pytest.fixture(autouse=True)
def data_dir(tmp_path, monkeypatch):
  monkeypatch.setattr(tfds.core.constants, 'DATA_DIR', str(tmp_path))
  return tmp_path


def _sides(corpus):
  return [list(corpus.documents(split)) for split in ('train', 'validation')]


def test_a_class_of_the_users_is_built_and_read_without_tensorflow():
  corpus = corpora.build('tfds', f'{HERE}:Split')
  train, validation = _sides(corpus)

  assert sorted(train) == sorted(TEXTS[:1500])
  assert sorted(validation) == sorted(TEXTS[1500:])
  assert 'tensorflow' not in sys.modules


def test_a_dataset_without_a_validation_split_is_split_by_hash():
  train, validation = _sides(corpora.build('tfds', f'{HERE}:Unsplit'))

  assert sorted(train + validation) == sorted(TEXTS)
  assert {corpora.side(text, 0.1) for text in train} == {'train'}
  assert {corpora.side(text, 0.1) for text in validation} == {'validation'}


@pytest.mark.parametrize('name', ['Split', 'Unsplit'])
def test_parts_can_be_read_elsewhere_and_make_up_the_whole(name, monkeypatch):
  whole = corpora.build('tfds', f'{HERE}:{name}')
  monkeypatch.setattr(text_files, 'PART', 5000)
  corpus = pickle.loads(pickle.dumps(corpora.build('tfds', f'{HERE}:{name}')))

  assert len(corpus.parts) > 10 >= 2 >= len(whole.parts)
  assert _sides(corpus) == _sides(whole)


def test_a_dataset_that_was_built_before_is_read_by_its_name():
  built = corpora.build('tfds', f'{HERE}:Split')
  named = corpora.build('tfds', 'split:1.0.0')

  assert _sides(named) == _sides(built)
  assert named.fingerprint() == built.fingerprint()
  assert named.name == 'tfds-split-1-0-0'


@pytest.mark.parametrize(
  'path, field, message',
  [
    ('no_such_dataset', 'text', 'cannot open: Dataset no_such_dataset not'),
    ('glue/no_such_config', 'text', 'cannot open: .*no_such_config'),
    ('glue/sst2', 'text', r"the texts of dataset glue are .*\['sentence'\]"),
    (f'{HERE}:Missing', 'text', "no attribute 'Missing'"),
    ('no.such.module:Builder', 'text', "No module named 'no'"),
    (f'{HERE}:Split', 'label', r"are called \['text', 'title'\]"),
    (f'{HERE}:Split', 'scores', r"are called \['text', 'title'\]"),
    (f'{HERE}:TestOnly', 'text', r"no train split, only \['test'\]"),
    (f'{HERE}:WantsTensorFlow', 'text', 'needs tensorflow, which is not'),
  ],
)
def test_a_dataset_that_cannot_be_read_is_refused(path, field, message):
  with pytest.raises(UserError, match=message):
    corpora.build('tfds', path, field=field)
