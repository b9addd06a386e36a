"""What `prepare` makes, `train` finds; what cannot be is said at once."""

import json
import sys

import pytest

import lm.data
from experiments import command, prepare
from lm.data import datasets, token_store
from lm.training.sections import SECTIONS
from lm.types import UserError

TEXT = '\n\n'.join(f'Paragraph {n} says this.' for n in range(100))


@pytest.fixture
def argv(tmp_path):
  (tmp_path / 'text.txt').write_text(TEXT)
  return [
    '--config=configs/gpt.py:debug',
    '--config.data.source=text',
    f'--config.data.path={tmp_path}/text.txt',
    f'--config.data.cache={tmp_path}/cache',
  ]


def prepared(argv, capsys):
  prepare.main(**command.parse(prepare.main, argv, SECTIONS))
  return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_the_stores_are_those_that_training_finds(argv, capsys, monkeypatch):
  told = prepared(argv, capsys)
  monkeypatch.setattr(token_store, 'build', None)  # All is there.
  arguments = command.parse(prepare.main, argv, SECTIONS)
  dataset = datasets.build(**arguments['config'].to_dict()['data'])
  for split in ('train', 'validation'):
    [store] = getattr(dataset, split)
    assert told[split]['directories'] == [str(store.directory)]
    assert told[split]['tokens'] == len(store.tokens)
    assert told[split]['documents'] == len(store.offsets) - 1
  documents = told['train']['documents'] + told['validation']['documents']
  assert documents == 100
  size = told['train']['bytes'] + told['validation']['bytes']
  assert size == len(TEXT.replace('\n', ''))
  assert told['vocab_size'] == dataset.tokenizer.vocab_size


def test_the_stores_of_a_mixture_are_counted_together(argv, capsys, tmp_path):
  more = f'text:{tmp_path}/text.txt@0.7,dialogues@0.3'
  told = prepared(
    [
      argv[0],
      '--config.data.source=mixture',
      '--config.data.path=',
      f'--config.data.mixture={more}',
      argv[-1],
    ],
    capsys,
  )
  assert len(set(told['train']['directories'])) == 2
  alone = prepared(argv, capsys)
  assert told['train']['documents'] > alone['train']['documents'] + 100


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    (['--runner=Direct'], "is 'Direct', but .*mean DirectRunner"),
    (['--runner_options=--x=1'], 'but there is no --runner'),
  ],
)
def test_a_runner_that_there_is_not_is_refused(argv, flags, message):
  with pytest.raises(UserError, match=message):
    prepare.main(**command.parse(prepare.main, [*argv, *flags], SECTIONS))


def test_without_beam_it_is_said_how_to_get_it(argv, monkeypatch):
  monkeypatch.setitem(sys.modules, 'apache_beam', None)
  monkeypatch.delitem(sys.modules, 'lm.data.beam_pipeline', raising=False)
  monkeypatch.delattr(lm.data, 'beam_pipeline', raising=False)
  with pytest.raises(UserError, match=r"pip install -e '\.\[beam\]'"):
    prepare.by_beam('DirectRunner', [])


@pytest.mark.peers
@pytest.mark.parametrize(
  ('runner', 'options', 'message'),
  [
    ('DirectRunner', '--direct_num_worker=2', 'no option --direct_num_worker.'),
    ('DirectRunner', 'two', 'Beam has no option two'),
    ('DirectRunner', '--direct_num_workers=x', "invalid int value: 'x'"),
    ('DirectRunner', '--direct_running_mode=x', "invalid choice: 'x'"),
    ('DataflowRunner', '--region=europe-west4', 'required option: project'),
  ],
)
def test_options_that_a_runner_does_not_take_are_refused(
  argv, tmp_path, runner, options, message
):
  flags = [f'--runner={runner}', f'--runner_options={options}']
  with pytest.raises(UserError, match=message):
    prepare.main(**command.parse(prepare.main, [*argv, *flags], SECTIONS))
  assert not (tmp_path / 'cache').exists()


@pytest.mark.peers
@pytest.mark.parametrize(
  ('runner', 'options'),
  [
    (
      'DirectRunner',
      ['--direct_num_workers=2', '--direct_running_mode=in_memory'],
    ),
    (
      'DirectRunner',
      ['--direct_num_workers=2 --no_direct_runner_use_stacked_bundle'],
    ),
    ('FlinkRunner', ['--flink_master=flink:8081 --parallelism=64']),
    ('SparkRunner', ['--spark_master_url=spark://spark:7077']),
  ],
)
def test_options_that_a_runner_takes_are_passed_on(runner, options):
  flags = prepare.by_beam(runner, options).keywords['flags']
  assert flags == ' '.join(options).split()
