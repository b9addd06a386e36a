"""Compares variants on equal terms: one budget, tuned rates, several seeds.

  python -m experiments.compare --config=configs/compare/families.py \\
      --workdir=runs/families --data=DIR
  python -m experiments.compare --config=configs/compare/families.py --dry_run

Work done in --workdir is never repeated: the same command resumes where it was.
--only=gpt/0 trains and scores a single run, as a job of its own; the command
without it then finds all runs finished, and writes the report.
"""

import dataclasses
import glob
import json
import pathlib
import signal
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from absl import logging

from experiments import cells, command, config_file, score
from lm.comparison import (
  gathering,
  report,
  results,
  study as studies,
  terms as equal,
)
from lm.comparison.study import Study, Variant
from lm.comparison.terms import Terms
from lm.data import atomic
from lm.training import metrics_reader, workdir as workdirs
from lm.training.sections import SECTIONS
from lm.types import UserError

# Required values of fields that change the length or the start of a run.
USUAL = {
  'short_steps': 0,
  'seeds': 1,
  'init_from': '',
  'start_from': '',
  'eval.patience': 0,
  'optimizer.decay_steps': 0,
}
# The fields of a score or task that only affect how its result is read.
READ_FROM = ('metric', 'curve')
TIMED_STEPS = 30
TUNING_SEED = 1000  # Not the seed of any run that is compared.
Configs = dict[str, dict[str, Any]]


class Plan(NamedTuple):
  """A study and what follows from it, by variant.

  Attributes:
    study: The study.
    configs: The resolved config of each, except what the budget determines.
    terms: The terms of its runs.
    trial_terms: The terms of its trials of learning rates.
  """

  study: Study
  configs: Configs
  terms: dict[str, Terms]
  trial_terms: dict[str, Terms]


def main(
  config: str,
  workdir: str = 'runs/compare',
  data: str = '',
  seeds: int = 0,
  budget: float = 0.0,
  only: tuple[str, ...] = (),
  dry_run: bool = False,
) -> int | None:
  """Trains and scores every variant, and writes report.html.

  Returns 1 if something has failed, which the report lists.

  Args:
    config: A study, such as configs/compare/families.py.
    workdir: Where the runs and the report go.
    data: The folder of the data to score; without it, runs are scored only on
      the validation set.
    seeds: The number of seeds of each variant; by default the study's.
    budget: The budget in the study's unit; by default the study's.
    only: Runs, as VARIANT/SEED or VARIANT for all seeds; no report is written.
    dry_run: Print the terms of each variant and the total cost, and stop.
  """
  study = read(config, seeds, budget, data)
  chosen = choose(study, only)
  root, there = pathlib.Path(workdir).absolute(), pathlib.Path(data)
  check_files(study, data)
  plan = make_plan(study, root, dry_run)
  report.say_terms(study, plan.terms, plan.trial_terms)
  if dry_run:
    logging.info('A run alone is --only=%s.', ' or '.join(cells_of(study)))
    command.report({name: each._asdict() for name, each in plan.terms.items()})
    return None
  results.check_same(
    root, in_common(study, plan.configs), growing=results.ASKED
  )
  if only:
    with cells.compiled_once():
      run(plan, chosen, there, root)
    return tell(chosen, root)
  with workdirs.held(root), cells.compiled_once():
    rates = run(plan, chosen, there, root)
    found = gathering.gather(*plan, rates, root)
    report.write(found, root)
  command.report(
    {
      'report': str(root / 'report.html'),
      'table': found['table'],
      'failures': len(found['failures']),
    }
  )
  return 1 if found['failures'] else None


def tell(
  chosen: Sequence[tuple[Variant, int]], root: pathlib.Path
) -> int | None:
  """Prints the results of chosen runs; returns the status of the command."""
  places = {
    f'{variant.name}/{seed}': results.cell_of(root, variant.name, seed)
    for variant, seed in chosen
  }
  ended = {name: results.ended(place) for name, place in places.items()}
  failed = [
    each['where']
    for name, place in places.items()
    for each in results.failures(place, root)
  ]
  command.report({'runs': ended, 'failures': failed})
  return 1 if failed or None in ended.values() else None


