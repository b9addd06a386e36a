"""What the runs of a sweep take, before any of them begins."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.sweep.described import Run
from lm.parallel import imagined
from lm.training import plan

# What changes neither what a step computes nor how many there are.
FREE = ('optimizer', 'eval', 'log', 'checkpoint', 'hosts', 'seed')


def of(runs: Sequence[Run]) -> list[dict[str, float]]:
  """Returns the `tokens` and `flops` of each run, from abstract arrays alone."""
  found: dict[str, dict[str, float]] = {}
  told = []
  for run in runs:
    own = {key: run.config[key] for key in run.config if key not in FREE}
    name = json.dumps(own, sort_keys=True, default=str)
    if name not in found:
      found[name] = _of_one(run.config)
    told.append(found[name])
  return told


def _of_one(config: Mapping[str, Any]) -> dict[str, float]:
  imagined.provide(config['parallel'])
  costs = plan.costs(config, *plan.abstract(config))
  return {'tokens': costs['tokens'], 'flops': costs['flops']}


def table(runs: Sequence[Run], told: Sequence[Mapping[str, float]]) -> str:
  """Returns the runs and what they take, for a reader."""
  rows = [('run', 'steps', 'tokens', 'FLOPs')]
  rows += [
    (
      run.name,
      f'{run.config["num_steps"]:,}',
      f'{each["tokens"]:.3g}',
      f'{each["flops"]:.3g}',
    )
    for run, each in zip(runs, told)
  ]
  tokens, flops = (sum(e[k] for e in told) for k in ('tokens', 'flops'))
  rows.append((f'{len(runs)} runs', '', f'{tokens:.3g}', f'{flops:.3g}'))
  widths = [max(map(len, column)) for column in zip(*rows)]
  return '\n'.join(
    f'{name:{widths[0]}}'
    + ''.join(f'  {cell:>{width}}' for cell, width in zip(rest, widths[1:]))
    for name, *rest in rows
  )
