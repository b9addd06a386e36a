"""Several seeds are runs of their own, and are summed up together."""

import json
import statistics

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from experiments import train as command
from lm.data import remote
from lm.training import assembly, run_log, seeds
from lm.types import UserError
from tests.training import tiny_task

F1 = [0.25, 0.75, 0.5]
LOSS = [0.5, 1.5, 0.25]


def outcome(config, workdir):
  del workdir
  place = config['seed'] - 7
  row = {'f1': F1[place], 'loss': LOSS[place]}
  return {'chosen_step': 10 + place, 'validation': row, 'test': {'f1': 0.5}}


def asked(**changes):
  return {'seed': 7, 'seeds': 3, 'num_steps': 2} | changes


def test_what_seeds_scored_is_summed_up(tmp_path):
  told = []

  def train_one(config, workdir):
    told.append((config, workdir))
    return outcome(config, workdir)

  result = seeds.train(asked(), str(tmp_path), train_one)
  assert [config['seed'] for config, _ in told] == [7, 8, 9]
  assert {config['seeds'] for config, _ in told} == {1}
  assert told[1][1] == f'{tmp_path}/seed-8'
  assert result['seeds'] == [7, 8, 9] and result['steps'] == [10, 11, 12]
  assert [row['loss'] for row in result['rows']['validation']] == LOSS
  f1, loss = (result['summary']['validation'][name] for name in ('f1', 'loss'))
  assert f1['mean'] == pytest.approx(statistics.mean(F1))
  assert f1['std'] == pytest.approx(statistics.stdev(F1))
  assert f1['median'] == 0.5 and f1['best'] == 0.75
  assert loss['best'] == 0.25
  assert result['summary']['test']['f1']['std'] == 0.0
  assert json.loads((tmp_path / 'seeds.json').read_text()) == result


def test_what_seeds_scored_is_written_where_the_workdir_is(flaky):
  result = seeds.train(asked(), 'flaky://bucket/run/', outcome)
  assert json.loads(remote.read('flaky://bucket/run/seeds.json')) == result


@pytest.mark.parametrize(
  'best, beside', [('', set()), ('f1', {'chosen_step', 'validation'})]
)
def test_one_seed_is_trained_where_it_is_asked_for(best, beside, tmp_path):
  told = []

  def train_one(config, workdir):
    told.append(workdir)
    return {'loss': 1.0} | outcome(config, workdir)

  config = asked(seeds=1, checkpoint={'best': best})
  result = seeds.train(config, str(tmp_path), train_one)
  # The last evaluation is told once.
  assert result.keys() == {'loss', 'test'} | beside
  assert told == [str(tmp_path)]
  assert not (tmp_path / 'seeds.json').exists()


def test_a_workdir_holds_one_seed_or_several(tmp_path):
  (tmp_path / 'config.json').write_text('{}')
  with pytest.raises(UserError, match=r'holds a run of one seed.*config.seeds'):
    seeds.train(asked(), str(tmp_path), outcome)
  with pytest.raises(UserError, match=r'seeds is 0, .* config.seeds to 1'):
    seeds.train(asked(seeds=0), str(tmp_path / 'other'), outcome)


@pytest.fixture
def no_cache():
  """No cache of what is compiled, as users have none."""
  settings = {
    'jax_compilation_cache_dir': None,
    'jax_persistent_cache_min_compile_time_secs': 0.0,
  }
  before = {name: getattr(jax.config, name) for name in settings}
  for name, value in settings.items():
    jax.config.update(name, value)
  yield
  for name, value in before.items():
    jax.config.update(name, value)
  seeds.compilation_cache.reset_cache()


def test_what_one_seed_has_compiled_the_next_finds(no_cache):
  hits = []

  def listen(event, **_):
    hits.append(event) if event.endswith('compilation_cache/cache_hits') else 0

  jax.monitoring.register_event_listener(listen)
  try:
    with seeds.compiled_once():
      for expected in (0, 1):
        hits.clear()
        # A function of its own each time, as a run makes them.
        compiled = jax.jit(lambda x: jax.numpy.sin(x) @ x)
        compiled(np.eye(3, dtype=np.float32)).block_until_ready()
        assert bool(hits) == bool(expected)
    assert jax.config.jax_compilation_cache_dir is None
  finally:
    jax.monitoring.unregister_event_listener(listen)


def of_command(config, workdir, capsys):
  command.main(ConfigDict(config), str(workdir))
  return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.slow
def test_the_same_command_goes_on_where_the_seeds_stand(
  tmp_path, capsys, monkeypatch
):
  test = tiny_task.write(tmp_path, 24)
  config = tiny_task.configure(tmp_path, seed=3, seeds=2, data__test=test)
  workdir = tmp_path / 'run'
  train = command.loop.train

  def interrupted(own, *others):
    if own['seed'] == 4:
      train({**own, 'num_steps': 2}, *others)
      raise KeyboardInterrupt
    return train(own, *others)

  monkeypatch.setattr(command.loop, 'train', interrupted)
  with pytest.raises(KeyboardInterrupt):
    of_command(config, workdir, capsys)
  monkeypatch.undo()
  assert not (workdir / 'seeds.json').exists()
  first = workdir / 'seed-3'
  before = {
    file: (file.read_bytes(), file.stat().st_mtime_ns)
    for file in first.rglob('*')
    if file.is_file() and file.parent.name in ('checkpoints', 'state', '2')
  } | {first / 'metrics.jsonl': (first / 'metrics.jsonl').read_bytes()}
  assert len(before) > 3
  result = of_command(config, workdir, capsys)
  for file, held in before.items():
    now = file.read_bytes()
    held, time = held if isinstance(held, tuple) else (held, None)
    assert now == held
    assert time in (None, file.stat().st_mtime_ns)
  assert result['seeds'] == [3, 4]
  written = json.loads((workdir / 'seeds.json').read_text())
  assert {'workdir': str(workdir), **written} == result
  assert {*result['rows']} == {'validation', 'test'}
  # Each is the run that it would be alone.
  alone = of_command(config | {'seed': 4, 'seeds': 1}, tmp_path / 'one', capsys)
  assert alone['test'] == result['rows']['test'][1]
  assert alone['validation'] == result['rows']['validation'][1]
  assert alone['chosen_step'] == result['steps'][1]
  lines = [
    [line['loss'] for line in run_log.read(place / 'metrics.jsonl')]
    for place in (tmp_path / 'one', workdir / 'seed-4')
  ]
  assert len(lines[0]) == 6 and lines[0] == lines[1]


def test_few_examples_are_others_for_each_seed(tmp_path):
  def texts(seed):
    config = tiny_task.configure(tmp_path, seed=seed, data__few_shot=4)
    parts = assembly.assemble(config)
    rows = parts.dataset.read('train')
    assert sorted(row['label'] for row in rows) == ['no'] * 4 + ['yes'] * 4
    return [row['id'] for row in rows]

  assert texts(0) == texts(0) != texts(1)
