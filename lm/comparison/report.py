"""The results of a study for readers: report.html, and the terms in the log."""

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from absl import logging

from lm.analysis import plots, report_html as html
from lm.comparison import tables
from lm.comparison.study import Study
from lm.comparison.terms import Terms
from lm.data import atomic

AXES = {
  'tokens': 'tokens read',
  'flops': 'FLOPs',
  'seconds': 'seconds of training, at the median speed',
}
NOT_THE_SAME = (
  'mean something else for each variant, since the variants differ in objective,'
  ' text or tokens.'
)


def say_terms(
  study: Study, terms: Mapping[str, Terms], trials: Mapping[str, Terms]
) -> None:
  """Logs the terms of each variant, and the cost of the whole study."""
  header, rows = tables.terms_table({k: v._asdict() for k, v in terms.items()})
  table = tables.aligned([header, *rows])
  unit = tables.UNITS[study.unit]
  logging.info('Each run has %.3g %s:\n%s', study.budget, unit, table)
  told = dataclasses.asdict(study)
  both = [
    {name: each._asdict() for name, each in of.items()}
    for of in (terms, trials)
  ]
  logging.info('%s', tables.cost(told, *both))


def write(found: Mapping[str, Any], root: pathlib.Path) -> None:
  """Writes report.json, plots/*.png and report.html, each atomically.

  Args:
    found: As returned by `gathering.gather`.
    root: The directory to write to.
  """
  with atomic.new_file(root / 'report.json') as part:
    part.write_text(json.dumps(found, indent=2) + '\n')
  pictures = draw(found, root / 'plots')
  with atomic.new_file(root / 'report.html') as part:
    part.write_text(page(found, pictures), 'utf-8')


def draw(
  found: Mapping[str, Any], folder: pathlib.Path
) -> dict[str, pathlib.Path]:
  """Plots losses and scores against tokens, FLOPs and time.

  Returns:
    The paths of the pictures, by their captions.
  """
  folder.mkdir(parents=True, exist_ok=True)
  pictures = {}
  for (metric, curves), (axis, label) in itertools.product(
    found['curves'].items(), AXES.items()
  ):
    series = {name: own[axis] for name, own in curves.items() if axis in own}
    if series:
      path = folder / f'{metric}_by_{axis}.png'
      pictures[f'The {metric} by {label}.'] = path
      side = 'loss on the validation set' if metric == 'loss' else metric
      plots.lines(series, path, '', label, side)
  return pictures


def page(found: Mapping[str, Any], pictures: Mapping[str, pathlib.Path]) -> str:
  """Returns the report as one HTML file."""
  study = found['study']
  parts = [
    html.paragraph(
      f'{len(found["terms"])} variants, {study["seeds"]} runs of each, every run'
      f' with {html.shown(study["budget"])} {tables.UNITS[study["unit"]]}.'
    ),
    *_incomplete(found),
    html.heading('What they scored'),
    *_scores(found),
    html.heading('How sure the differences are'),
    *_intervals(found),
    html.heading('Curves'),
    *_ladder(found),
    *_curves(found, pictures),
    html.heading('Equal terms'),
    html.table(*tables.terms_table(found['terms']), tables.TERMS),
    html.paragraph(tables.cost(study, found['terms'], found['trial_terms'])),
    *_rates(found),
    html.table(*tables.difference_table(found), tables.differing(found)),
    html.heading('Speed and memory'),
    html.table(*tables.speed_table(found), tables.SPEED),
    *_failures(found),
    html.heading('How this was made'),
    *map(html.paragraph, tables.environments(found)),
  ]
  return html.page(found['question'], parts)


def _incomplete(found: Mapping[str, Any]) -> list[str]:
  """Returns a note if runs are missing, so that means are over fewer."""
  wanted = found['study']['seeds'] * len(found['terms'])
  ended = sum(map(len, found['rows'].values()))
  if ended == wanted and not found['failures']:
    return []
  return [
    html.paragraph(
      f'{ended} of {wanted} runs have ended, and {len(found["failures"])} things'
      ' have failed: see What failed. Means and intervals are over those that'
      ' are there.'
    )
  ]


def _scores(found: Mapping[str, Any]) -> list[str]:
  parts = []
  comparable, others = found['comparable'], found['not_comparable']
  if any(name in found['table'] for name in comparable):
    caption = 'Mean, standard deviation and number of the runs.'
    parts.append(html.table(*tables.score_table(found, comparable), caption))
    parts += [html.paragraph(each) for each in tables.asked(found)]
  if any(name in found['table'] for name in others):
    caption = f'Shown but not compared: these numbers {NOT_THE_SAME}'
    parts.append(html.table(*tables.score_table(found, others), caption))
  return parts


def _intervals(found: Mapping[str, Any]) -> list[str]:
  if not found['intervals']:
    return [html.paragraph('Nothing was scored that compares.')]
  return [
    html.table(*tables.interval_table(found), tables.differences(found)),
    html.table(*tables.method_table(found), 'How the intervals were computed.'),
  ]


def _ladder(found: Mapping[str, Any]) -> list[str]:
  fitted = found['power_law']
  return [] if fitted is None else [html.paragraph(tables.law(fitted))]


def _curves(
  found: Mapping[str, Any], pictures: Mapping[str, pathlib.Path]
) -> list[str]:
  note = 'Means over the runs, with their standard deviation.'
  if 'loss' not in found['comparable']:
    note += f' The losses are not to be compared: they {NOT_THE_SAME}'
  return [html.paragraph(note)] + [
    html.figure(path.read_bytes(), caption)
    for caption, path in pictures.items()
  ]


def _rates(found: Mapping[str, Any]) -> list[str]:
  tuning = found['study']['tuning']
  if len(tuning['learning_rates']) < 2:
    return [html.paragraph('The learning rates are as given, and not tuned.')]
  caption = tables.TRIALS.format(share=f'{tuning["share"]:.0%}')
  return [
    html.table(*tables.rates_table(found), caption),
    *map(html.paragraph, tables.doubts(found)),
  ]


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