def make_plan(study: Study, root: pathlib.Path, dry_run: bool) -> Plan:
  """Returns the plan of a study, after all checks that are possible so far.

  Raises:
    UserError: The variants cannot be compared.
  """
  tuned = bool(study.tuning.learning_rates)
  for each in study.variants:
    equal.check_free(each.name, each.overrides, tuned)
  configs = {each.name: resolve(each) for each in study.variants}
  equal.check_distinct(configs, tuned)
  check_asked(study)
  planned = {each.name: planned_of(each) for each in study.variants}
  seconds = dict.fromkeys(configs, None)
  if study.unit == 'seconds':
    if dry_run:
      raise UserError(
        'A budget in seconds is turned into steps by training some, and a dry'
        ' run trains none. Omit --dry_run.'
      )
    common = in_common(study, configs)
    results.check_same(root, common, growing=results.ASKED)
    with workdirs.held(root / 'timing', wait=True):
      for each in study.variants:
        seconds[each.name] = timed(each, planned[each.name], root)

  def terms_of(share: float = 1.0) -> dict[str, Terms]:
    return {
      name: equal.derive(name, study, planned[name], seconds[name], share)
      for name in configs
    }

  terms, trials = terms_of(), terms_of(float(study.tuning.share))
  equal.check_budgets(terms, study.unit)
  return Plan(study, configs, terms, trials)


def cells_of(study: Study) -> dict[str, tuple[Variant, int]]:
  """Returns the runs of a study by name, seed by seed."""
  return {
    f'{each.name}/{seed}': (each, seed)
    for seed in range(study.seeds)
    for each in study.variants
  }


def choose(study: Study, only: Sequence[str]) -> list[tuple[Variant, int]]:
  """Returns the runs that `only` names; all if it names none.

  Raises:
    UserError: There is no such run.
  """
  every = cells_of(study)
  for name in only:
    if name not in {*every, *(each.name for each in study.variants)}:
      raise UserError(
        f'--only is {name!r}, but there is no such run. There are'
        f' {", ".join(every)}, and the names before the bars for all seeds.'
      )
  return [
    (variant, seed)
    for name, (variant, seed) in every.items()
    if not only or {name, variant.name} & {*only}
  ]


def run(
  plan: Plan,
  chosen: Sequence[tuple[Variant, int]],
  data: pathlib.Path,
  root: pathlib.Path,
) -> dict[str, float | None]:
  """Trains and scores the remaining runs; returns the learning rates."""
  study = plan.study
  rates = {
    each.name: tune(study, each, plan.trial_terms[each.name], root)
    for each in study.variants
    if any(variant is each for variant, _ in chosen)
  }
  for number, (variant, seed) in enumerate(chosen, 1):
    rate = rates[variant.name]
    logging.info('Run %d of %d.', number, len(chosen))
    if rate is not None or not study.tuning.learning_rates:
      fields = equal.overrides(study, plan.terms[variant.name], rate, seed)
      run_cell(study, variant, fields, data, root)
  return rates


def read(config: str, seeds: int, budget: float, data: str) -> Study:
  """Returns a study, with the changes of the command line."""
  study = studies.parse(config, config_file.read(config))
  if seeds < 0 or budget < 0:
    raise UserError(
      f'--seeds is {seeds} and --budget {budget}. Give numbers above 0, or omit'
      ' them for those of the study.'
    )
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
  """Returns the config of a variant, except what the budget determines."""
  fields = {**variant.overrides, 'num_steps': 1, 'optimizer.warmup_steps': 0}
  config = config_file.load(variant.config, fields, SECTIONS).to_dict()
  for key, usual in USUAL.items():
    section, _, field = key.rpartition('.')
    value = (config[section] if section else config)[field]
    if value != usual:
      raise UserError(
        f'Variant {variant.name!r} has {key} {value!r}, with which its runs'
        f' would not be those that the budget pays for. Set it to {usual!r}.'
      )
  return config


