"""Updates the pages of docs/studies with the results of the studies.

  python -m benchmarks.study_pages

A page states the question of its study and its findings; between two marks are
the tables of benchmarks/results/studies/NAME.json and a picture, which are
generated here. `benchmarks.studies` does this for the studies that it runs.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from experiments import command
from lm.analysis import plots
from lm.comparison import report, tables
from lm.types import UserError

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = ROOT / 'benchmarks/results/studies'
PAGES = ROOT / 'docs/studies'
FIRST, LAST = '<!-- The report begins. -->', '<!-- The report ends. -->'


def main() -> None:
  """Updates all pages from the saved results of their studies."""
  for page in sorted(PAGES.glob('*.md')):
    write(page, json.loads((RESULTS / f'{page.stem}.json').read_text()))


def write(page: pathlib.Path, found: Mapping[str, Any]) -> None:
  """Replaces the text between the marks of a page, and draws its picture."""
  draw(found, page)
  page.write_text(renewed(page.read_text(), page.stem, found))


def renewed(text: str, name: str, found: Mapping[str, Any]) -> str:
  """Returns the text of a page with its tables updated."""
  before, first, rest = text.partition(FIRST)
  _, last, after = rest.partition(LAST)
  if not (first and last):
    raise UserError(
      f'The page of {name} has no {FIRST} and {LAST}. Write both where the'
      ' tables are to be.'
    )
  made = '\n\n'.join(['', *blocks(name, found), ''])
  return before + first + made + last + after


def draw(found: Mapping[str, Any], page: pathlib.Path) -> None:
  """Plots losses and scores by the unit of the budget, or else by tokens."""
  unit = found['study']['unit']
  axis = unit if unit in report.AXES else 'tokens'
  for metric, curves in found['curves'].items():
    series = {name: curve[axis] for name, curve in curves.items()}
    label = 'loss on the validation set' if metric == 'loss' else metric
    target = page.with_name(picture(page.stem, metric))
    plots.lines(series, target, '', report.AXES[axis], label)


def picture(name: str, metric: str) -> str:
  """Returns the name of the file with the curves of a metric."""
  return f'{name}.png' if metric == 'loss' else f'{name}_{metric}.png'


def blocks(name: str, found: Mapping[str, Any]) -> list[str]:
  """Returns the parts of a page that are generated from a report."""
  study = found['study']
  scores = tables.score_table(
    found, [*found['comparable'], *found['not_comparable']]
  )
  parts = [
    f'Each run had {study["budget"]:.3g} {tables.UNITS[study["unit"]]}:'
    f' {tables.cost(study, found["terms"], found["trial_terms"])}',
    markdown(*scores),
    ' '.join(
      ['Mean ± standard deviation (number of runs).', *tables.asked(found)]
    ),
  ]
  aside = [name for name in found['not_comparable'] if name in found['table']]
  if aside:
    parts.append(f'Not comparable: {", ".join(aside)}.')
  if found['power_law']:
    parts.append(tables.law(found['power_law']))
  header, rows = tables.interval_table(found)
  if rows:
    parts += [
      tables.differences(found),
      markdown(header, rows),
      folded('How the intervals were computed', *tables.method_table(found)),
    ]
  parts += [
    *(
      f'![The {metric} of {name}]({picture(name, metric)})'
      for metric in found['curves']
    ),
    tables.TERMS,
    markdown(*tables.terms_table(found['terms'])),
    tables.TRIALS.format(share=f'{study["tuning"]["share"]:.0%}'),
    markdown(*tables.rates_table(found)),
    *tables.doubts(found),
    tables.differing(found),
    folded('In which keys', *tables.difference_table(found)),
    *tables.environments(found),
  ]
  return parts


def folded(summary: str, header: list[str], rows: list[list[str]]) -> str:
  """Returns a Markdown table that a click opens."""
  return (
    f'<details markdown="1"><summary>{summary}</summary>\n\n'
    f'{markdown(header, rows)}\n\n</details>'
  )


def markdown(header: list[str], rows: list[list[str]]) -> str:
  """Returns a Markdown table, the first column to the left, others right."""
  rows = [[cell.replace('|', r'\|') for cell in row] for row in rows]
  lines = [header, ['---'] + ['---:'] * (len(header) - 1), *rows]
  return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


if __name__ == '__main__':
  command.run(main)
