"""What a study found, as people read it: report.html, and tables in the log."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from absl import logging

from lm.analysis import plots, report_html as html
from lm.comparison.study import Study
from lm.comparison.terms import Terms
from lm.data import atomic

Table = tuple[list[str], list[list[str]]]  # A header and its rows.

SPEED = (
  'On the machine below: the median of the runs in tokens a second, the most'
  ' memory that one of them had in use on a device (of a CPU: in its process,'
  " compiler included), and what its step has of that by the compiler's plan."
)
AXES = {
  'tokens': 'tokens read',
  'flops': 'FLOPs',
  'seconds': 'seconds of training',
}
NOT_THE_SAME = (
  'These are shown and not compared: they mean another thing of each variant,'
  ' for the variants differ in what is asked for, in the text or in its tokens.'
)


def say_terms(
  study: Study, terms: Mapping[str, Terms], trials: Mapping[str, Terms]
) -> None:
  """Logs what each variant is given, and what the whole study takes."""
  header, rows = terms_table({k: v._asdict() for k, v in terms.items()})
  table = aligned([header, *rows])
  logging.info('Each run has %.3g %s:\n%s', study.budget, study.unit, table)
  told = dataclasses.asdict(study)
  both = [
    {name: each._asdict() for name, each in of.items()}
    for of in (terms, trials)
  ]
  logging.info('%s', cost(told, *both))


def cost(
  study: Mapping[str, Any],
  terms: Mapping[str, Mapping[str, Any]],
  trials: Mapping[str, Mapping[str, Any]],
) -> str:
  """Returns how many runs there are, and what they take."""
  rates = len(study['tuning']['learning_rates'])
  rates = rates if rates > 1 else 0
  of_runs = study['seeds'] * sum(each['flops'] for each in terms.values())
  of_trials = rates * sum(each['flops'] for each in trials.values())
  return (
    f'{study["seeds"] * len(terms)} runs of {len(terms)} variants,'
    f' {of_runs:.3g} FLOPs together; before them {rates * len(terms)} trials of'
    f' learning rates, {of_trials:.3g} FLOPs.'
  )


def write(found: Mapping[str, Any], root: pathlib.Path) -> None:
  """Writes report.json, plots/*.png and report.html, each whole or not at all.

  Args:
    found: As `gathering.gather` returns it.
    root: Where they go.
  """
  with atomic.new_file(root / 'report.json') as part:
    part.write_text(json.dumps(found, indent=2) + '\n')
  pictures = draw(found, root / 'plots')
  with atomic.new_file(root / 'report.html') as part:
    part.write_text(page(found, pictures), 'utf-8')


def draw(
  found: Mapping[str, Any], folder: pathlib.Path
) -> dict[str, pathlib.Path]:
  """Draws the losses against tokens, FLOPs and time; returns where."""
  folder.mkdir(parents=True, exist_ok=True)
  pictures = {}
  for name, label in AXES.items():
    series = {
      variant: curve[name]
      for variant, curve in found['curves'].items()
      if name in curve
    }
    if series:
      pictures[name] = folder / f'loss_by_{name}.png'
      plots.lines(
        series, pictures[name], '', label, 'loss on the validation set'
      )
  return pictures


def page(found: Mapping[str, Any], pictures: Mapping[str, pathlib.Path]) -> str:
  """Returns the report as one HTML file."""
  study = found['study']
  parts = [
    html.paragraph(
      f'{len(found["terms"])} variants, {study["seeds"]} runs of each, every run'
      f' with {html.shown(study["budget"])} {study["unit"]}.'
    ),
    html.heading('What they scored'),
    *_scores(found),
    html.heading('How sure the differences are'),
    *_intervals(found),
    html.heading('Losses'),
    *_ladder(found),
    *_curves(found, pictures),
    html.heading('Equal terms'),
    html.table(*terms_table(found['terms']), 'What the budget comes to.'),
    html.paragraph(cost(study, found['terms'], found['trial_terms'])),
    *_rates(found),
    *_differences(found),
    html.heading('Speed and memory'),
    html.table(*speed_table(found), SPEED),
    *_failures(found),
    html.heading('How this was made'),
    html.paragraph(environment(found['environment'])),
  ]
  return html.page(found['question'], parts)


def _scores(found: Mapping[str, Any]) -> list[str]:
  parts = []
  comparable, others = found['comparable'], found['not_comparable']
  if any(name in found['table'] for name in comparable):
    caption = 'Mean, standard deviation and number of the runs.'
    parts.append(html.table(*score_table(found, comparable), caption))
    parts += [html.paragraph(each) for each in asked(found)]
  if any(name in found['table'] for name in others):
    parts.append(html.table(*score_table(found, others), NOT_THE_SAME))
  return parts


def asked(found: Mapping[str, Any]) -> list[str]:
  """Returns in which form each variant was asked, and on what."""
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
  """Returns a mean with its deviation and number, as text."""
  if summary is None or summary['mean'] is None:
    return '-'
  std = '' if summary['std'] is None else f' ± {summary["std"]:.4f}'
  return f'{summary["mean"]:.4f}{std} ({summary["n"]})'


def _intervals(found: Mapping[str, Any]) -> list[str]:
  if not found['intervals']:
    return [html.paragraph('Nothing was scored that compares.')]
  caption = (
    'The second variant less the first, and between what 95% of such intervals'
    ' have the true difference. Those over seeds say what other runs might have'
    ' given, those over examples or paradigms what other ones of these might.'
  )
  count = len(found['intervals'])
  if count > 1:
    caption += f' Of {count} such intervals about {0.05 * count:.1f} miss.'
  return [html.table(*interval_table(found), caption)]


def interval_table(found: Mapping[str, Any]) -> Table:
  """Returns the difference of each two variants, and its interval."""
  header = ['metric', 'first', 'second', 'difference', 'from', 'to', 'method']
  number = lambda value: '-' if value is None else f'{value:+.4f}'
  rows = [
    [
      each['metric'],
      each['first'],
      each['second'],
      number(each['estimate']),
      number(each['low']),
      number(each['high']),
      each['method'],
    ]
    for each in found['intervals']
  ]
  return header, rows


def _ladder(found: Mapping[str, Any]) -> list[str]:
  fitted = found['power_law']
  return [] if fitted is None else [html.paragraph(law(fitted))]


def law(fitted: Mapping[str, Any]) -> str:
  """Returns a power law of the loss, with the interval of its exponent."""
  exponent = fitted['exponent']
  return (
    f'The loss falls as {fitted["scale"]:.3f} x N^-{exponent["estimate"]:.4f}, N'
    ' being the parameters without tables of embeddings; with 95% confidence'
    f' the exponent is from {exponent["low"]:.4f} to {exponent["high"]:.4f}'
    f' ({exponent["method"]}).'
  )


def _curves(
  found: Mapping[str, Any], pictures: Mapping[str, pathlib.Path]
) -> list[str]:
  same = 'loss' in found['comparable']
  note = 'Means over the runs, with their standard deviation.'
  if not same:
    note += ' ' + NOT_THE_SAME
  return [html.paragraph(note)] + [
    html.figure(path.read_bytes(), f'The loss by {AXES[name]}.')
    for name, path in pictures.items()
  ]


def terms_table(terms: Mapping[str, Mapping[str, Any]]) -> Table:
  """Returns how the steps of each variant follow from the budget."""
  header = [
    'variant',
    'parameters',
    'without tables',
    'FLOPs a token',
    'tokens with a loss',
    'tokens a step',
    'steps',
    'of them warm up',
    'tokens',
    'FLOPs',
  ]
  rows = [
    [
      name,
      f'{each["parameters"]:,}',
      f'{each["without_embeddings"]:,}',
      f'{each["flops_per_token"]:.3g}',
      f'{100 * each["answers_per_token"]:.0f}%',
      f'{each["tokens_per_step"]:,}',
      f'{each["steps"]:,}',
      f'{each["warmup_steps"]:,}',
      f'{each["tokens"]:.3g}',
      f'{each["flops"]:.3g}',
    ]
    for name, each in terms.items()
  ]
  return header, rows


def _rates(found: Mapping[str, Any]) -> list[str]:
  tuning = found['study']['tuning']
  rates = [f'{rate:g}' for rate in tuning['learning_rates']]
  if len(rates) < 2:
    return [html.paragraph('The learning rates are as given, and not tuned.')]
  rows, edges = [], []
  for name, losses in found['trials'].items():
    best = found['rates'][name]
    tried = [
      '-' if losses[rate] is None else f'{losses[rate]:.4f}' for rate in rates
    ]
    rows.append([name, *tried, '-' if best is None else f'{best:g}'])
    if best in (min(tuning['learning_rates']), max(tuning['learning_rates'])):
      edges.append(name)
  caption = (
    'The loss on the validation set at each learning rate, after'
    f' {100 * tuning["share"]:.0f}% of the budget, one run each; the lowest is'
    ' taken. These runs are not of the budget.'
  )
  parts = [html.table(['variant', *rates, 'taken'], rows, caption)]
  if edges:
    parts.append(
      html.paragraph(
        f'At the edge of the grid: {", ".join(edges)}. A wider one might do'
        ' better.'
      )
    )
  if names := no_better_than_trials(found):
    parts.append(
      html.paragraph(
        'No better after the whole budget than after the trial:'
        f' {", ".join(names)}. The rate was chosen too early, and is too high;'
        ' give tuning.share a larger value.'
      )
    )
  return parts


def no_better_than_trials(found: Mapping[str, Any]) -> list[str]:
  """Returns the variants whose runs lost what their shorter trial had learned.

  A trial that ends before learning begins chooses the rate that is quickest at
  first, with which a longer run may never get further.
  """
  if found['study']['tuning']['share'] >= 1:
    return []
  names = []
  for name, losses in found['trials'].items():
    tried = [loss for loss in losses.values() if loss is not None]
    mean = found['table'].get('loss', {}).get(name, {}).get('mean')
    if tried and mean is not None and mean >= min(tried):
      names.append(name)
  return names


def _differences(found: Mapping[str, Any]) -> list[str]:
  differing = found['differences']
  rows = [
    [key, *(str(values[name]) for name in found['terms'])]
    for key, values in differing.items()
  ]
  caption = (
    f'The {len(rows)} keys of the configs in which two variants differ. No other'
    ' does, but the number of steps and of those with a rising rate, the rate'
    ' itself, and how often a run is evaluated, which follow from the above.'
  )
  return [html.table(['key', *found['terms']], rows, caption)]


def speed_table(found: Mapping[str, Any]) -> Table:
  """Returns tokens a second and memory as measured, and memory as planned."""
  header = ['variant', 'tokens/s', 'MB in use', 'MB of a step, planned']
  rows = []
  for name, each in found['terms'].items():
    speeds = [speed for speed in found['tokens_per_second'][name] if speed]
    middle = sorted(speeds)[len(speeds) // 2] if speeds else None
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


def _failures(found: Mapping[str, Any]) -> list[str]:
  if not found['failures']:
    return []
  return [
    html.heading('What failed'),
    *(
      html.details(
        f'{each["where"]}: status {each["status"]}',
        [html.code('\n'.join([each['command'], *each['last_lines']]))],
      )
      for each in found['failures']
    ),
  ]


def environment(found: Mapping[str, Any] | None) -> str:
  """Returns what the numbers depend on beside the configs."""
  if found is None:
    return 'No run has said where it was trained.'
  versions = ', '.join(f'{k} {v}' for k, v in found['versions'].items())
  return (
    f'Commit {found["git_sha"]}, Python {found["python"]}, {versions}, on'
    f' {len(found["devices"])} x {found["devices"][0]}, {found["platform"]}.'
  )


def aligned(rows: Sequence[Sequence[str]]) -> str:
  """Returns rows of texts as columns, the first to the left."""
  widths = [max(map(len, column)) for column in zip(*rows)]
  return '\n'.join(
    '  '.join(
      f'{text:{width}}' if place == 0 else f'{text:>{width}}'
      for place, (text, width) in enumerate(zip(row, widths))
    )
    for row in rows
  )
