"""The benchmark of GPUs runs where little is installed, and merges its parts."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
# What need not be where there is a GPU.
ABSENT = (
  'array_record',
  'grain',
  'ml_collections',
  'safetensors',
  'sentencepiece',
  'tensorboardX',
  'tensorflow',
  'tensorflow_datasets',
  'tokenizers',
  'transformers',
)


def measure(out, only, absent=None):
  """Runs it, tiny, on a CPU, where the packages in `absent` cannot be had."""
  path = [str(ROOT)] if absent is None else [str(absent), str(ROOT)]
  subprocess.run(
    [sys.executable, '-m', 'benchmarks.gpu', '--cpu', '--tiny', '--windows=2']
    + [f'--only={only}', f'--out={out}'],
    cwd=ROOT,
    env=os.environ | {'PYTHONPATH': os.pathsep.join(path)},
    check=True,
  )
  return json.loads(out.read_text())


@pytest.fixture(scope='module')
def measured(tmp_path_factory):
  root = tmp_path_factory.mktemp('gpu')
  for name in ABSENT:
    (root / 'absent' / name).mkdir(parents=True)
    code = f'raise ImportError("{name} is not here")'
    (root / 'absent' / name / '__init__.py').write_text(code)
  out = root / 'gpu.json'
  return (
    measure(out, 'gpt2-124m,t5-base,products,agreement', root / 'absent'),
    measure(out, 'bert-large,t5-base'),
  )


@pytest.mark.peers
@pytest.mark.slow
def test_it_needs_no_data_pipeline_and_says_which_peer_is_missing(measured):
  first, _ = measured
  assert first['t5-base']['torch'] == {'missing': 'transformers is not here'}
  assert first['t5-base']['lm']['tokens_per_second'] > 0
  assert 'ratio' not in first['t5-base']
  assert first['gpt2-124m']['ratio'] > 0
  for way in ('lm', 'torch'):
    assert first['products'][way]['64'] > 0
  assert {'missing', 'largest_errors'} & first['agreement'].keys()


@pytest.mark.peers
@pytest.mark.slow
def test_what_was_measured_before_is_kept(measured):
  first, both = measured
  assert both.keys() == first.keys() | {'bert-large'}
  assert both['gpt2-124m'] == first['gpt2-124m']


@pytest.mark.peers
@pytest.mark.slow
@pytest.mark.parametrize('name', ['gpt2-124m', 'bert-large', 't5-base'])
def test_both_train_a_model_of_the_same_size_and_learn(measured, name):
  part = measured[1][name]
  assert part['lm']['parameters'] == part['torch']['parameters']
  for way in ('lm', 'torch'):
    losses = part[way]['losses']
    assert losses[-1] < losses[0] and len(losses) == 3
