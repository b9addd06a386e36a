"""Trains a language model, or resumes a run that was interrupted.

  python -m experiments.train --config=configs/gpt.py --workdir=runs/demo
  python -m experiments.train --config=configs/gpt.py:gpt2 --workdir=runs/gpt2 \\
      --config.data.path='text/*.jsonl.gz' --config.optimizer.learning_rate=3e-4
  python -m experiments.train --config=configs/gpt.py:gpt2-xl --workdir=runs/xl \\
      --config.parallel.fsdp=64 --config.batch_size=512 \\
      --config.microbatches=8 --dry_run
"""

from typing import Any

from absl import logging
from ml_collections import ConfigDict

from experiments import command, origins
from lm.parallel import hosts
from lm.training import (
  boards,
  loop,
  plan,
  remote_run,
  seeds,
  testing,
  workdir as workdirs,
)
from lm.training.sections import SECTIONS


def main(
  config: ConfigDict,
  workdir: str,
  allow_change: tuple[str, ...] = (),
  dry_run: bool = False,
  devices: int = 0,
) -> int | None:
  """Trains a model as configured.

  Args:
    config: FILE.py or FILE.py:VARIANT; any field can be overridden, as in
      --config.model.num_layers=2.
    workdir: Where all output goes, a directory or the URL of one; running the
      same command again resumes from there.
    allow_change: A key or section of the config that may differ from that of
      the run in workdir.
    dry_run: Print the whole config and what follows from it, and do nothing.
    devices: For a dry run: the number of devices to plan for; 0 means those
      here or, if config.parallel needs others, as many as its sizes require.
  """
  resolved = config.to_dict()
  if dry_run:
    workdirs.check(remote_run.local_files(workdir), resolved, allow_change)
    planned = plan.plan(resolved, devices)
    logging.info('%s', plan.table(planned))
    command.report(planned | {'config': resolved})
    return None
  hosts.start(**resolved['hosts'])
  results = run(resolved, workdir, allow_change)
  logging.info('Done: %s', workdir)
  if hosts.is_first():
    command.report({'workdir': workdir, **results})
  return None


def run(
  resolved: dict[str, Any], workdir: str, allow_change: tuple[str, ...] = ()
) -> dict[str, Any]:
  """Trains as a resolved config specifies; returns the results to report."""

  boards.check(resolved['log']['boards'])

  def train_one(config: dict[str, Any], workdir: str) -> dict[str, Any]:
    with workdirs.opened(workdir) as (directory, copies):
      workdirs.check(directory, config, allow_change)
      origin = origins.params(config['init_from'], directory)
      results = loop.train(config, directory, copies, origin)
      return results | testing.outcome(config, directory)

  return seeds.train(resolved, workdir, train_one)


if __name__ == '__main__':
  command.run(main, SECTIONS, origins.sections)
