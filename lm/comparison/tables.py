"""The results of a study as tables and sentences, for report, log and docs."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

Table = tuple[list[str], list[list[str]]]  # A header and its rows.

OVER = ('seed', 'example', 'paradigm')  # The columns of intervals.
UNITS = {'flops': 'FLOPs', 'tokens': 'tokens', 'seconds': 'seconds'}
TERMS = (
  'What the budget buys. Tokens are positions in the rows that a run reads, for an'
  ' encoder-decoder those of config.data.length alone; some may be padding.'
)
MARGIN = 0.1  # Nats by which runs that differ only in their seed may differ.
TRIALS = (
  'The validation loss at each learning rate after {share} of the budget, one run'
  ' each; the lowest is taken. These trials are not part of the budget.'
)
SPEED = (
  'On the machine below: the median tokens per second of the runs; the most memory'
  ' that any of them used on a device (on a CPU, in its process, compiler'
  ' included); and the memory of a step as the compiler plans it.'
)


def cost(
  study: Mapping[str, Any],
  terms: Mapping[str, Mapping[str, Any]],
  trials: Mapping[str, Mapping[str, Any]],
) -> str:
  """Returns the number of runs and their cost, as text."""
  rates = len(study['tuning']['learning_rates'])
  rates = rates if rates > 1 else 0
  of_runs = study['seeds'] * sum(each['flops'] for each in terms.values())
  of_trials = rates * sum(each['flops'] for each in trials.values())
  return (
    f'{study["seeds"] * len(terms)} runs of {len(terms)} variants,'
    f' {of_runs:.3g} FLOPs in all, and {rates * len(terms)} trials of learning'
    f' rates, {of_trials:.3g} FLOPs. Evaluation, scoring and fine-tuning are not'
    ' counted.'
  )


def asked(found: Mapping[str, Any]) -> list[str]:
  """Returns how each score and task was measured, as sentences."""
  told = []
  for score in found['study']['scores']:
    forms = ', '.join(
      f'{name} by {own[score["name"]]}'
      for name, own in found['forms'].items()
      if score['name'] in own
    )
    limit = f', {score["limit"]} of each kind' if score['limit'] else ''
    told.append(
      f'{score["name"]}: {score["metric"]} of {score["task"]}{limit}; {forms}.'
    )
  told += [
    f'{task["name"]}: {task["metric"]} after fine-tuning, {task["config"]}.'
    for task in found['study']['tasks']
  ]
  return told


def score_table(found: Mapping[str, Any], metrics: Sequence[str]) -> Table:
  """Returns `mean ± std (n)` of each variant and metric."""
  there = [metric for metric in metrics if metric in found['table']]
  rows = [
    [name, *(told(found['table'][metric].get(name)) for metric in there)]
    for name in found['terms']
  ]
  return ['variant', *there], rows


def told(summary: Mapping[str, Any] | None) -> str:
  """Returns a mean with its standard deviation and n, as text."""
  if summary is None or summary['mean'] is None:
    return '-'
  std = '' if summary['std'] is None else f' ± {summary["std"]:.4f}'
  return f'{summary["mean"]:.4f}{std} ({summary["n"]})'


def differences(found: Mapping[str, Any]) -> str:
  """Returns what the table of intervals shows, as sentences."""
  count = sum(each['low'] is not None for each in found['intervals'])
  chance = (
    ' Each interval misses the true difference with a chance of 5%: of these'
    f' {count} about {0.05 * count:.1f} do, and those that share a variant may do'
    ' so together.'
    if count > 1
    else ''
  )
  return (
    'Each row is the second variant minus the first, with 95% intervals. Over seeds:'
    ' what to expect with other seeds, at the rates that were chosen. Over examples'
    f' or paradigms: with others of these, from the same runs.{chance}'
  )


def interval_table(found: Mapping[str, Any]) -> Table:
  """Returns the difference of each pair of variants, with all its intervals."""
  rows: dict[tuple[str, str, str], dict[str, str]] = {}
  for each in found['intervals']:
    pair = each['metric'], each['first'], each['second']
    row = rows.setdefault(pair, {'difference': number(each['estimate'])})
    if each['low'] is not None:
      row[each['over']] = f'[{number(each["low"])}, {number(each["high"])}]'
  used = [over for over in OVER if any(over in row for row in rows.values())]
  header = ['metric', 'first', 'second', 'difference']
  return header + [f'over {over}s' for over in used], [
    [*pair, row['difference'], *(row.get(over, '-') for over in used)]
    for pair, row in rows.items()
  ]


def method_table(found: Mapping[str, Any]) -> Table:
  """Returns how the intervals of each metric were computed, or why they miss."""
  rows = {
    (each['metric'], f'{each["over"]}s', each['method']): None
    for each in found['intervals']
  }
  return ['metric', 'over', 'method'], [*map(list, rows)]


def number(value: float | None) -> str:
  """Returns a difference as text."""
  return '-' if value is None else f'{value:+.4f}'


def rates_table(found: Mapping[str, Any]) -> Table:
  """Returns the loss of each variant at each learning rate that was tried."""
  rates = [f'{rate:g}' for rate in found['study']['tuning']['learning_rates']]
  rows = []
  for name, losses in found['trials'].items():
    taken = found['rates'][name]
    # None is taken before all trials have ended, so the others diverged.
    none = '-' if taken is None else 'diverged'
    tried = [losses[rate] for rate in rates]
    cells = [none if loss is None else f'{loss:.4f}' for loss in tried]
    rows.append([name, *cells, _rate(taken)])
  return ['variant', *rates, 'taken'], rows


def law(fitted: Mapping[str, Any]) -> str:
  """Returns a power law and the interval of its exponent, as a sentence."""
  exponent = fitted['exponent']
  return (
    f'The loss falls as {fitted["scale"]:.3f} x N^-{exponent["estimate"]:.4f}, where N'
    ' is the number of parameters without embeddings; with 95% confidence the'
    f' exponent is from {exponent["low"]:.4f} to {exponent["high"]:.4f}'
    f' ({exponent["method"]}).'
  )


def terms_table(terms: Mapping[str, Mapping[str, Any]]) -> Table:
  """Returns how the steps of each variant follow from the budget."""
  timed = any(each['seconds_per_step'] for each in terms.values())
  header = [
    'variant',
    'parameters',
    'without embeddings',
    'FLOPs per token',
    'not padding',
    'with a loss',
    'tokens per step',
    *(['seconds per step'] if timed else []),
    'steps',
    'warm-up',
    'tokens',
    'FLOPs',
  ]
  rows = [
    [
      name,
      f'{each["parameters"]:,}',
      f'{each["without_embeddings"]:,}',
      f'{each["flops_per_token"]:.3g}',
      *(_percent(each[share]) for share in ('filled', 'asked')),
      f'{each["tokens_per_step"]:,}',
      *([f'{each["seconds_per_step"]:.3g}'] if timed else []),
      f'{each["steps"]:,}',
      f'{each["warmup_steps"]:,}',
      f'{each["tokens"]:.3g}',
      f'{each["flops"]:.3g}',
    ]
    for name, each in terms.items()
  ]
  return header, rows


def _rate(rate: float | None) -> str:
  return '-' if rate is None else f'{rate:g}'


def _percent(share: float | None) -> str:
  return '-' if share is None else f'{100 * share:.0f}%'


def doubts(found: Mapping[str, Any]) -> list[str]:
  """Returns what speaks against the rates that were chosen, as sentences."""
  rates = found['study']['tuning']['learning_rates']
  edges = [
    name
    for name, best in found['rates'].items()
    if best in (min(rates), max(rates))
  ]
  told = []
  if edges:
    told.append(
      f'The best rate of {", ".join(edges)} is at the edge of the grid; a wider one'
      ' might have a better.'
    )
  runs = ', '.join(behind_trials(found))
  if runs and found['study']['tuning']['share'] < 1:
    told.append(
      f'No better after the whole budget than after the trial: {runs}. The rate may'
      ' have been chosen too early, and be too high: give tuning.share a larger'
      ' value.'
    )
  elif runs:
    told.append(
      f'More than {MARGIN:g} nats worse than the trial at the same rate: {runs}.'
      ' See their curves: where training stopped early on, mean and deviation say'
      ' little.'
    )
  return told


def difference_table(found: Mapping[str, Any]) -> Table:
  """Returns every key in which configs differ, with the value of each."""
  rows = [
    [key, *(str(values[name]) for name in found['terms'])]
    for key, values in found['differences'].items()
  ]
  return ['key', *found['terms']], rows


def differing(found: Mapping[str, Any]) -> str:
  """Returns what the table of differences shows, as a sentence."""
  rates = found['study']['tuning']['learning_rates']
  rate = ' the learning rate,' if len(rates) > 1 else ''
  return (
    f'The variants differ in {len(found["differences"])} keys of their configs, and'
    ' in no other but those that follow from the budget: steps, warm-up steps,'
    f'{rate} and how often a run is evaluated and saved.'
  )


def behind_trials(found: Mapping[str, Any]) -> list[str]:
  """Returns the runs that their variant's best trial should not have beaten.

  A trial that ends too early favours the learning rate that is fastest at
  first, with which a longer run may never get further. One of full length is a
  run with another seed, which differs by up to `MARGIN` where all is well.
  """
  margin = MARGIN if found['study']['tuning']['share'] >= 1 else 0.0
  runs = []
  for name, losses in found['trials'].items():
    best = min((x for x in losses.values() if x is not None), default=math.inf)
    runs += [
      f'{name} (seed {seed})'
      for seed, row in found['rows'][name].items()
      if row.get('loss', -math.inf) >= best + margin
    ]
  return runs


def speed_table(found: Mapping[str, Any]) -> Table:
  """Returns measured tokens per second and memory, and planned memory."""
  header = ['variant', 'tokens/s', 'MB in use', 'MB of a step, planned']
  rows = []
  for name, each in found['terms'].items():
    speeds = [speed for speed in found['tokens_per_second'][name] if speed]
    middle = statistics.median(speeds) if speeds else None
    used = [size for size in found['peak_bytes'][name] if size]
    rows.append(
      [
        name,
        '-' if middle is None else f'{middle:,.0f}',
        f'{max(used) / 1e6:,.0f}' if used else '-',
        f'{each["bytes_per_device"] / 1e6:,.0f}',
      ]
    )
  return header, rows


def environments(found: Mapping[str, Any]) -> list[str]:
  """Returns a sentence on each environment, with its runs if there are more."""
  return [
    environment(each)
    + (
      f' Of {", ".join(each["runs"])}.'
      if len(found['environments']) > 1
      else ''
    )
    for each in found['environments']
  ]


def environment(place: Mapping[str, Any]) -> str:
  """Returns the environment in which runs were trained, as a sentence."""
  versions = ', '.join(f'{k} {v}' for k, v in place['versions'].items())
  return (
    f'Commit {place["git_sha"]}, Python {place["python"]}, {versions}, on'
    f' {len(place["devices"])} x {place["devices"][0]}, {place["platform"]}.'
  )


def aligned(rows: Sequence[Sequence[str]]) -> str:
  """Returns rows as aligned columns, the first to the left, others right."""
  widths = [max(map(len, column)) for column in zip(*rows)]
  return '\n'.join(
    '  '.join(
      f'{text:{width}}' if place == 0 else f'{text:>{width}}'
      for place, (text, width) in enumerate(zip(row, widths))
    )
    for row in rows
  )
