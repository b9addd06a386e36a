"""What is launched is what was typed, and what cannot be is refused."""

import inspect
import pathlib
import re
from typing import Any

import pytest

from experiments import command, config_file, train
from experiments.launch import (
  __main__ as door,
  flags,
  job as jobs,
  local,
  settings,
  slurm,
  start,
)
from experiments.launch.job import Job
from lm.training import boards
from lm.training.sections import SECTIONS
from lm.types import UserError

ARGV = ['--config=configs/gpt.py:debug', '--workdir=runs/a']


def parse(*more: str) -> dict[str, Any]:
  to = flags.chosen(more) or 'local'
  main = flags.signed(door.main, [Job, *flags.options_of(to)])
  return command.parse(main, [*ARGV, *more], SECTIONS)


@pytest.mark.parametrize(
  ('to', 'flag', 'texts'),
  [
    ('slurm', 'sbatch', ['--mail-type=END,FAIL', '--exclude=a1,a[3-5]']),
    ('tpu', 'gcloud', ['--ssh-flag=-o SendEnv=A,B']),
  ],
)
def test_an_argument_of_another_program_keeps_its_commas(to, flag, texts):
  arguments = parse(f'--to={to}', *(f'--{flag}={text}' for text in texts))
  options = flags.made(start.PLATFORMS[to].Options, arguments)
  assert [*getattr(options, flag)] == texts


def test_what_starts_has_the_config_that_was_typed(make_job):
  overrides = {'model.num_layers': '3', 'log.sample_prompt': 'a, b=c'}
  job = make_job(overrides=overrides, allow_change=('data', 'seed'))
  python, m, module, *argv = jobs.argv(job)
  assert [python, m, module] == ['python', '-m', 'experiments.train']
  given = command.parse(train.main, argv, SECTIONS)
  assert given['workdir'] == job.workdir
  assert given['allow_change'] == ('data', 'seed')
  assert given['config'].to_dict() == start.resolve(
    'local', job, local.Options()
  )
  assert given['config'].model.num_layers == 3
  assert given['config'].log.sample_prompt == 'a, b=c'


def test_a_platform_brings_its_own_flags():
  given = parse(
    '--to=slurm',
    '--partition=big',
    '--env=A=1,2',
    '--env=B=',
    '--config.seed=3',
  )
  assert given['partition'] == 'big' and given['env'] == ['A=1,2', 'B=']
  assert given['config'] == ('configs/gpt.py:debug', {'seed': '3'})
  assert parse()['config'].path == 'configs/gpt.py:debug'


@pytest.mark.parametrize(
  ('argv', 'message'),
  [
    (['--partition=big'], '--partition. It belongs to --to=slurm. See'),
    (['--to=tpu', '--partition=a'], '--partition. It belongs to --to=slurm.'),
    (['--restarts=3'], 'It belongs to --to=slurm and --to=gke.'),
    (['--to=slurm', '--partiton=b'], 'Did you mean --partition?'),
    (['--to=slrum', '--partition=b'], 'Did you mean slurm?'),
    (['--to=slurm', '--nodes=tpu'], '--nodes is .tpu., but it is to be gpu or'),
    (['--hosts=two'], '--hosts is .two., but it is to be an integer'),
  ],
)
def test_an_unknown_field_is_refused(argv, message):
  with pytest.raises(UserError, match=message):
    parse(*argv)


def test_every_flag_is_explained(capsys):
  for name, platform in start.PLATFORMS.items():
    with pytest.raises(SystemExit):
      parse(f'--to={name}', '--help')
    said = capsys.readouterr().out
    for kind in (Job, platform.Options):
      for field in inspect.signature(kind).parameters:
        entry = said.partition(f'\n  --{field} ')[2].partition('\n  --')[0]
        assert len(entry.split()) > 2, (name, field)


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'time_limit': '4h'}, '--time_limit is .4h., but'),
    ({'time_limit': '90:00'}, 'HOURS:MINUTES:SECONDS'),
    ({'time_limit': '0:00:00'}, '--time_limit'),
    ({'time_limit': '1:75:00'}, '--time_limit'),
    ({'hosts': 0}, '--hosts is 0'),
    ({'devices': -1}, '--devices -1'),
    ({'env': ['A']}, '--env is .A., but it is to be KEY=VALUE'),
    ({'env': ['A-B=1']}, '--env'),
    ({'name': 'My Job'}, '--name is .My Job.'),
    ({'name': 'a' * 41}, 'up to 40'),
    ({'workdir': ''}, '--workdir'),
  ],
)
def test_a_job_that_cannot_be_is_refused(make_job, fields, message):
  with pytest.raises(UserError, match=message):
    make_job(**fields)


