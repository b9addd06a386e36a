"""Optuna chooses; what is worse than the median ends early, and is marked."""

import csv
import json
import sys

import pytest

from experiments import cells
from experiments.config_file import Asked
from experiments.sweep import __main__ as sweep, optuna_search, over
from lm.types import UserError

FIELDS = {
  'num_steps': '4',
  'optimizer.warmup_steps': '1',
  'optimizer.end_learning_rate': '0',
  'eval.every': '1',
}
DEBUG = Asked('configs/gpt.py:debug', FIELDS)
RATE = 'over.log_uniform("optimizer.learning_rate", 1e-5, 1e-1)'

pytestmark = pytest.mark.filterwarnings(
  'ignore::optuna.exceptions.ExperimentalWarning'
)


def rows(root):
  with (root / 'sweep.csv').open(newline='') as file:
    return [*csv.DictReader(file)]


def starts(root):
  return [len(p.read_text()) for p in (root / 'runs').glob('*/started')]


def test_it_finds_what_is_best_and_goes_on_with_more_trials(
  trained, write, tmp_path, capsys
):
  root = tmp_path / 'runs'
  few = write(f'over.search(4, {RATE}, prune=False)')
  sweep.main(DEBUG, few, str(root))
  first = [row['run'] for row in rows(root)]
  more = write(f'over.search(16, {RATE}, prune=False)')
  sweep.main(DEBUG, more, str(root))
  found = rows(root)
  assert len(found) == 16 and [row['run'] for row in found][:4] == first
  assert {row['status'] for row in found} == {'ended'}
  assert starts(root) == [1] * 16  # Each was trained once.
  best = json.loads(capsys.readouterr().out.splitlines()[-1])['best']
  # The best of 16 that know of each other; the stub's optimum is at 1e-3.
  assert best['loss'] < 0.25 + 0.5
  assert 10**-3.5 < best['config.optimizer.learning_rate'] < 10**-2.5


def test_what_was_found_is_gathered_and_no_more_is_trained(
  trained, write, tmp_path, capsys
):
  root = tmp_path / 'runs'
  sweep.main(DEBUG, write(f'over.search(3, {RATE}, prune=False)'), str(root))
  more = write(f'over.search(9, {RATE}, prune=False)')
  sweep.main(DEBUG, more, str(root), gather=True)
  told = json.loads(capsys.readouterr().out.splitlines()[-1])
  assert told['runs'] == {'ended': 3} and starts(root) == [1] * 3


def test_one_that_is_cut_off_is_gone_on_with(
  trained, write, tmp_path, monkeypatch
):
  """With the same points as if nothing had been."""
  path = write(f'over.search(5, {RATE}, prune=False)')
  sweep.main(DEBUG, path, str(tmp_path / 'whole'))
  run, calls = cells._run, []

  def cut_off(*arguments):
    calls.append(1)
    if len(calls) == 3:
      raise KeyboardInterrupt
    return run(*arguments)

  monkeypatch.setattr(cells, '_run', cut_off)
  with pytest.raises(KeyboardInterrupt):
    sweep.main(DEBUG, path, str(tmp_path / 'runs'))
  sweep.main(DEBUG, path, str(tmp_path / 'runs'))
  assert rows(tmp_path / 'runs') == rows(tmp_path / 'whole')


def test_a_trial_of_a_process_that_was_killed_is_asked_for_again(
  trained, tmp_path
):
  search = over.search(3, over.uniform('a', 0.0, 1.0))
  study = optuna_search.open_study(search, tmp_path, 'loss')
  point = optuna_search._point(study.ask(), search)
  again = optuna_search.open_study(search, tmp_path, 'loss')
  assert optuna_search._finished(again) == []
  assert optuna_search._point(again.ask(), search) == point


def test_what_is_hopeless_is_stopped_and_marked(
  trained, write, tmp_path, monkeypatch, capsys
):
  root = tmp_path / 'runs'
  # The first two are good; then come the worst and the best that there are.
  open_study = optuna_search.open_study

  def open_with_queue(*arguments):
    study = open_study(*arguments)
    for rate in (1.001e-3, 1.2e-3, 1e-5, 1e-3):
      if len(study.get_trials()) < 4:
        study.enqueue_trial({'optimizer.learning_rate': rate})
    return study

  monkeypatch.setattr(optuna_search, 'open_study', open_with_queue)
  slowly = Asked(DEBUG.path, {**FIELDS, 'log.slow_step': '0.3'})
  path = write(f'over.search(4, {RATE}, unpruned=2)')
  assert sweep.main(slowly, path, str(root)) is None
  found = {row['run']: row for row in rows(root)}
  bad = found.pop('learning_rate=1e-05')
  assert bad['status'] == 'pruned' and int(bad['step']) < 4
  assert {row['status'] for row in found.values()} == {'ended'}
  place = root / 'runs/learning_rate=1e-05'
  why = json.loads((place / 'pruned.json').read_text())
  assert why['step'] == 1 and why['loss'] == pytest.approx(3)
  assert not (place / 'failed.json').exists()
  told = json.loads(capsys.readouterr().out.splitlines()[-1])
  assert told['runs'] == {'ended': 3, 'pruned': 1}
  # It stays so.
  sweep.main(slowly, path, str(root))
  assert len(starts(root)) == 4 and {*starts(root)} == {1}


