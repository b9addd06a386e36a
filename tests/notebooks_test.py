"""What the committed notebooks hold; `make test-notebooks` runs them."""

import base64
import json
import pathlib
import re

import pytest

FOLDER = pathlib.Path(__file__).parents[1] / 'notebooks'
FILES = sorted(FOLDER.glob('*.ipynb'))
QUESTION = re.compile(r'\*\*[^*]+\?\*\*')
FOUND = '## What was found'
PNG = b'\x89PNG\r\n\x1a\n'
MOST = 500_000  # Bytes of a notebook, its plots included.
OF_ALL = 1_500_000
ELSEWHERE = re.compile(
  r'\.\./shared|(src|href)=.?https?:|/(tmp|home|root|work|Users)/\w'
)


def read(file):
  """Returns the cells of a notebook, their texts joined."""
  cells = json.loads(file.read_text('utf-8'))['cells']
  return [{**cell, 'source': ''.join(cell['source'])} for cell in cells]


def outputs(cells):
  """Returns all outputs of code, in order."""
  return [o for cell in cells for o in cell.get('outputs', ())]


def texts(outputs):
  """Returns all text among outputs."""
  found = []
  for output in outputs:
    parts = [output.get('text', ''), *output.get('data', {}).values()]
    kinds = ['text/plain', *output.get('data', {})]
    found += [
      ''.join(part) for part, kind in zip(parts, kinds) if kind != 'image/png'
    ]
  return found


def test_there_are_seven_in_order():
  assert [file.name.partition('_')[0] for file in FILES] == [*'1234567']


@pytest.mark.parametrize('file', FILES, ids=lambda file: file.stem)
def test_a_notebook_goes_from_a_question_to_what_was_found(file):
  cells = read(file)
  first, last = cells[0], cells[-1]
  number = file.name.partition('_')[0]
  assert first['cell_type'] == 'markdown'
  assert first['source'].startswith(f'# {number}. ')
  assert QUESTION.search(first['source'])
  [told] = [t for t in texts(outputs([last])) if t.strip().startswith(FOUND)]
  assert len(re.findall(r'\d+\.\d', told)) >= 2
  assert 'nan' not in told.lower().split()


@pytest.mark.parametrize('file', FILES, ids=lambda file: file.stem)
def test_a_notebook_was_run_from_top_to_bottom_and_nothing_went_wrong(file):
  code = [cell for cell in read(file) if cell['cell_type'] == 'code']
  counts = [cell['execution_count'] for cell in code]
  assert counts == [*range(1, len(code) + 1)]
  made = outputs(code)
  assert {o['output_type'] for o in made} <= {
    'stream',
    'display_data',
    'execute_result',
  }
  assert [o for o in made if o.get('name') == 'stderr'] == []


@pytest.mark.parametrize('file', FILES, ids=lambda file: file.stem)
def test_a_notebook_has_its_plots_and_is_small(file):
  pictures = [
    base64.b64decode(''.join(output['data']['image/png']))
    for output in outputs(read(file))
    if 'image/png' in output.get('data', {})
  ]
  assert pictures
  assert all(picture.startswith(PNG) for picture in pictures)
  assert file.stat().st_size < MOST


@pytest.mark.parametrize('file', FILES, ids=lambda file: file.stem)
def test_a_notebook_needs_and_names_nothing_of_one_machine(file):
  cells = read(file)
  written = [cell['source'] for cell in cells] + texts(outputs(cells))
  assert [found[0] for t in written if (found := ELSEWHERE.search(t))] == []


def test_all_of_them_are_small():
  assert sum(file.stat().st_size for file in FILES) < OF_ALL


def test_these_checks_can_fail():
  assert QUESTION.search('**Who reads whom?**')
  assert not QUESTION.search('Who reads **whom**?')
  noise = {'output_type': 'stream', 'name': 'stderr', 'text': ['a ', 'b']}
  shown = {
    'output_type': 'execute_result',
    'data': {'text/plain': 'c', 'image/png': 'd'},
  }
  assert outputs([{'outputs': [noise]}, {}, {'outputs': [shown]}]) == [
    noise,
    shown,
  ]
  assert texts([noise, shown]) == ['a b', '', 'c']
  for folder in ('tmp', 'home'):
    assert ELSEWHERE.search(f'at /{folder}/lm-1')
  for text in ("src='https://a.b'", '../shared/x'):
    assert ELSEWHERE.search(text)
  assert not ELSEWHERE.search('https://a.b, runs/tmp')
