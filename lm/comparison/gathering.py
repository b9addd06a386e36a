"""Gathers the results of a study, as stored in its report.json."""

import collections
import dataclasses
import functools
import itertools
import json
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lm.analysis import curves, intervals, power_law
from lm.analysis.intervals import Interval
from lm.comparison import results, terms as equal
from lm.comparison.study import Study
from lm.comparison.terms import Terms
from lm.training import metrics_reader

Configs = Mapping[str, Mapping[str, Any]]

# The fields that a loss depends on besides the model; if these differ, losses
# are not comparable. Bits per byte are, however the text is tokenized.
OF_A_LOSS = ('objective.', 'data.')
# What results depend on besides the config.
OF_A_PLACE = ('git_sha', 'python', 'versions', 'devices', 'platform')
OF_TOKENS = ('data.tokenizer', 'data.vocab_size', 'data.end_of_text')


def gather(
  study: Study,
  configs: Configs,
  terms: Mapping[str, Terms],
  trials: Mapping[str, Terms],
  rates: Mapping[str, float | None],
  root: pathlib.Path,
) -> dict[str, Any]:
  """Returns the content of a report.

  Args:
    study: The study.
    configs: The resolved config of each variant.
    terms: The terms of the runs of each variant.
    trials: The terms of its trials of learning rates.
    rates: The learning rate of each variant.
    root: Where the runs are.
  """
  cells = {name: _cells(study, name, root) for name in configs}
  scored = {
    name: {seed: results.scores(cell, study) for seed, cell in own.items()}
    for name, own in cells.items()
  }
  tuned = bool(study.tuning.learning_rates)
  differing = equal.differences(configs, tuned)
  comparable = comparable_metrics(study, differing)
  return {
    'question': study.question,
    'study': dataclasses.asdict(study),
    'terms': {name: each._asdict() for name, each in terms.items()},
    'trial_terms': {name: each._asdict() for name, each in trials.items()},
    'rates': dict(rates),
    'trials': {name: losses(study, name, root) for name in configs},
    'differences': differing,
    'comparable': comparable,
    'not_comparable': sorted(
      {
        metric
        for own in scored.values()
        for row in own.values()
        for metric in row
      }
      - {*comparable}
    ),
    'rows': scored,
    'table': table(scored),
    'intervals': between(study, scored, cells, comparable),
    'power_law': ladder(scored, terms) if study.ladder else None,
    'curves': drawn(study, cells, terms),
    'tokens_per_second': {
      name: [results.speed(cell) for cell in own.values()]
      for name, own in cells.items()
    },
    'peak_bytes': {
      name: [results.peak_bytes(cell) for cell in own.values()]
      for name, own in cells.items()
    },
    'forms': {
      name: next((results.forms(each, study) for each in own.values()), {})
      for name, own in cells.items()
    },
    'failures': [*_failed(root), *_lacking(study, cells, root)],
    'environments': environments(cells),
  }


def comparable_metrics(
  study: Study, differing: Mapping[str, Any]
) -> tuple[str, ...]:
  """Returns the metrics that are comparable between variants.

  These are the scores and tasks of the study; the loss, if objective, text and
  tokenizer are the same; and bits per byte, if the first two are.
  """
  asked = tuple(each.name for each in (*study.scores, *study.tasks))
  others = {key for key in differing if key.startswith(OF_A_LOSS)}
  asked += () if others else ('loss',)
  return asked if others - {*OF_TOKENS} else (*asked, 'bits_per_byte')


def losses(
  study: Study, name: str, root: pathlib.Path
) -> dict[str, float | None]:
  """Returns the final loss at each learning rate that was tried."""
  rates = study.tuning.learning_rates
  if len(rates) < 2:
    return {}
  found = {}
  for rate in rates:
    told = results.ended(results.trial_of(root, name, rate))
    loss = results.loss_of(told)
    found[f'{rate:g}'] = loss if math.isfinite(loss) else None
  return found


def table(
  scored: Mapping[str, Mapping[int, Mapping[str, float]]],
) -> dict[str, dict[str, dict[str, Any]]]:
  """Returns n, mean and std of each metric, by metric and by variant."""
  metrics = dict.fromkeys(
    metric for own in scored.values() for row in own.values() for metric in row
  )
  return {
    metric: {
      name: intervals.summarize(values)._asdict()
      for name, own in scored.items()
      if (values := [row[metric] for row in own.values() if metric in row])
    }
    for metric in metrics
  }


