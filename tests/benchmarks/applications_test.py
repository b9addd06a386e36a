"""The references are of files that are there, and are told as they were run."""

import json
import pathlib

import pytest

from benchmarks import applications, draw_applications
from experiments import config_file
from lm.training.sections import SECTIONS
from lm.types import UserError

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize('name', applications.REFERENCES)
def test_each_is_a_config_whose_files_are_in_the_data(name, shared, tmp_path):
  reference = applications.REFERENCES[name]
  for path in reference.files.values():
    for side in ('en', 'de') if '{' in path else ('',):
      found = path.replace('{en,de}', side)
      assert (shared / 'data' / found).exists()
  config = config_file.load(
    f'{ROOT}/configs/{reference.config}', dict(reference.settings), SECTIONS
  )
  # What is scored is not what the checkpoint is chosen by.
  assert reference.split == 'test' or config.checkpoint.best == ''


def test_a_few_questions_are_written_to_be_learned_and_scored(shared, tmp_path):
  reference = applications.REFERENCES['newwiki_fitted']
  found = applications.files_of(reference, shared / 'data', tmp_path / 'run')
  assert found['data.format'] == 'jsonl'
  assert found['data.train'] == found['data.validation']
  rows = [json.loads(x) for x in found['data.train'].read_text().splitlines()]
  assert len(rows) == reference.fitted == 200
  for row in rows:
    for answer in row['answers']:
      start = answer['start']
      end = start + len(answer['text'])
      assert row['context'][start:end] == answer['text']


def test_the_time_of_several_calls_is_added_up(tmp_path):
  path = tmp_path / 'spent.json'
  applications.add_up({'minutes': 1.25}, path)
  assert applications.add_up({'minutes': 2.5}, path) == {'minutes': 3.8}


def test_what_there_is_not_and_a_single_seed_are_refused(tmp_path):
  with pytest.raises(UserError, match="no reference 'sst3'"):
    applications.main('data', only=('sst3',))
  with pytest.raises(UserError, match='--seeds=2'):
    applications.scores_of(tmp_path, 1)


def test_the_page_says_what_was_measured():
  page = (ROOT / 'docs/tasks.md').read_text()
  for name, row in json.loads(applications.RESULTS.read_text()).items():
    mean, std = row['summary']['mean'], row['summary']['std']
    of_one = row['metric'] in ('accuracy', 'f1') and mean <= 1
    scale, digits = (100, 1) if of_one else (1, 1)
    if row['metric'] == 'loss':
      digits = 2
    told = f'{scale * mean:.{digits}f} ± {scale * std:.{digits}f}'
    assert told in page, name
    assert row['goal'] is None or mean >= row['goal']


def test_a_task_is_drawn_in_a_panel_with_its_variants(tmp_path):
  curve = {'step': [1, 2], 'mean': [0.1, 0.2], 'standard_deviation': [0, 0.1]}
  last = {key: value[:1] for key, value in curve.items()}
  row = {'metric': 'f1', 'curve': curve}
  names = ('sst2', 'sst2_pretrained', 'resume', 'wnut17_scratch')
  rows = {**dict.fromkeys(names, row), 'fitted': {**row, 'curve': last}}
  panels = draw_applications.panels_of(rows)
  assert {name: [*lines] for name, lines in panels.items()} == {
    'sst2': ['from nothing', 'from WikiText-2'],
    'resume': ['from nothing'],
    'wnut17': ['with its sizes and tokenizer'],
  }
  draw_applications.draw(rows, tmp_path / 'all.png')
  assert (tmp_path / 'all.png').stat().st_size > 1000