def check_asked(study: Study) -> None:
  """Raises UserError if a score's task or a task's config is invalid."""
  for asked in study.scores:
    if asked.task not in score.TASKS:
      raise UserError(
        f'The score {asked.name!r} has the task {asked.task!r}. Set it to one of'
        f' {", ".join(score.TASKS)}.'
      )
  for task in study.tasks:
    config_file.load(task.config, dict(task.overrides), SECTIONS)


def check_files(study: Study, data: str) -> None:
  """Raises UserError if data of the study is missing from the folder."""
  asked = [f'{data}/{each.data}' for each in study.scores]
  asked += [
    value
    for task in study.tasks
    for value in task.overrides.values()
    if isinstance(value, str) and value.startswith(f'{data}/')
  ]
  missing = [p for p in asked if '{' not in p and not glob.glob(p)]
  if missing:
    raise UserError(
      f'--data has no {", ".join(missing)}, which the study asks for. Put it'
      ' there, or omit --data, and the validation set alone is scored.'
    )


def in_common(study: Study, configs: Configs) -> dict[str, Any]:
  """Returns what must be the same for all runs of a study."""
  kept = ('unit', 'budget', 'warmup', 'evaluations', 'tuning')
  told = dataclasses.asdict(study)
  asked = {
    key: {
      each['name']: {k: v for k, v in each.items() if k not in READ_FROM}
      for each in told[key]
    }
    for key in results.ASKED
  }
  return {**{key: told[key] for key in kept}, **asked, 'configs': configs}


def planned_of(variant: Variant) -> dict[str, Any]:
  """Returns the plan of a run, made in a process that leaves devices free."""
  fields = {**variant.overrides, 'num_steps': 1, 'optimizer.warmup_steps': 0}
  argv = [f'--config={variant.config}', '--workdir=none', '--dry_run']
  return cells.output('train', argv + cells.flags(fields))


def timed(
  variant: Variant, planned: dict[str, Any], root: pathlib.Path
) -> float:
  """Returns the seconds of a step, measured once and saved."""
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
  return planned['tokens_per_step'] / speed


def tune(
  study: Study, variant: Variant, trial: Terms, root: pathlib.Path
) -> float | None:
  """Returns the learning rate of a variant, chosen once and saved.

  It is None without a grid, where the config's is used; with one, if no rate
  works, or if a trial failed, which the next call repeats.
  """
  rates = study.tuning.learning_rates
  if len(rates) < 2:
    return rates[0] if rates else None
  path = root / 'tuning' / variant.name / 'rate.json'
  with workdirs.held(path.parent, wait=True):  # Another job may be tuning.
    if path.exists():
      return json.loads(path.read_text())
    losses = {}
    for rate in rates:
      fields = equal.overrides(study, trial, rate, seed=TUNING_SEED)
      # Only the final loss matters.
      fields |= {'eval.every': 0, 'checkpoint.keep': 1}
      losses[rate] = tried(
        variant, fields, results.trial_of(root, variant.name, rate)
      )
    if None in losses.values():  # No choice from an incomplete grid.
      return None
    best = results.chosen_rate(losses)
    if best is not None:
      with atomic.new_file(path) as part:
        part.write_text(json.dumps(best))
    logging.info('Losses of %s by learning rate: %s.', variant.name, losses)
    return best


def tried(
  variant: Variant, fields: dict[str, Any], place: pathlib.Path
) -> float | None:
  """Returns the final loss of a trial; inf if diverged, None if failed."""
  told = cells.train(variant, fields, place)
  if told is None and not metrics_reader.diverged(place):
    return None
  return results.loss_of(told)


def run_cell(
  study: Study,
  variant: Variant,
  fields: dict[str, Any],
  data: pathlib.Path,
  root: pathlib.Path,
) -> None:
  """Trains, scores and fine-tunes one run; the report lists what fails."""
  cell = results.cell_of(root, variant.name, fields['seed'])
  told = cells.train(variant, fields, cell)
  if told is None:
    return
  logging.info('It ended with a loss of %.4f.', results.loss_of(told))
  for asked in study.scores:
    cells.score(asked, data, cell)
  for task in study.tasks:
    cells.fine_tune(task, cell, fields['seed'])


if __name__ == '__main__':
  # Exits normally, so that the command it runs is terminated too.
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
  command.run(main)
