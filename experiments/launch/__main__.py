"""Starts a training run on this machine, under SLURM, on a TPU pod or on GKE.

  python -m experiments.launch --config=configs/gpt.py:debug --workdir=runs/two \\
      --hosts=2 --devices=1
  python -m experiments.launch --to=slurm --config=configs/gpt.py:gpt2 \\
      --workdir=runs/gpt2 --config.data.path='text/*.jsonl.gz' \\
      --config.microbatches=3 --hosts=4 --devices=8 --time_limit=4:00:00 \\
      --partition=gpu --dry_run

--to=slurm --help lists the flags of SLURM, and likewise for each platform. What
starts is `python -m experiments.train`, with the same config.
"""

import sys
from typing import Any

from experiments import command, origins
from experiments.launch import flags, start
from experiments.launch.job import Job
from lm.training.sections import SECTIONS


def main(
  to: flags.Platform = 'local', dry_run: bool = False, **arguments: Any
) -> int | None:
  """Starts a job, or shows it.

  Args:
    to: Where the job runs: local, slurm, tpu or gke. local is this machine, and
      the command waits until the job has ended.
    dry_run: Prints what would be written and called, and does nothing.
  """
  job = flags.made(Job, arguments)
  options = flags.made(start.PLATFORMS[to].Options, arguments)
  if dry_run:
    command.report(start.show(to, job, options))
    return None
  told = start.start(to, job, options)
  command.report(told)
  return told.get('status')


if __name__ == '__main__':
  to = flags.chosen(sys.argv[1:]) or 'local'
  command.run(
    flags.signed(main, [Job, *flags.options_of(to)]), SECTIONS, origins.sections
  )
