"""What is kept of a study is of the study that is shipped."""

import json

import pytest

from benchmarks import studies, study_pages
from experiments import config_file
from lm.comparison import study as parsed
from lm.types import UserError


def test_every_study_is_listed():
  found = {
    path.stem for path in (study_pages.ROOT / 'configs/compare').glob('*.py')
  }
  assert {*studies.STUDIES} == found - {'__init__', 'small'}


@pytest.mark.parametrize('name', studies.STUDIES)
def test_what_is_kept_answers_the_question_that_is_asked_today(
  name, monkeypatch
):
  monkeypatch.chdir(study_pages.ROOT)
  kept = study_pages.RESULTS / f'{name}.json'
  path = f'configs/compare/{name}.py'
  study = parsed.parse(path, config_file.read(path))
  found = json.loads(kept.read_text())
  page = study_pages.PAGES / f'{name}.md'
  assert page.exists() and page.with_suffix('.png').exists()
  assert found['question'] == study.question
  assert found['study']['budget'] == study.budget
  assert found['study']['seeds'] == study.seeds
  assert found['study']['tuning'] == {
    'learning_rates': [*study.tuning.learning_rates],
    'share': study.tuning.share,
  }
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


def test_a_page_has_the_tables_of_what_is_kept():
  for page in study_pages.PAGES.glob('*.md'):
    found = json.loads((study_pages.RESULTS / f'{page.stem}.json').read_text())
    text = page.read_text()
    assert study_pages.renewed(text, page.stem, found) == text
    assert found['question'] in text.replace('\n', ' ')


@pytest.mark.parametrize('name', ['families', 'scaling'])
def test_between_two_marks_a_page_is_made_anew(name, tmp_path):
  found = json.loads((study_pages.RESULTS / f'{name}.json').read_text())
  page = tmp_path / f'{name}.md'
  first, last = study_pages.FIRST, study_pages.LAST
  page.write_text(f'Why?\n\n{first}\nold\n{last}\n\nThis is why.\n')
  study_pages.write(page, found)
  text = page.read_text()
  assert text.startswith('Why?\n') and text.endswith('\nThis is why.\n')
  assert 'old' not in text and f']({name}.png)' in text
  assert page.with_suffix('.png').stat().st_size > 1000
  for variant, each in found['terms'].items():
    assert f'| {variant} | {each["parameters"]:,} |' in text
  assert ('The loss falls as' in text) == (name == 'scaling')
  with pytest.raises(UserError, match=f'The page of {name} has no <!--'):
    study_pages.renewed('Why?', name, found)
