"""N processes on this machine, which end together."""

import dataclasses
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

from absl import logging

from experiments.launch import job as jobs, settings
from experiments.launch.job import Job
from experiments.launch.rendered import Command, Rendered
from lm.data import remote
from lm.training import workdir as workdirs
from lm.types import UserError

PROGRAM = sys.executable
POLL = 0.1  # Seconds.
# Who waits for one that has died learns of it after config.hosts.silence: long,
# where all can be seen. Who is told to stop saves first.
AFTER_DEATH, AFTER_SIGNAL = 15, 600


@dataclasses.dataclass(frozen=True)
class Options:
  """The settings of a job on this machine.

  Args:
    port: Port at which the processes meet; 0, the default, means a free one.
  """

  port: int = 0


def render(job: Job, options: Options) -> Rendered:
  """Returns the processes of a job."""
  port = options.port or (free_port() if job.hosts > 1 else 0)
  return Rendered(
    {},
    tuple(
      Command(jobs.argv(job, PROGRAM), environment(job, process, port))
      for process in range(job.hosts)
    ),
  )


def environment(job: Job, process: int, port: int) -> dict[str, str]:
  """Returns what a process is told of the others, and of its own devices.

  Args:
    job: Of all of them.
    process: Which of them this is.
    port: At which they meet.
  """
  env = settings.of('local/any', job.devices)
  gpus = visible_gpus()
  if _uses_gpus(job):
    # What this shell has was chosen for this machine, and stays.
    gpu = settings.of('local/gpu', job.devices)
    env |= {key: os.environ.get(key, value) for key, value in gpu.items()}
  if job.devices and gpus:  # Each would take all of them.
    first = process * job.devices
    env['CUDA_VISIBLE_DEVICES'] = ','.join(gpus[first : first + job.devices])
  if job.hosts > 1:
    env |= {
      'JAX_COORDINATOR_ADDRESS': f'127.0.0.1:{port}',
      'JAX_NUM_PROCESSES': str(job.hosts),
      'JAX_PROCESS_ID': str(process),
    }
  return env | jobs.variables(job.env)


def visible_gpus(files: pathlib.Path = pathlib.Path('/dev')) -> list[str]:
  """Returns what CUDA calls the GPUs that we may use; there may be none.

  Args:
    files: Where NVIDIA's driver has a file for each.
  """
  there = len([*files.glob('nvidia[0-9]*')])
  told = os.environ.get('CUDA_VISIBLE_DEVICES')
  if told is None or not there:
    return [str(number) for number in range(there)]
  return [] if told in ('', '-1') else told.split(',')


def free_port() -> int:
  """Returns a port that nobody uses at this moment."""
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    return probe.getsockname()[1]


def start(job: Job, options: Options, rendered: Rendered) -> dict[str, Any]:
  """Runs the processes until all have ended; returns the status and the logs."""
  del options
  logs = logs_of(job)
  logs.mkdir(parents=True, exist_ok=True)
  with workdirs.held(logs):
    status = supervise(rendered.commands, logs, jobs.seconds(job.time_limit))
  return {'status': status, 'workdir': job.workdir, 'logs': str(logs)}


def logs_of(job: Job) -> pathlib.Path:
  """Returns where the processes' logs go."""
  if remote.is_url(job.workdir):
    return remote.home() / 'launch' / jobs.name_of(job)
  return pathlib.Path(job.workdir).absolute() / 'launch'


def is_alive(given: Mapping[str, Any]) -> bool:
  """Returns False: what runs here holds its workdir, and leaves no note."""
  del given
  return False