@pytest.mark.parametrize(
  ('text', 'seconds'),
  [('', 0), ('4:00:00', 14400), ('0:00:30', 30), ('2-03:04:05', 183845)],
)
def test_a_time_limit_is_read(text, seconds):
  assert jobs.seconds(text) == seconds


@pytest.mark.parametrize(
  ('overrides', 'message'),
  [
    ({'model.num_layer': '3'}, 'Did you mean config.model.num_layers?'),
    ({'parallel.fsdp': '3'}, 'are 8 devices, but config.parallel is data -1 x'),
    ({'parallel.data': '2'}, 'Let their product be 8'),
    (
      {'batch_size': '12'},
      'A batch of 12 .* config.batch_size to a multiple of 8',
    ),
    ({'microbatches': '0'}, 'microbatches is 0'),
  ],
)
def test_a_config_that_cannot_run_there_is_refused(
  make_job, overrides, message
):
  job = make_job(overrides=overrides, hosts=2, devices=4)
  with pytest.raises(UserError, match=message):
    start.start('local', job, start.PLATFORMS['local'].Options())
  assert not pathlib.Path(job.workdir).exists()


MIXED = {'data.source': 'mixture'}


@pytest.mark.parametrize(
  ('config', 'overrides'),
  [
    ('gpt.py:gpt2', {}),
    ('gpt.py:gpt2', {'data.path': '', 'data.packing': 'rows'}),
    ('gpt.py:gpt2', {'data.mixture': 'text:a.txt@1'}),
    ('gpt.py:gpt2', MIXED),
    ('gpt.py:gpt2', MIXED | {'data.mixture': 'dialogues@1,jsonl@1'}),
    ('gpt.py:gpt2', MIXED | {'data.mixture': 'dialogues@1,text:a.txt'}),
    ('gpt.py:gpt2', MIXED | {'data.mixture': 'dialogues@1,books:a.txt@1'}),
    ('gpt.py:debug', {'data.path': 'a.txt'}),
    ('gpt.py:debug', {'seeds': '0'}),
    ('gpt.py:debug', {'optimizer.warmup_steps': '20'}),
    ('gpt.py:debug', {'optimizer.rates': 'a'}),
    ('gpt.py:debug', {'lora.rank': '-1'}),
    ('gpt.py:debug', {'log.profile': '10'}),
    ('gpt.py:debug', {'short_steps': '-1'}),
    ('gpt.py:debug', {'checkpoint.best': 'loss', 'eval.every': '7'}),
    ('classification.py', {}),
  ],
)
def test_what_train_refuses_is_not_handed_in(
  make_job, programs, config, overrides
):
  handed_in = programs('sbatch', 'echo 42')
  job = make_job(config=f'configs/{config}', overrides=overrides, devices=8)
  resolved = config_file.load(*job.config, SECTIONS).to_dict()
  with pytest.raises(UserError) as refused:
    train.run(resolved, job.workdir)
  with pytest.raises(UserError, match=f'^{re.escape(str(refused.value))}$'):
    start.start('slurm', job, slurm.Options())
  assert not handed_in.exists()


