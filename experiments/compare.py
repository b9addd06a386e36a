"""Compares variants on equal terms: one budget, tuned rates, several seeds.

  python -m experiments.compare --config=configs/compare/families.py \\
      --workdir=runs/families --data=DIR
  python -m experiments.compare --config=configs/compare/families.py --dry_run

What has been done in --workdir is never done again: the same command goes on
where it was.
"""

import dataclasses
import pathlib
from typing import Any

from absl import logging

from experiments import cells, command, config_file
from lm.comparison import (
  gathering,
  report,
  results,
  study as studies,
  terms as equal,
)
from lm.comparison.study import Study, Variant
from lm.comparison.terms import Terms
from lm.training import plan
from lm.training.sections import SECTIONS
from lm.types import UserError

TIMED_STEPS = 30
TUNING_SEED = 1000  # That of no run which is compared.
Rates = dict[str, float | None]


def main(
  config: str,
  workdir: str = 'runs/compare',
  data: str = '',
  seeds: int = 0,
  budget: float = 0.0,
  dry_run: bool = False,
) -> None:
  """Trains and scores every variant, and writes report.html.

  Args:
    config: A study, such as configs/compare/families.py.
    workdir: Where the runs and the report go.
    data: The folder of what is scored; without it the validation set alone is.
    seeds: How many of each variant, if not as many as the study has.
    budget: In the study's unit, if not the study's own.
    dry_run: Says what each variant is given and what all takes, and ends.
  """
  study = read(config, seeds, budget, data)
  configs = {each.name: resolve(each) for each in study.variants}
  equal.check_distinct(configs)
  root = pathlib.Path(workdir).absolute()
  planned = {name: plan.plan(each) for name, each in configs.items()}
  seconds = dict.fromkeys(configs, None)
  if study.unit == 'seconds':
    if dry_run:
      raise UserError(
        'A budget in seconds is turned into steps by training some, and a dry'
        ' run trains none. Leave --dry_run away.'
      )
    seconds = {each.name: timed(each, planned, root) for each in study.variants}

  def terms_of(name: str, share: float = 1.0) -> Terms:
    length = configs[name]['data']['length']
    return equal.derive(
      name, study, planned[name], length, seconds[name], share
    )

  terms = {name: terms_of(name) for name in configs}
  trials = {name: terms_of(name, study.tuning.share) for name in configs}
  equal.check_budgets(terms, study.unit)
  report.say_terms(study, terms, trials)
  if dry_run:
    command.report({name: each._asdict() for name, each in terms.items()})
    return
  results.check_same(
    root, {'study': dataclasses.asdict(study), 'configs': configs}
  )
  rates = {
    each.name: tune(study, each, trials, root) for each in study.variants
  }
  for seed in range(study.seeds):
    for variant in study.variants:
      if rates[variant.name] is not None or not study.tuning.learning_rates:
        fields = equal.overrides(
          study, terms[variant.name], rates[variant.name], seed
        )
        name = configs[variant.name]['model']['name']
        run_cell(study, variant, fields, name, pathlib.Path(data), root)
  found = gathering.gather(study, configs, terms, trials, rates, root)
  report.write(found, root)
  command.report(
    {
      'report': str(root / 'report.html'),
      'table': found['table'],
      'failures': len(found['failures']),
    }
  )


def read(config: str, seeds: int, budget: float, data: str) -> Study:
  """Returns a study, with what the command line says of it."""
  study = studies.parse(config, config_file.read(config))
  changes: dict[str, Any] = {}
  if seeds:
    changes['seeds'] = seeds
  if budget:
    changes['budget'] = budget
  if not data and (study.scores or study.tasks):
    logging.warning(
      'There is no --data, so the validation set alone is scored.'
    )
    changes |= {'scores': (), 'tasks': ()}
  study = dataclasses.replace(study, **changes)
  return studies.with_data(study, data)


def resolve(variant: Variant) -> dict[str, Any]:
  """Returns the whole config of a variant, as far as no budget decides it."""
  fields = {**variant.overrides, 'num_steps': 1, 'optimizer.warmup_steps': 0}
  config = config_file.load(variant.config, fields, SECTIONS).to_dict()
  if config['short_steps']:
    raise UserError(
      f'Variant {variant.name!r} has shorter examples in its first'
      f' {config["short_steps"]} steps, so its steps take not all the same.'
      ' Set short_steps to 0.'
    )
  return config


def timed(variant: Variant, planned: Any, root: pathlib.Path) -> float:
  """Returns the seconds of a step, measured once and kept."""
  place = root / 'timing' / variant.name
  fields = {'num_steps': TIMED_STEPS, 'log.every': 5, 'eval.every': 0}
  fields |= {'optimizer.warmup_steps': 1, 'checkpoint.every': 0}
  cells.train(variant, fields, place)
  speed = results.speed(place)
  if speed is None:
    raise UserError(
      f'A step of variant {variant.name!r} could not be timed: see'
      f' {place}/log.txt.'
    )
  return planned[variant.name]['tokens_per_step'] / speed


def tune(
  study: Study, variant: Variant, trials: dict[str, Terms], root: pathlib.Path
) -> float | None:
  """Returns the learning rate of a variant; None: its config's, or none works."""
  rates = study.tuning.learning_rates
  if len(rates) < 2:
    return rates[0] if rates else None
  losses = {}
  for rate in rates:
    fields = equal.overrides(
      study, trials[variant.name], rate, seed=TUNING_SEED
    )
    place = results.trial_of(root, variant.name, rate)
    losses[rate] = results.loss_of(cells.train(variant, fields, place))
  return results.chosen_rate(losses)


def run_cell(
  study: Study,
  variant: Variant,
  fields: dict[str, Any],
  model: str,
  data: pathlib.Path,
  root: pathlib.Path,
) -> None:
  """Trains one run and asks it everything; what fails is told in the report."""
  cell = results.cell_of(root, variant.name, fields['seed'])
  if cells.train(variant, fields, cell) is None:
    return
  for asked in study.scores:
    cells.score(asked, data, cell)
  for task in study.tasks:
    cells.fine_tune(task, model, cell, fields['seed'])


if __name__ == '__main__':
  command.run(main)
