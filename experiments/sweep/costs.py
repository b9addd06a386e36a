"""What the runs of a sweep cost, before any of them begins."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.sweep.described import Run
from lm.parallel import imagined
from lm.training import plan

# What changes neither the computation of a step nor the number of steps.
FREE = ('optimizer', 'eval', 'log', 'checkpoint', 'hosts', 'seed')


def of(runs: Sequence[Run]) -> list[dict[str, float]]:
  """Returns the `tokens` and `flops` of each run; computes no step of them."""
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


def total(
  told: Sequence[Mapping[str, float]], trials: int = 0
) -> dict[str, float]:
  """Returns the cost of all runs together.

  Args:
    told: The cost of each run.
    trials: The number of runs of a search, each taken to cost as much as the
      most expensive one.
  """
  if trials:
    return {k: trials * max(e[k] for e in told) for k in ('tokens', 'flops')}
  return {k: sum(e[k] for e in told) for k in ('tokens', 'flops')}


def table(
  runs: Sequence[Run], told: Sequence[Mapping[str, float]], trials: int = 0
) -> str:
  """Returns the runs and their costs as readable text; see `total`."""
  last = f'at most, {trials} runs' if trials else f'{len(runs)} runs'
  rows = [('run', 'steps', 'tokens', 'FLOPs')]
  names = [(run.name, f'{run.config["num_steps"]:,}') for run in runs]
  for name, each in zip(
    [*names, (last, '')], [*told, total(told, trials)], strict=True
  ):
    rows.append((*name, f'{each["tokens"]:.3g}', f'{each["flops"]:.3g}'))
  widths = [max(map(len, column)) for column in zip(*rows)]
  return '\n'.join(
    f'{name:{widths[0]}}'
    + ''.join(f'  {cell:>{width}}' for cell, width in zip(rest, widths[1:]))
    for name, *rest in rows
  )
