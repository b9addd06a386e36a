"""Trains what a committed curve was read from, with several seeds, anew.

  python -m benchmarks.reproduce --name=nano --data=tinyshakespeare/input.txt

Writes benchmarks/curves/NAME.json, or with --steps (a trial) nothing. The last
line on stdout is the curve, as JSON.
"""

import argparse
import json
import pathlib
import platform
import subprocess
import sys
import time

from lm.analysis import curves
from lm.training.workdir import describe_environment

CURVES = pathlib.Path(__file__).parent / 'curves'

# The command of each curve, and how far a run may be from it, in nats.
RUNS = {
  'nano': (
    [
      '--config=configs/gpt.py:nano',
      '--config.log.tensorboard=false',
      '--config.checkpoint.keep=1',
    ],
    0.02,
  ),
}


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--name', choices=RUNS, required=True)
  parser.add_argument('--data', required=True, help='The text file.')
  parser.add_argument('--seeds', type=int, default=3)
  parser.add_argument('--steps', type=int, default=0, help='A trial of these.')
  fresh = time.strftime('runs/reproduce/%Y%m%d-%H%M%S')
  parser.add_argument('--workdir', default=fresh)
  given = parser.parse_args()

  command, tolerance = RUNS[given.name]
  command = [*command, f'--config.data.path={given.data}']
  if given.steps:
    command += [
      f'--config.num_steps={given.steps}',
      '--config.optimizer.warmup_steps=1',
    ]
  losses = []
  for seed in range(given.seeds):
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
    losses.append(curves.read(workdir))
  curve = {
    'name': given.name,
    'command': command[:-1],
    'seeds': given.seeds,
    'tolerance': tolerance,
    **curves.summarize(losses),
    'processor': platform.processor() or platform.machine(),
    'environment': describe_environment(),
  }
  if not given.steps:
    path = CURVES / f'{given.name}.json'
    path.write_text(json.dumps(curve, indent=2) + '\n')
  print(json.dumps(curve))


if __name__ == '__main__':
  main()
