"""Every command in README and docs does what it says, with fewer steps.

Each is run as it is typed, in one place, in the order of the pages, by the
module that it names. Runs are made short and small by flags behind it. One that
needs what not every machine has says so on its line.
"""

import gzip
import importlib
import inspect
import itertools
import json
import os
import pathlib
import re
import runpy
import shlex
import subprocess
import sys
import warnings
import zipfile

import pytest

import lm
from tests.docs import markdown

# These are run as they would be, but for what they would start.
SHOWN = ('experiments.launch', 'experiments.sweep')
# Of a study, one run and the trials before it, of four steps.
ONE_RUN = ('--budget=8192', '--seeds=1', '--only=learned')
XL = ['experiments.train', '--config=configs/gpt.py:gpt2-xl']
SHORT = {
  'num_steps': '2',
  'batch_size': '8',
  'microbatches': '1',
  'eval.every': '0',
  'checkpoint.every': '0',
  'log.sample_every': '0',
  'optimizer.warmup_steps': '1',
}
SMALL = {
  'model.num_layers': '1',
  'model.num_heads': '2',
  'model.head_dim': '8',
  'model.embed_dim': '16',
  'model.mlp_dim': '32',
  'model.dtype': 'float32',
  'model.vocab_size': 'none',
  'data.vocab_size': '300',
  'data.length': '32',
}


def sentences() -> list[str]:
  """Returns some hundred, no two the same, of the explanations in docs."""
  pages = [page.read_text() for page in markdown.PAGES]
  prose = ' '.join(re.findall(r'^[A-Z][^|`*]+$', '\n'.join(pages), re.M))
  found = re.split(r'(?<=[.:])\s+', prose.replace('\n', ' '))
  return [*dict.fromkeys(text for text in found if len(text) > 40)]


def every_command() -> list[markdown.Command]:
  """Returns the commands of all pages, each once."""
  found = {}
  for page in markdown.PAGES:
    if page.name.startswith('add_'):  # By tests/docs/tutorials_test.py.
      continue
    for command in markdown.commands(page):
      found.setdefault(tuple(command.argv), command)
  return [*found.values()]


COMMANDS = every_command()
INLINE = [each for page in markdown.PAGES for each in markdown.inline(page)]


@pytest.fixture(scope='module')
def place(tmp_path_factory) -> pathlib.Path:
  """A folder with the files that the commands name."""
  root = tmp_path_factory.mktemp('place')
  for name in ('configs', 'benchmarks', 'requirements.txt'):
    (root / name).symlink_to(markdown.ROOT / name)
  folders = ('books', 'text', 'web', 'SST-2', 'my_tasks', 'DIR', 'wikitext2')
  for name in folders:
    (root / name).mkdir()
  lines = sentences()
  assert len(lines) > 100
  prose = '\n\n'.join(lines)
  with gzip.open(root / 'books/one.txt.gz', 'wt') as file:
    file.write(prose)
  documents = ''.join(json.dumps({'text': line}) + '\n' for line in lines)
  with gzip.open(root / 'text/one.jsonl.gz', 'wt') as file:
    file.write(documents)
  (root / 'web/one.jsonl').write_text(documents)
  articles = '\n \n = A title = \n \n'.join(['', *lines, ''])
  for name in ('train.txt', 'valid.txt'):
    (root / 'wikitext2' / name).write_text(articles)
  for name in ('other.txt', 'my.txt'):
    (root / name).write_text(prose)
  rows = [(line, row % 2) for row, line in enumerate(lines)]
  table = ''.join(f'{text}\t{label}\n' for text, label in rows)
  for name in ('train.tsv', 'dev.tsv'):
    (root / 'SST-2' / name).write_text('sentence\tlabel\n' + table)
  (root / 'reviews.jsonl').write_text(
    ''.join(
      json.dumps({'text': text, 'label': ('bad', 'good')[label]}) + '\n'
      for text, label in rows
    )
  )
  choices = {'context': 'The cat sat on the', 'choices': ['mat', 'sky']}
  (root / 'my.jsonl').write_text(
    json.dumps({'id': '1', **choices, 'answer': 0})
  )
  task = markdown.ROOT / 'docs/zero_shot.md'
  lines = task.read_text().partition('# my_tasks/my_task.yaml\n')[2]
  (root / 'my_tasks/my_task.yaml').write_text(
    '\n'.join(line[4:] for line in lines.partition('\n\n')[0].splitlines())
  )
  with zipfile.ZipFile(root / 'BLiMP.zip', 'w') as archive:
    pair = {
      'sentence_good': 'He goes home.',
      'sentence_bad': 'He go home.',
      'UID': 'agreement',
      'pairID': '0',
      'simple_LM_method': True,
      'field': 'morphology',
      'linguistics_term': 'agreement',
    }
    archive.writestr('data/agreement.jsonl', json.dumps(pair) + '\n')
  return root