def between(
  study: Study,
  scored: Mapping[str, Mapping[int, Mapping[str, float]]],
  cells: Mapping[str, Mapping[int, pathlib.Path]],
  metrics: Sequence[str],
) -> list[dict[str, Any]]:
  """Returns the intervals of the difference (second - first) of each two.

  `over` is the source of variation: 'seed', 'example' or 'paradigm'.
  """
  drawn = {  # What a bootstrap resamples, by the name of one.
    'example': results.answers,
    'paradigm': results.paradigms,
  }
  answered = {
    of: {
      name: [read(cell, study) for cell in own.values()]
      for name, own in cells.items()
    }
    for of, read in drawn.items()
  }
  found = []
  for metric, (first, second) in itertools.product(
    metrics, itertools.combinations(scored, 2)
  ):
    values = [
      [row[metric] for row in scored[name].values() if metric in row]
      for name in (first, second)
    ]
    if not all(values):
      continue
    told = {'seed': intervals.welch(*values)}
    for of, by_variant in answered.items():
      answers = [
        [own[metric] for own in by_variant[name] if metric in own]
        for name in (first, second)
      ]
      if all(answers):
        told[of] = intervals.paired_bootstrap(*answers, of=of)
    found += [
      _told(metric, first, second, over, each) for over, each in told.items()
    ]
  return found


def ladder(
  scored: Mapping[str, Mapping[int, Mapping[str, float]]],
  terms: Mapping[str, Terms],
) -> dict[str, Any] | None:
  """Returns the power law of the losses; None if there are too few sizes.

  Sizes exclude embedding tables, as in Kaplan et al. (2020).
  """
  losses = collections.defaultdict(list)
  for name, own in scored.items():
    size = terms[name].without_embeddings
    losses[size] += [row['loss'] for row in own.values() if 'loss' in row]
  losses = {size: each for size, each in losses.items() if each}
  if len(losses) < 3:
    return None
  found = power_law.fit(losses)
  return {**found._asdict(), 'exponent': found.exponent._asdict()}


def _told(
  metric: str, first: str, second: str, over: str, interval: Interval
) -> dict[str, Any]:
  return {
    'metric': metric,
    'first': first,
    'second': second,
    'over': over,
    **interval._asdict(),
  }


def drawn(
  study: Study,
  cells: Mapping[str, Mapping[int, pathlib.Path]],
  terms: Mapping[str, Terms],
) -> dict[str, dict[str, Any]]:
  """Returns the curves of each variant, by metric; see `results.curve`."""
  read: dict[str, Callable[[pathlib.Path], Mapping[int, float]]]
  read = {'loss': curves.read}
  for asked in study.scores:
    if asked.curve:
      read[asked.name] = functools.partial(results.course, asked=asked)
  return {
    metric: {
      name: results.curve(
        [*map(of, own.values())], [*own.values()], terms[name]
      )
      for name, own in cells.items()
      if own
    }
    for metric, of in read.items()
  }


def environments(
  cells: Mapping[str, Mapping[int, pathlib.Path]],
) -> list[dict[str, Any]]:
  """Returns the distinct environments of the runs and their fine-tuning.

  `runs` are the names of the runs in each.
  """
  found: dict[str, dict[str, Any]] = {}
  for name, own in cells.items():
    for seed, cell in own.items():
      for place in (cell, *sorted((cell / 'tasks').glob('*'))):
        path = place / 'environment.json'
        if not path.exists():
          continue
        told = json.loads(path.read_text())
        where = {key: told[key] for key in OF_A_PLACE}
        run = '/'.join((name, f'{seed}', *place.relative_to(cell).parts))
        same = found.setdefault(json.dumps(where), where | {'runs': []})
        same['runs'].append(run)
  return [*found.values()]


def _failed(root: pathlib.Path) -> list[dict[str, Any]]:
  """Returns what has failed; a trial that diverged has not: it is the worst."""
  return [
    each
    for each in results.failures(root)
    if not each['where'].startswith('tuning/')
    or not metrics_reader.diverged(root / each['where'])
  ]


def _lacking(
  study: Study,
  cells: Mapping[str, Mapping[int, pathlib.Path]],
  root: pathlib.Path,
) -> list[dict[str, Any]]:
  """Returns, as failures, scores and tasks that lack the study's metric."""
  return [
    {
      'where': cell.relative_to(root).as_posix(),
      'status': 0,
      'command': '',
      'last_lines': lines,
    }
    for own in cells.values()
    for cell in own.values()
    if (lines := results.lacking(cell, study))
  ]


def _cells(
  study: Study, name: str, root: pathlib.Path
) -> dict[int, pathlib.Path]:
  """Returns the workdirs of the finished runs of a variant, by seed."""
  cells = {
    seed: results.cell_of(root, name, seed) for seed in range(study.seeds)
  }
  return {
    seed: cell
    for seed, cell in cells.items()
    if results.ended(cell) is not None
  }
