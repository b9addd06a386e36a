"""Trains the reference results of the applications anew, several seeds each.

  python -m benchmarks.applications --data=DIR --only=sst2 --only=resume

DIR has the files of `REFERENCES`, in folders of these names. Adds to
benchmarks/results/applications.json, of which the new part is the last line of
stdout; with --steps (a trial) to nothing. Minutes to an hour each, on 2 cores;
the runs stay in --workdir, and the same command again goes on with them.
"""

import json
import pathlib
import resource
import subprocess
import sys
import time
import types
from collections.abc import Mapping
from typing import Any, NamedTuple

from experiments import command
from lm.training.workdir import describe_environment
from lm.types import UserError

RESULTS = pathlib.Path(__file__).parent / 'results' / 'applications.json'
NONE = types.MappingProxyType({})


class Reference(NamedTuple):
  """A run whose scores are kept.

  Attributes:
    config: File and variant.
    files: Fields of `config.data`, and where they are in the folder of data.
    metric: What counts.
    goal: What its mean is to be; None: it is reported as it is.
    settings: More of the config.
    split: Which records are scored.
  """

  config: str
  files: Mapping[str, str]
  metric: str
  goal: float | None = None
  settings: Mapping[str, Any] = NONE
  split: str = 'test'


SST2 = {'train': 'sst2/train.tsv', 'test': 'sst2/dev.tsv'}
RESUME = {
  'train': 'resume_ner_zh/train.char.bmes',
  'validation': 'resume_ner_zh/dev.char.bmes',
  'test': 'resume_ner_zh/test.char.bmes',
}
MULTI30K = {
  'train': 'multi30k_en_de/train.{en,de}.gz',
  'validation': 'multi30k_en_de/val.{en,de}.gz',
  'test': 'multi30k_en_de/test_2016_flickr.{en,de}.gz',
}
REFERENCES = {
  'sst2': Reference(
    'classification.py:sst2',
    SST2,
    'accuracy',
    0.78,
    {'data.held_out': 0.03, 'data.distinct': True},
  ),
  'chnsenticorp': Reference(
    'classification.py:chnsenticorp',
    {
      'train': 'chnsenticorp/train.tsv',
      'test': 'chnsenticorp/dev.tsv',
    },
    'accuracy',
    0.80,
    {'data.distinct': True},
  ),
  'resume': Reference('entities.py:resume', RESUME, 'f1', 0.88),
  'wnut17': Reference(
    'entities.py:wnut17',
    {
      'train': 'wnut17/wnut17train.conll',
      'validation': 'wnut17/emerging.dev.conll',
      'test': 'wnut17/emerging.test.annotated',
    },
    'f1',
  ),
  'multi30k': Reference('translation.py:multi30k', MULTI30K, 'bleu', 25.0),
  'newwiki': Reference(
    'question_answering.py:newwiki',
    {'train': 'squadshifts_newwiki/new_wiki_v1.0.json'},
    'f1',
    settings={'checkpoint.best': ''},  # The last step: none is chosen.
    split='validation',
  ),
  'dailydialog': Reference(
    'dialogue.py:dailydialog',
    {
      'train': 'dailydialog/train.zip',
      'validation': 'dailydialog/validation.zip',
      'test': 'dailydialog/test.zip',
    },
    'loss',
    settings={'data.distinct': True},
  ),
}


def main(
  data: str,
  only: tuple[str, ...] = (),
  seeds: int = 3,
  workdir: str = 'runs/applications',
  steps: int = 0,
  out: str = str(RESULTS),
) -> None:
  """Trains the references, or some, and keeps what they scored.

  Args:
    data: The folder of the data.
    only: Names of `REFERENCES`; all if none is given.
    seeds: How many runs each has.
    workdir: Where the runs are.
    steps: A trial of so many, of which nothing is kept.
    out: The file that the results are added to; '' for none.
  """
  for name in only:
    if name not in REFERENCES:
      raise UserError(
        f'There is no reference {name!r}. Give one of {", ".join(REFERENCES)}.'
      )
  measured = {}
  for name in only or REFERENCES:
    row = train(name, pathlib.Path(data), seeds, pathlib.Path(workdir), steps)
    measured[name] = row
    print(name, json.dumps(row['summary']), file=sys.stderr, flush=True)
    if out and not steps:
      keep(pathlib.Path(out), {name: row})
  command.report(measured)


def train(
  name: str, data: pathlib.Path, seeds: int, root: pathlib.Path, steps: int = 0
) -> dict[str, Any]:
  """Returns what a reference scored, trained or found in `root`."""
  reference = REFERENCES[name]
  workdir = root / name
  files = {
    f'data.{field}': data / path for field, path in reference.files.items()
  }
  settings = dict(reference.settings)
  if steps:
    settings |= {'num_steps': steps, 'optimizer.warmup_steps': 1}
  argv = [f'--config=configs/{reference.config}', f'--workdir={workdir}']
  argv += [f'--config.{k}={v}' for k, v in {**files, **settings}.items()]
  argv += ['--config.log.tensorboard=false', f'--config.seeds={seeds}']
  began, used = time.time(), seconds_of_children()
  subprocess.run(
    [sys.executable, '-m', 'experiments.train', *argv],
    check=True,
    stdout=subprocess.DEVNULL,
  )
  found = scores_of(workdir, seeds)
  summary = found['summary'].get(reference.split, {})
  return {
    'command': [argv[0], *(f'--config.{k}={v}' for k, v in settings.items())],
    'files': dict(reference.files),
    'metric': reference.metric,
    'goal': reference.goal,
    'split': reference.split,
    'seeds': found['seeds'],
    'steps': found['steps'],
    'rows': found['rows'].get(reference.split, []),
    'summary': summary.get(reference.metric, {}),
    'minutes': round((time.time() - began) / 60, 1),
    'cpu_minutes': round((seconds_of_children() - used) / 60, 1),
    'environment': describe_environment(),
  }


def scores_of(workdir: pathlib.Path, seeds: int) -> dict[str, Any]:
  """Returns `seeds.json` of a workdir with several seeds."""
  if seeds < 2:
    raise UserError('A reference has a deviation: give --seeds=2 or more.')
  return json.loads((workdir / 'seeds.json').read_text())


def seconds_of_children() -> float:
  """Returns the processor time of the commands that have ended."""
  used = resource.getrusage(resource.RUSAGE_CHILDREN)
  return used.ru_utime + used.ru_stime


def keep(path: pathlib.Path, measured: dict[str, Any]) -> None:
  """Adds to the results in a file."""
  known = json.loads(path.read_text()) if path.exists() else {}
  path.write_text(json.dumps(known | measured, indent=2) + '\n')


if __name__ == '__main__':
  command.run(main)