def test_a_board_is_checked_where_the_job_has_this_python(
  make_job, monkeypatch
):
  def check(to, **fields):
    job = make_job(overrides={'log.boards': 'wandb'}, devices=8, **fields)
    start.resolve(to, job, start.PLATFORMS[to].Options())

  monkeypatch.setattr(boards, 'installed', lambda name: True)
  monkeypatch.setenv('NETRC', 'nowhere')
  for variable in ('WANDB_MODE', 'WANDB_API_KEY'):
    monkeypatch.delenv(variable, raising=False)
  for to in ('local', 'slurm'):
    with pytest.raises(
      UserError, match=r'has .wandb., but it is without a key'
    ):
      check(to)
    check(to, env=['WANDB_MODE=offline'])


def test_records_are_asked_for_whose_tokenizer_only_the_job_sees(make_job):
  overrides = {'data.tokenizer': '/only/there'}
  job = make_job(config='configs/classification.py', overrides=overrides)
  with pytest.raises(UserError, match=r'config\.data\.train is empty'):
    start.show('local', job, local.Options())


@pytest.mark.parametrize(
  ('config', 'overrides'),
  [
    ('gpt.py:gpt2', {'data.path': '/only/there/*.jsonl.gz'}),
    ('gpt.py:gpt2', {'data.path': 'gs://nobody/text/*.jsonl.gz'}),
    (
      'gpt.py:gpt2',
      MIXED | {'data.mixture': 'text:/only/there/*.txt@0.5,dialogues@0.5'},
    ),
    (
      'classification.py',
      {'data.train': '/only/there.tsv', 'data.tokenizer': '/only/there'},
    ),
  ],
)
def test_data_that_only_the_job_sees_is_not_looked_for(
  make_job, programs, config, overrides
):
  programs('sbatch', 'echo 42')
  job = make_job(config=f'configs/{config}', overrides=overrides, devices=8)
  assert start.start('slurm', job, slurm.Options())['id'] == '42'


def test_a_batch_is_divided_by_what_is_known_of_the_devices(make_job):
  def check(devices, **fields):
    fields = {key.replace('__', '.'): value for key, value in fields.items()}
    job = make_job(overrides={'batch_size': '24', **fields}, devices=devices)
    start.show('local', job, local.Options())

  check(0, parallel__fsdp='8')  # Of data it is not known.
  check(4, microbatches='3', parallel__kind='pmap')
  for devices, fields in (
    (0, {'parallel__fsdp': '16'}),
    (0, {'parallel__fsdp': '8', 'microbatches': '2'}),
    (16, {}),
    (16, {'parallel__fsdp': '16'}),
    (16, {'parallel__kind': 'pmap'}),
    (4, {'microbatches': '4', 'parallel__kind': 'pmap'}),
  ):
    with pytest.raises(UserError, match='to a multiple of 16'):
      check(devices, **fields)
  check(16, parallel__tensor='2')


def test_a_workdir_with_another_run_is_refused(make_job, tmp_path):
  (tmp_path / 'run').mkdir()
  (tmp_path / 'run/config.json').write_text('{"seed": 1}')
  job = make_job()
  with pytest.raises(UserError, match='holds a run with another config'):
    start.start('local', job, start.PLATFORMS['local'].Options())


def test_names_are_those_that_all_platforms_take(make_job):
  places = ['runs/Größe 1', 'runs/a', 'other/a', 'gs://b/a/', 'x' * 90, '/']
  names = [jobs.name_of(make_job(workdir=place)) for place in places]
  assert len({*names}) == len(names)
  assert all(map(jobs.is_name, names))
  assert jobs.name_of(make_job(name='mine')) == 'mine'
  same = [jobs.name_of(make_job(workdir=p)) for p in ('runs/a', './runs/a/')]
  assert same[0] == same[1] == names[1]


def test_settings_say_why():
  for setting in settings.SETTINGS:
    assert len(setting.reason) > 40
    assert f'`{setting.name}=' in settings.table()
  page = pathlib.Path('docs/launching.md').read_text()
  assert settings.table() in page
  assert settings.of('slurm/gpu', 3)['JAX_LOCAL_DEVICE_IDS'] == '0,1,2'
  assert settings.of('slurm/cpu', 3) == {
    'JAX_PLATFORMS': 'cpu',
    'JAX_NUM_CPU_DEVICES': '3',
  }
  assert settings.of('local/any', 0) == {}
