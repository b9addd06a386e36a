"""What is kept of a study is of the study that is shipped."""

import json

import pytest

from benchmarks import studies
from experiments import config_file
from lm.comparison import study as parsed

NOT_RUN = studies.STUDIES  # Those whose results are not here yet.


def test_every_study_is_listed():
  found = {
    path.stem for path in (studies.ROOT / 'configs/compare').glob('*.py')
  }
  assert {*studies.STUDIES} == found - {'__init__', 'small'}


@pytest.mark.parametrize('name', studies.STUDIES)
def test_what_is_kept_answers_the_question_that_is_asked_today(
  name, monkeypatch
):
  monkeypatch.chdir(studies.ROOT)
  kept = studies.RESULTS / f'{name}.json'
  path = f'configs/compare/{name}.py'
  study = parsed.parse(path, config_file.read(path))
  if not kept.exists():
    assert name in NOT_RUN
    return
  found = json.loads(kept.read_text())
  assert found['question'] == study.question
  if name in NOT_RUN:  # A trial, for the notebooks.
    assert found['study']['budget'] < study.budget
    return
  assert found['study']['budget'] == study.budget
  assert found['study']['seeds'] == study.seeds
  assert found['terms'].keys() == {each.name for each in study.variants}
  assert not found['failures']
  for own in found['rows'].values():
    assert len(own) == study.seeds


def test_numbers_keep_six_digits():
  exact = {'a': [1.23456789, 1234567.8, 3, None, float('inf')], 'b': 'c'}
  assert studies.rounded(exact) == {
    'a': [1.23457, 1234570.0, 3, None, float('inf')],
    'b': 'c',
  }