@pytest.fixture(scope='module')
def trained(place) -> pathlib.Path:
  """The same, with runs that no page trains, and with files of others."""
  for family in ('gpt', 't5', 'roberta'):
    argv = ['experiments.train', f'--config=configs/{family}.py:debug']
    # As long as published ones: what is asked of them is as of these.
    argv += [f'--workdir=runs/{family}', '--config.model.max_len=512']
    if family == 'gpt':  # As Hugging Face knows it.
      argv += ['--config.model.use_bias=true']
      argv += ['--config.model.activation=gelu_tanh']
    run(argv, place)
  models = {name: lm.load(place / 'runs' / name) for name in ('gpt', 'roberta')}
  lm.save_huggingface(models['gpt'], place / 'DIR')
  lm.save_huggingface(models['roberta'], place / 'DIR/roberta-base')
  return place


def run(argv: list[str], place: pathlib.Path) -> None:
  """Runs a module as `python -m` does, in a folder; it has to end well."""
  module, *flags = argv
  before, arguments = os.getcwd(), sys.argv
  os.chdir(place)
  sys.argv = [module, *flags, *shorter(argv)]
  try:
    with warnings.catch_warnings():
      # It may have been imported before: then it is executed once more.
      warnings.filterwarnings('ignore', '.*found in sys.modules')
      runpy.run_module(module, run_name='__main__')
  except SystemExit as ended:
    assert not ended.code, sys.argv
  finally:
    os.chdir(before)
    sys.argv = arguments


def shorter(argv: list[str]) -> list[str]:
  """Returns the flags that make a command short; what it says itself stays."""
  module, *flags = argv
  given = {flag.partition('=')[0] for flag in flags}
  if module == 'experiments.compare':
    return [*ONE_RUN]
  if module not in ('experiments.train', 'experiments.prepare'):
    return []
  more = dict(SHORT)
  fresh = '--config.init_from' not in given
  if fresh and not any(flag.endswith(':debug') for flag in flags):
    more |= SMALL
  return [
    f'--config.{key}={value}'
    for key, value in more.items()
    if f'--config.{key}' not in given
  ]


@pytest.mark.peers
@pytest.mark.slow
@pytest.mark.parametrize(
  'command',
  [command for command in COMMANDS if not command.needs],
  ids=lambda command: f'{command.page}:{command.line}',
)
def test_a_command_does_what_it_says(command, trained, monkeypatch):
  monkeypatch.setenv('LM_CACHE', str(trained / 'cache'))
  program, *rest = command.argv
  if program == 'make':
    for recipe in recipes(rest[0]):
      run(recipe, trained)
    return
  assert program == 'python' and rest[0] == '-m', command
  argv = rest[1:]
  if argv[0] in SHOWN and '--dry_run' not in argv:
    argv.append('--dry_run')
  if argv[:2] == XL:  # It makes devices of its own, as a new process can.
    done = subprocess.run([sys.executable, *rest], cwd=trained, check=False)
    assert not done.returncode
    return
  run(argv, trained)


def recipes(target: str) -> list[list[str]]:
  """Returns the modules that a target runs with their flags; not the tests."""
  makefile = (markdown.ROOT / 'Makefile').read_text()
  lines = makefile.partition(f'\n{target}:')[2].splitlines()[1:]
  assert lines, f'There is no target {target}.'
  own = itertools.takewhile(lambda line: line.startswith('\t'), lines)
  run_by = '$(RUN) -m '
  return [
    shlex.split(line.partition(run_by)[2]) for line in own if run_by in line
  ]


@pytest.mark.peers
@pytest.mark.parametrize(
  'command', INLINE, ids=lambda command: f'{command.page}:{command.line}'
)
def test_a_command_within_a_sentence_is_one(command):
  module, *flags = command.argv[2:]
  known = inspect.signature(importlib.import_module(module).main).parameters
  assert not known or {flag.partition('=')[0][2:] for flag in flags} <= {*known}


def test_what_needs_more_than_this_machine_says_so():
  assert len(COMMANDS) > 30
  for command in COMMANDS:
    if command.argv[0] not in ('python', 'make'):
      assert command.needs, f'{command.page}:{command.line}'
