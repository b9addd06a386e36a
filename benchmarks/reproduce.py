"""Reproduces a committed loss curve, with several seeds.

  python -m benchmarks.reproduce --name=nano --data=tinyshakespeare/input.txt

Writes benchmarks/curves/NAME.json, or nothing with --steps (a trial). The last
line on stdout is the curve, as JSON.
"""

import argparse
import json
import pathlib
import platform
import subprocess
import sys
import time
from typing import NamedTuple

from benchmarks import unigram
from lm.analysis import curves
from lm.training import run_config
from lm.training.workdir import describe_environment

CURVES = pathlib.Path(__file__).parent / 'curves'


class Recipe(NamedTuple):
  """How a curve is reproduced.

  Attributes:
    config: The config of the runs.
    seeds: The number of runs.
    tolerance: How far a run may be from the curve, in nats.
    metric: The metric of the curve.
    unigram: Whether to compare it with a unigram model.
  """

  config: str
  seeds: int
  tolerance: float
  metric: str = 'loss'
  unigram: bool = True


RECIPES = {
  'nano': Recipe('configs/gpt.py:nano', 3, 0.02, unigram=False),
  'bert': Recipe('configs/bert.py:wikitext', 1, 0.1),
  'roberta': Recipe('configs/roberta.py:wikitext', 1, 0.1),
  # Without sentinels and end tokens, which are not text.
  't5': Recipe('configs/t5.py:wikitext', 1, 0.1, 'text_loss'),
}


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--name', choices=RECIPES, required=True)
  parser.add_argument('--data', required=True, help='The text files.')
  parser.add_argument('--seeds', type=int, help='How many of them.')
  parser.add_argument('--steps', type=int, default=0, help='A trial of these.')
  fresh = time.strftime('runs/reproduce/%Y%m%d-%H%M%S')
  parser.add_argument('--workdir', default=fresh)
  given = parser.parse_args()

  recipe = RECIPES[given.name]
  command = [
    f'--config={recipe.config}',
    '--config.log.boards=()',
    '--config.checkpoint.keep=1',
    f'--config.data.path={given.data}',
  ]
  if given.steps:
    command += [
      f'--config.num_steps={given.steps}',
      '--config.optimizer.warmup_steps=1',
    ]
  losses, began = [], time.time()
  for seed in range(given.seeds or recipe.seeds):
    workdir = pathlib.Path(given.workdir) / given.name / f'seed{seed}'
    subprocess.run(
      [
        sys.executable,
        '-m',
        'experiments.train',
        *command,
        f'--config.seed={seed}',
        f'--workdir={workdir}',
      ],
      check=True,
      stdout=subprocess.DEVNULL,
    )
    losses.append(curves.read(workdir, metric=recipe.metric))
  curve = {
    'name': given.name,
    'command': command[:3],
    'metric': recipe.metric,
    'seeds': len(losses),
    'tolerance': recipe.tolerance,
    **curves.summarize(losses),
    'minutes_a_run': round((time.time() - began) / 60 / len(losses), 1),
    'processor': platform.processor() or platform.machine(),
    'environment': describe_environment(),
  }
  if recipe.unigram:
    curve |= unigram.cross_entropy(run_config.read(workdir / 'config.json'))
  if not given.steps:
    path = CURVES / f'{given.name}.json'
    path.write_text(json.dumps(curve, indent=2) + '\n')
  print(json.dumps(curve))


if __name__ == '__main__':
  main()
