"""Runs a config with several seeds, and aggregates their scores."""

import contextlib
import json
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
from absl import logging
from jax.experimental.compilation_cache import compilation_cache

from lm.data import atomic, remote
from lm.parallel import hosts
from lm.tasks import seeds_table
from lm.types import UserError

Train = Callable[[dict[str, Any], str], dict[str, Any]]

SPLITS = ('validation', 'test')


def train(
  config: Mapping[str, Any], workdir: str, train_one: Train
) -> dict[str, Any]:
  """Trains with `seed`, `seed` + 1, ... in WORKDIR/seed-N; writes `seeds.json`.

  Each has a workdir of its own and resumes where it stopped, so that the same
  command repeats nothing. A single seed is trained in WORKDIR itself.

  Args:
    config: With every field of `SECTIONS`.
    workdir: A directory or the URL of one.
    train_one: Trains a config in a workdir; returns `testing.outcome`, and more.

  Returns:
    `seeds`, their `steps`, the `rows` of `validation` and of `test`, and a
    `summary` of each: mean, std, median, best and n of every metric. For a
    single seed, what `train_one` returns.
  """
  check(config, workdir)
  if config['seeds'] == 1:
    told = train_one(dict(config), workdir)
    if not config['checkpoint']['best']:  # It is the last, reported anyway.
      del told['chosen_step'], told['validation']
    return told
  first = config['seed']
  seeds = range(first, first + config['seeds'])
  outcomes = []
  with compiled_once():
    for number, seed in enumerate(seeds, 1):
      logging.info('Seed %d, run %d of %d.', seed, number, len(seeds))
      own = {**config, 'seed': seed, 'seeds': 1}
      outcomes.append(train_one(own, f'{workdir.rstrip("/")}/seed-{seed}'))
  result: dict[str, Any] = {
    'seeds': [*seeds],
    'steps': [each['chosen_step'] for each in outcomes],
    'rows': {},
    'summary': {},
  }
  for split in SPLITS:
    rows = [each.get(split, {}) for each in outcomes]
    if any(rows):
      result['rows'][split] = rows
      result['summary'][split] = seeds_table.aggregate(rows)
      table = seeds_table.table(rows, seeds)
      logging.info('%s of %s:\n%s', split.capitalize(), workdir, table)
  if hosts.is_first():
    _write(json.dumps(result, indent=2) + '\n', workdir)
  return result


def check(config: Mapping[str, Any], workdir: str) -> None:
  """Raises UserError if `seeds` is invalid, or `workdir` holds a single run."""
  if config['seeds'] < 1:
    raise UserError(
      f'seeds is {config["seeds"]}, but it is how many runs there are. Set'
      ' config.seeds to 1 or more.'
    )
  if config['seeds'] == 1 or remote.is_url(workdir):
    return
  if (pathlib.Path(workdir) / 'config.json').exists():
    raise UserError(
      f'{workdir} holds a run of one seed, but config.seeds is'
      f' {config["seeds"]}. Give another --workdir.'
    )


@contextlib.contextmanager
def compiled_once() -> Iterator[None]:
  """Context in which runs reuse what others before them have compiled.

  Each run makes its own functions, so JAX recognizes them only by what they
  compute: in a compilation cache, which is temporary if none is configured.
  """
  if jax.config.jax_compilation_cache_dir:
    yield
    return
  with tempfile.TemporaryDirectory() as directory:
    _cache_in(directory)
    try:
      yield
    finally:
      _cache_in(None)


def _cache_in(directory: str | None) -> None:
  jax.config.update('jax_compilation_cache_dir', directory)
  compilation_cache.reset_cache()  # JAX looks for one only once.


def _write(text: str, workdir: str) -> None:
  if remote.is_url(workdir):
    remote.write(text.encode(), remote.join(workdir, 'seeds.json'))
    return
  with atomic.new_file(pathlib.Path(workdir) / 'seeds.json') as path:
    path.write_text(text)
