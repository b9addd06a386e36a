import json
import pathlib

import pytest

from experiments import command, overlap
from lm.training.sections import SECTIONS
from lm.types import UserError

ROOT = pathlib.Path(__file__).parents[2]


def call(*argv):
  overlap.main(**command.parse(overlap.main, argv, SECTIONS))


def test_what_is_scored_and_learned_from_is_counted(tmp_path, capsys):
  def write(name, texts):
    path = tmp_path / f'{name}.jsonl'
    rows = [{'text': text, 'label': str(n % 2)} for n, text in enumerate(texts)]
    path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
    return f'--config.data.{name}={path}'

  long = 'one two three four five six seven eight nine'
  call(
    f'--config={ROOT}/configs/classification.py',
    '--config.data.format=jsonl',
    f'--config.data.cache={tmp_path}',
    write('train', ['a cat', long, 'a dog']),
    write('validation', ['A cat!', 'no dog', f'zero {long[:-5]}', 'so']),
  )
  said = json.loads(capsys.readouterr().out.splitlines()[-1])
  assert said == {
    'validation': {
      'texts': 4,
      'N': 8,
      'exact': 0.25,
      '8-gram': 0.25,
      '13-gram': 0.0,
    }
  }


def test_a_config_without_a_task_has_no_records(tmp_path):
  with pytest.raises(UserError, match='no task'):
    call(f'--config={ROOT}/configs/gpt.py')
