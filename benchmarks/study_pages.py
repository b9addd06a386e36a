"""Puts what a study found on its page of docs/studies.

  python -m benchmarks.study_pages

A page asks the study's question and says what was found; between two marks are
the tables of benchmarks/results/studies/NAME.json and a picture, which are
made here and not by hand. `benchmarks.studies` does this for what it has run.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from experiments import command
from lm.analysis import plots
from lm.comparison import report
from lm.types import UserError

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = ROOT / 'benchmarks/results/studies'
PAGES = ROOT / 'docs/studies'
OVER = ('seed', 'example', 'paradigm')  # The columns of intervals.
FIRST, LAST = '<!-- The report begins. -->', '<!-- The report ends. -->'


def main() -> None:
  """Writes all of them anew, each from what is kept of its study."""
  for page in sorted(PAGES.glob('*.md')):
    write(page, json.loads((RESULTS / f'{page.stem}.json').read_text()))


def write(page: pathlib.Path, found: Mapping[str, Any]) -> None:
  """Replaces what is between the marks of a page, and draws its picture."""
  draw(found, page.with_suffix('.png'))
  page.write_text(renewed(page.read_text(), page.stem, found))


def renewed(text: str, name: str, found: Mapping[str, Any]) -> str:
  """Returns the text of a page with the tables of what was found."""
  before, first, rest = text.partition(FIRST)
  _, last, after = rest.partition(LAST)
  if not (first and last):
    raise UserError(
      f'The page of {name} has no {FIRST} and {LAST}. Write both where the'
      ' tables are to be.'
    )
  made = '\n\n'.join(['', *blocks(name, found), ''])
  return before + first + made + last + after


def draw(found: Mapping[str, Any], target: pathlib.Path) -> None:
  """Draws the losses by what the budget counts, or else by tokens."""
  unit = found['study']['unit']
  axis = unit if unit in report.AXES else 'tokens'
  series = {name: curve[axis] for name, curve in found['curves'].items()}
  label = 'loss on the validation set'
  plots.lines(series, target, '', report.AXES[axis], label)


def blocks(name: str, found: Mapping[str, Any]) -> list[str]:
  """Returns the parts of a page that are made of a report."""
  study = found['study']
  scores = report.score_table(
    found, [*found['comparable'], *found['not_comparable']]
  )
  parts = [
    f'Each run had {study["budget"]:.3g} {study["unit"]}:'
    f' {report.cost(study, found["terms"], found["trial_terms"])}',
    markdown(*scores),
    ' '.join(
      ['Mean ± standard deviation (number of runs).', *report.asked(found)]
    ),
  ]
  aside = [name for name in found['not_comparable'] if name in found['table']]
  if aside:
    parts.append(f'Not to be compared are: {", ".join(aside)}.')
  if found['power_law']:
    parts.append(report.law(found['power_law']))
  header, rows = differences(found)
  if rows:
    parts += [
      f'Less {next(iter(found["terms"]))}, with 95% intervals:',
      markdown(header, rows),
    ]
  parts += [
    f'![Losses of {name}]({name}.png)',
    'What the budget came to, with the learning rate that was taken:',
    markdown(*terms(found)),
    report.environment(found['environment']),
  ]
  return parts


def differences(found: Mapping[str, Any]) -> report.Table:
  """Returns how each variant differs from the first, with its intervals."""
  base = next(iter(found['terms']))
  rows: dict[tuple[str, str], dict[str, str]] = {}
  for each in found['intervals']:
    if each['first'] == base:
      key = each['metric'], each['second']
      row = rows.setdefault(key, {'difference': f'{each["estimate"]:+.4f}'})
      if each['low'] is not None:
        row[each['over']] = f'{each["low"]:+.4f} to {each["high"]:+.4f}'
  used = [over for over in OVER if any(over in row for row in rows.values())]
  header = ['metric', 'variant', 'difference', *(f'over {o}s' for o in used)]
  return header, [
    [*key, row['difference'], *(row.get(over, '-') for over in used)]
    for key, row in rows.items()
  ]


def terms(found: Mapping[str, Any]) -> report.Table:
  """Returns the table of terms, with the learning rate of each variant."""
  header, rows = report.terms_table(found['terms'])
  rates = [found['rates'][row[0]] for row in rows]
  shown = ['-' if rate is None else f'{rate:g}' for rate in rates]
  return [*header, 'rate'], [[*row, rate] for row, rate in zip(rows, shown)]


def markdown(header: list[str], rows: list[list[str]]) -> str:
  """Returns a table, names to the left and numbers to the right."""
  lines = [header, ['---'] + ['---:'] * (len(header) - 1), *rows]
  return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


if __name__ == '__main__':
  command.run(main)
