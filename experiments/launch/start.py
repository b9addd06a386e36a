"""A job is checked, and then started on a platform or shown."""

import os
import types
from collections.abc import Mapping
from typing import Any

from absl import logging

from experiments import config_file, origins
from experiments.launch import (
  given,
  gke,
  job as jobs,
  local,
  rendered,
  slurm,
  tpu,
)
from experiments.launch.job import Job
from lm.training import boards, remote_run, seeds, workdir as workdirs
from lm.training.sections import SECTIONS

PLATFORMS: Mapping[str, types.ModuleType] = {
  'local': local,
  'slurm': slurm,
  'tpu': tpu,
  'gke': gke,
}
HERE = ('local', 'slurm')  # These run this Python, with this user's home.


def resolve(to: str, job: Job, options: Any) -> dict[str, Any]:
  """Returns the whole config of a job, which can be.

  Raises:
    UserError: A key or a value of it cannot be; see `check`.
  """
  config = config_file.load(*job.config, SECTIONS, origins.sections).to_dict()
  check(to, job, options, config)
  return config


def check(to: str, job: Job, options: Any, config: Mapping[str, Any]) -> None:
  """Raises UserError if a job is none, or none for its devices or platform."""
  if _starts(options):
    jobs.check_config(config)
    jobs.check_layout(job, config)
    seeds.check(config, job.workdir)
    if to in HERE:
      env = os.environ | jobs.variables(job.env)
      boards.check(config['log']['boards'], env)
  PLATFORMS[to].check(job, options)


def show(to: str, job: Job, options: Any) -> dict[str, Any]:
  """Prints all that would be done, and returns it."""
  resolve(to, job, options)
  made = PLATFORMS[to].render(job, options)
  print(rendered.shown(made))
  return {
    'to': to,
    'files': [str(path) for path in made.files],
    'commands': [rendered.told(command) for command in made.commands],
  }


def start(to: str, job: Job, options: Any) -> dict[str, Any]:
  """Starts a job, and returns what it is known by.

  Raises:
    UserError: It cannot be; then nothing was started.
  """
  platform, config = PLATFORMS[to], resolve(to, job, options)
  rendered.check_program(platform.PROGRAM, to)
  made = platform.render(job, options)
  if not _starts(options):
    return {'to': to, 'act': options.act, **platform.start(job, options, made)}
  there = remote_run.local_files(job.workdir)
  workdirs.check(there, config, job.allow_change)
  is_alive = {name: each.is_alive for name, each in PLATFORMS.items()}
  with given.alone(job.workdir, is_alive) as note:
    if platform is not local:
      told = {'to': to, **platform.start(job, options, made)}
      note(told)
  if platform is local:  # Which holds the workdir itself, as long as it lives.
    told = {'to': to, **platform.start(job, options, made)}
  logging.info('%s', told)
  return told


def _starts(options: Any) -> bool:
  """Whether something is started, not asked of what was."""
  return getattr(options, 'act', 'start') == 'start'
