"""Scores a checkpoint on the whole validation set of its run, or on a file.

python -m experiments.evaluate --workdir=runs/demo
python -m experiments.evaluate --workdir=runs/demo --step=500 --data=my.txt
"""

import pathlib

from experiments import command
from lm.training import evaluation, run_config
from lm.types import UserError


def main(workdir: str, step: int | None = None, data: str = '') -> None:
  """Prints loss (nats a token), bits a byte and accuracy as JSON.

  Args:
    workdir: Of the run.
    step: Which checkpoint; by default the newest.
    data: A text file, or a glob of them, to score instead, all of it.
  """
  directory = pathlib.Path(workdir).absolute()
  if not (directory / 'config.json').exists():
    raise UserError(
      f'There is no run in {workdir}: it has no config.json. Give the --workdir'
      ' of a training run.'
    )
  config = run_config.read(directory / 'config.json')
  config['data']['tokenizer'] = str(directory / 'tokenizer')
  if data:
    config['data'] |= {
      'source': 'text',
      'path': data,
      'split': 'document',
      'validation': 1.0,
    }
  command.report(evaluation.score(config, directory, step))


if __name__ == '__main__':
  command.run(main)
