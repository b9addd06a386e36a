"""The terms of each variant under one budget, and how variants differ."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from lm.comparison.study import Study
from lm.training import run_config
from lm.types import UserError

# Fields that follow from the budget or differ by run; no choice of a variant.
DERIVED = (
  'num_steps',
  'optimizer.warmup_steps',
  'eval.every',
  'checkpoint.every',
  'checkpoint.keep',
  'checkpoint.best',
  'seed',
)
# These as well, if they are tuned on a grid.
TUNED = ('optimizer.learning_rate', 'optimizer.end_learning_rate')


class Terms(NamedTuple):
  """The terms of a variant: its budget in steps, and what it amounts to.

  Attributes:
    steps: The number of parameter updates.
    warmup_steps: The steps in which the learning rate rises.
    tokens: The tokens it reads, padding included.
    flops: The FLOPs it takes; see `lm.analysis.flops`.
    parameters: The number of parameters.
    without_embeddings: The same without the embedding tables of tokens, token
      types and positions.
    flops_per_token: FLOPs per token, forward and backward.
    filled: The share of tokens that are not padding; None, like the next, if
      the vocabulary of the config does not come from a text.
    asked: The share of tokens that have a loss.
    tokens_per_step: The tokens of a batch.
    seconds_per_step: As measured, for a budget in seconds; else None.
    bytes_per_device: The planned memory of a device.
  """

  steps: int
  warmup_steps: int
  tokens: float
  flops: float
  parameters: int
  without_embeddings: int
  flops_per_token: float
  filled: float | None
  asked: float | None
  tokens_per_step: int
  seconds_per_step: float | None
  bytes_per_device: int


def derive(
  name: str,
  study: Study,
  planned: Mapping[str, Any],
  seconds_per_step: float | None = None,
  share: float = 1.0,
) -> Terms:
  """Returns the terms of a variant.

  Args:
    name: The name of the variant, for messages.
    study: The study, which has the budget.
    planned: The output of `plan.plan` for its config.
    seconds_per_step: As measured, for a budget in seconds.
    share: The share of the budget to use.

  Raises:
    UserError: The budget is too small for one step.
  """
  one = {
    'flops': planned['flops_per_step'],
    'tokens': planned['tokens_per_step'],
    'seconds': seconds_per_step,
  }[study.unit]
  steps = math.floor(share * study.budget / one)
  if steps < 2:  # A single step leaves no room for warmup.
    raise UserError(
      f'A budget of {share * study.budget:.3g} {study.unit} is too small for'
      f' variant {name!r}, one step of which takes {one:.3g}, and a run has two'
      ' at least. Raise the budget, or lower its batch_size.'
    )
  tables = sum(
    math.prod(row['shape'])
    for row in planned['layout']
    if re.search('^(token|position|token_type).*/embedding$', row['parameter'])
  )
  return Terms(
    steps=steps,
    warmup_steps=min(steps - 1, max(1, round(study.warmup * steps))),
    tokens=steps * planned['tokens_per_step'],
    flops=steps * planned['flops_per_step'],
    parameters=planned['parameters'],
    without_embeddings=planned['parameters'] - tables,
    flops_per_token=planned['flops_per_token'],
    **(planned['use_of_rows'] or {'filled': None, 'asked': None}),
    tokens_per_step=planned['tokens_per_step'],
    seconds_per_step=seconds_per_step,
    bytes_per_device=planned['bytes_per_device']['total'],
  )


def overrides(
  study: Study, terms: Terms, learning_rate: float | None, seed: int
) -> dict[str, Any]:
  """Returns the fields of a config that follow from the terms of a run.

  Args:
    study: The study, for the number of evaluations and the scores.
    terms: The terms of the run.
    learning_rate: The peak, which decays to a tenth; None keeps both rates of
      the variant's config.
    seed: The seed of the run.
  """
  every = math.ceil(terms.steps / study.evaluations)
  curves = any(each.curve for each in study.scores)
  fields = {
    'num_steps': terms.steps,
    'optimizer.warmup_steps': terms.warmup_steps,
    'eval.every': every,
    'checkpoint.every': every,
    'checkpoint.keep': study.evaluations + 1 if curves else 1,
    'checkpoint.best': '',
    'seed': seed,
  }
  if learning_rate is not None:
    fields['optimizer.learning_rate'] = learning_rate
    fields['optimizer.end_learning_rate'] = learning_rate / 10
  return fields


def differences(
  configs: Mapping[str, Mapping[str, Any]], tuned: bool
) -> dict[str, dict[str, Any]]:
  """Returns the value of each variant at every key in which any two differ.

  Keys that follow from the budget are left out.

  Args:
    configs: The resolved config of each variant, by name.
    tuned: Whether the learning rates are tuned on a grid.
  """
  first = next(iter(configs.values()))
  keys = {
    key
    for config in configs.values()
    for key in run_config.difference(first, config)
    if key not in derived(tuned)
  }
  return {
    key: {name: _at(config, key) for name, config in configs.items()}
    for key in sorted(keys)
  }


def derived(tuned: bool) -> tuple[str, ...]:
  """Returns the keys that are not a choice of a variant."""
  return (*DERIVED, *(TUNED if tuned else ()))


def check_free(name: str, fields: Iterable[str], tuned: bool) -> None:
  """Raises UserError if a variant sets a field that it has no choice of.

  Args:
    name: The name of the variant, for the message.
    fields: The fields that it sets.
    tuned: Whether the learning rates are tuned on a grid.
  """
  if lost := [field for field in fields if field in derived(tuned)]:
    raise UserError(
      f'Variant {name!r} sets {" and ".join(lost)}, but the study decides that'
      ' for all: by its budget, warmup, evaluations, seeds and'
      ' tuning.learning_rates. Omit it.'
    )


def check_distinct(
  configs: Mapping[str, Mapping[str, Any]], tuned: bool
) -> None:
  """Raises UserError if two variants are the same.

  Args:
    configs: The resolved config of each, by name.
    tuned: Whether the learning rates are tuned on a grid.
  """
  names = [*configs]
  for place, name in enumerate(names):
    for other in names[:place]:
      found = run_config.difference(configs[other], configs[name])
      if not found.keys() - {*derived(tuned)}:
        raise UserError(
          f'The variants {other!r} and {name!r} are the same: no field of their'
          ' configs differs but what the budget decides. Leave one out.'
        )


def _at(config: Mapping[str, Any], key: str) -> Any:
  for part in key.split('.'):
    if not isinstance(config, Mapping) or part not in config:
      return run_config.ABSENT
    config = config[part]
  return config


def check_budgets(terms: Mapping[str, Terms], unit: str) -> None:
  """Raises UserError if rounding to whole steps makes budgets unequal.

  They are if the largest exceeds the smallest by more than two per cent.
  """
  spent: Sequence[float] = [
    each.steps * (each.seconds_per_step or 0)
    if unit == 'seconds'
    else getattr(each, unit)
    for each in terms.values()
  ]
  if max(spent) > 1.02 * min(spent):
    raise UserError(
      f'In whole steps the variants have from {min(spent):.3g} to'
      f' {max(spent):.3g} {unit}: not equal terms. Raise the budget, or lower'
      ' batch_size, so that a step is a smaller part of it.'
    )
