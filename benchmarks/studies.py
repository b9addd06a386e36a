"""Runs the studies of configs/compare, and saves their results.

  python -m benchmarks.studies --data=DIR --only=families

DIR has wikitext2/train.txt and valid.txt, blimp/BLiMP.zip, sst2/train.tsv and
dev.tsv. Adds NAME.json to benchmarks/results/studies: the report.json of
`experiments.compare`, with numbers rounded and the folder of data called DIR;
and its tables to the study's page of docs/studies.
Each takes half an hour to an hour on 2 cores; runs stay in --workdir, where the
same command resumes them.
"""

import json
import math
import pathlib
import subprocess
import sys
import time
from typing import Any

from benchmarks import study_pages
from benchmarks.study_pages import RESULTS
from experiments import command
from lm.types import UserError

STUDIES = (
  'families',
  'bert_to_roberta',
  'masking_rate',
  'positions',
  'norm_position',
  'direction',
  'objectives',
  'optimizers',
  'scaling',
)
DIGITS = 6


def main(
  data: str,
  only: tuple[str, ...] = (),
  workdir: str = 'runs/studies',
  out: str = str(RESULTS),
) -> None:
  """Runs the studies, or some, and saves their reports.

  Args:
    data: The folder of the data.
    only: Names of files of configs/compare; by default all.
    workdir: Where the runs and the whole reports are.
    out: The folder for the results.
  """
  for name in only:
    if name not in STUDIES:
      raise UserError(
        f'There is no study {name!r}. Give one of {", ".join(STUDIES)}.'
      )
  minutes = {}
  for name in only or STUDIES:
    began, place = time.time(), pathlib.Path(workdir) / name
    config = f'configs/compare/{name}.py'
    argv = [f'--config={config}', f'--workdir={place}', f'--data={data}']
    done = subprocess.run(
      [sys.executable, '-m', 'experiments.compare', *argv],
      check=False,
      stdout=subprocess.DEVNULL,
    )
    if done.returncode:
      raise UserError(
        f'{name} has failed: see above, or {place}/report.html. Then start the'
        ' same command again.'
      )
    minutes[name] = (time.time() - began) / 60
    found = rounded(json.loads((place / 'report.json').read_text()))
    pathlib.Path(out).mkdir(parents=True, exist_ok=True)
    found = anonymous(found, data)
    text = json.dumps(found, indent=1)
    (pathlib.Path(out) / f'{name}.json').write_text(text + '\n')
    page = study_pages.PAGES / f'{name}.md'
    if out == str(RESULTS) and page.exists():
      study_pages.write(page, found)
  command.report({'minutes': minutes})


def anonymous(value: Any, folder: str) -> Any:
  """Returns a JSON value with a leading folder of paths replaced by DIR."""
  if isinstance(value, dict):
    return {key: anonymous(item, folder) for key, item in value.items()}
  if isinstance(value, list):
    return [anonymous(item, folder) for item in value]
  if isinstance(value, str) and value.startswith(f'{folder}/'):
    return 'DIR' + value.removeprefix(folder)
  return value


def rounded(value: Any) -> Any:
  """Returns a JSON value with numbers of `DIGITS` significant digits."""
  if isinstance(value, dict):
    return {key: rounded(item) for key, item in value.items()}
  if isinstance(value, list):
    return [rounded(item) for item in value]
  if isinstance(value, float) and math.isfinite(value):
    return float(f'{value:.{DIGITS}g}')
  return value


if __name__ == '__main__':
  command.run(main)