def supervise(
  commands: Sequence[Command], logs: pathlib.Path, limit: int = 0
) -> int:
  """Runs processes, ends all when one fails, and returns the first bad status.

  SIGTERM and SIGINT are handed on to each, once; the end of the time, and of the
  terminal that we are in, are SIGTERM to them.

  Args:
    commands: One of each process.
    logs: Where `process-N.log` goes; the first is shown here as well.
    limit: Seconds after which they are told to stop; 0: never.
  """
  asked: list[signal.Signals] = []
  meaning = {number: number for number in (signal.SIGTERM, signal.SIGINT)}
  if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # As nohup has it.
    meaning[signal.SIGHUP] = signal.SIGTERM
  before = {
    number: signal.signal(number, lambda n, _: asked.append(meaning[n]))
    for number in meaning
  }
  running: list[subprocess.Popen] = []
  paths = [logs / f'process-{number}.log' for number in range(len(commands))]
  paths[0].touch()
  try:
    with paths[0].open('rb') as shown:
      shown.seek(0, os.SEEK_END)
      for path, command in zip(paths, commands):
        with path.open('ab') as log:
          running.append(_begin(command, log))
      return _watch(running, asked, shown, limit)
  finally:
    for process in running:
      process.kill()
      process.wait()
    for number, handler in before.items():
      signal.signal(number, handler)


def _begin(command: Command, log: BinaryIO) -> subprocess.Popen:
  return subprocess.Popen(
    command.argv,
    env=os.environ | command.env,
    stdin=subprocess.DEVNULL,
    stdout=log,
    stderr=log,
    start_new_session=True,  # Ctrl-C reaches them once: by us.
  )


def _watch(
  running: Sequence[subprocess.Popen],
  asked: list[signal.Signals],
  shown: BinaryIO,
  limit: int,
) -> int:
  """Returns the first status that is not 0, when all processes have ended."""
  began, told, first, deadline = time.monotonic(), 0, 0, float('inf')
  while True:
    alive = [process for process in running if process.poll() is None]
    sys.stderr.buffer.write(shown.read())
    sys.stderr.flush()
    ended = [process.returncode for process in running if process not in alive]
    if not first and any(ended):
      bad = next(status for status in ended if status)
      first = bad if bad > 0 else 128 - bad  # As a shell has it of a signal.
      if not told:
        number = [process.returncode for process in running].index(bad)
        logging.error(
          'Process %d has failed with status %d; the others end.', number, first
        )
        deadline = time.monotonic() + AFTER_DEATH
    if not alive:
      return first
    if limit and not asked and time.monotonic() - began > limit:
      logging.warning('The time is over.')
      asked.append(signal.SIGTERM)
    for number in asked[told:]:
      logging.warning('%s is handed on to all processes.', number.name)
      for process in alive:
        process.send_signal(number)
      deadline = time.monotonic() + AFTER_SIGNAL
    told = len(asked)
    if time.monotonic() > deadline:
      for process in alive:
        process.kill()
    time.sleep(POLL)


def check(job: Job, options: Options) -> None:
  """Raises UserError if the job is none for this machine."""
  if not 0 <= options.port < 65536:
    raise UserError(
      f'--port is {options.port}, but ports are from 1 to 65535. Omit it for'
      ' one that is free.'
    )
  _check_gpus(job)
  cores = os.cpu_count() or 1
  if job.hosts > 4 * cores:
    raise UserError(
      f'--hosts is {job.hosts}, but --to=local starts them all on this machine,'
      f' which has {cores} cores. Give fewer.'
    )


def _uses_gpus(job: Job) -> bool:
  platforms = os.environ | jobs.variables(job.env)
  return bool(visible_gpus()) and platforms.get('JAX_PLATFORMS') != 'cpu'


def _check_gpus(job: Job) -> None:
  gpus = len(visible_gpus())
  if not _uses_gpus(job):
    return
  short = gpus < job.hosts * job.devices
  if short or (job.hosts > 1 and not job.devices):
    raise UserError(
      f'--hosts is {job.hosts} and --devices {job.devices}, but {gpus} GPUs are'
      ' here, and each process needs its own. Give --devices so that'
      f' {job.hosts} times as many are here, or --env=JAX_PLATFORMS=cpu.'
    )