def test_a_metric_that_no_run_has_is_said_after_the_first(
  trained, write, tmp_path
):
  root, path = tmp_path / 'runs', write(f'over.search(3, {RATE}, prune=False)')
  with pytest.raises(UserError, match=r'.acuracy., which.*have accuracy, loss'):
    sweep.main(DEBUG, path, str(root), metric='acuracy')
  assert starts(root) == [1]
  sweep.main(DEBUG, path, str(root), metric='accuracy')
  assert starts(root) == [1] * 3  # The first was not in vain.
  with pytest.raises(UserError, match=r'were chosen by .accuracy.'):
    sweep.main(DEBUG, path, str(root))


@pytest.mark.parametrize(
  ('returned', 'message'),
  [
    (
      'over.values("seed", 1, 0)',
      r"dimensions.seed: \('0', '1'\) -> \('1', '0'",
    ),
    ('over.values("seed", 0, 1, 2)', 'dimensions.seed'),
    ('over.uniform("seed", 0, 1)', 'dimensions.seed: .* -> .absent'),
    ('over.values("seed", 0, 1), seed=1', 'search.seed: 0 -> 1'),
    ('over.values("seed", 0, 1), unpruned=9', 'search.unpruned: 3 -> 9'),
  ],
)
def test_another_search_in_the_same_place_is_refused(
  trained, write, tmp_path, returned, message
):
  root = tmp_path / 'runs'
  first = 'over.search(1, over.values("seed", 0, 1), prune=False)'
  sweep.main(DEBUG, write(first), str(root))
  other = f'over.search(2, {returned}, prune=False)'
  with pytest.raises(UserError, match=rf'holds another sweep:\n.*{message}'):
    sweep.main(DEBUG, write(other), str(root))
  assert starts(root) == [1]


def test_one_that_fails_counts_and_others_follow(trained, write, tmp_path):
  root = tmp_path / 'runs'
  path = write('over.search(3, over.values("optimizer.learning_rate", 1.0))')
  assert sweep.main(DEBUG, path, str(root)) == 1
  [row] = rows(root)
  assert row['status'] == 'failed' and starts(root) == [3]


def test_the_ends_of_what_is_chosen_from_are_checked():
  search = over.search(
    9,
    over.uniform('n', 1, 3),
    over.values('kind', 'a', 'b'),
    over.uniform('x', 0.0, 1.0),
  )
  assert optuna_search.corners(search) == [
    {'n': 1, 'kind': 'a', 'x': 0.0},
    {'n': 3, 'kind': 'a', 'x': 0.0},
    {'n': 1, 'kind': 'b', 'x': 0.0},
    {'n': 1, 'kind': 'a', 'x': 1.0},
  ]


@pytest.mark.parametrize(
  ('returned', 'fields', 'more', 'message'),
  [
    (
      'over.search(2, over.uniform("model.num_layer", 1, 2))',
      {},
      {},
      'Did you mean config.model.num_layers',
    ),
    (
      f'over.search(2, {RATE})',
      {'eval.every': '0'},
      {},
      'config.eval.every is 0',
    ),
    (f'over.search(2, {RATE})', {}, {'to': 'slurm'}, '--to is .slurm., but'),
  ],
)
def test_what_cannot_be_searched_is_refused(
  trained, write, tmp_path, returned, fields, more, message
):
  asked = Asked(DEBUG.path, {**FIELDS, **fields})
  with pytest.raises(UserError, match=message):
    sweep.main(asked, write(returned), str(tmp_path / 'runs'), **more)
  assert not (tmp_path / 'runs').exists()


def test_who_has_no_optuna_is_told(trained, write, tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'optuna', None)
  with pytest.raises(UserError, match=r"pip install -e '\.\[optuna\]'"):
    sweep.main(DEBUG, write(f'over.search(2, {RATE})'), str(tmp_path / 'runs'))
