"""One command on all workers of a TPU VM slice, which goes on by itself.

The project has to be on each worker, in --directory of the home, with what it
needs; docs/launching/tpu_pod.md says how. The processes of a slice find each other.
"""

import dataclasses
import pathlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from experiments.launch import job as jobs, rendered as calls, settings
from experiments.launch.job import Job
from experiments.launch.rendered import Command, Rendered
from lm.data import remote
from lm.types import UserError

PROGRAM = 'gcloud'
# What a worker's shell does; a name stands for its own files.
RUNS = 'kill -0 "$(cat {name}.pid 2>/dev/null)" 2>/dev/null'
START = """\
cd {directory} && mkdir -p runs/launch || exit
if {runs}; then
  echo "{name} is still running on $(hostname)." >&2
  exit 3
fi
{exports}nohup {command} </dev/null >>{name}.log 2>&1 &
echo $! >{name}.pid"""
# The first process alone: all learn of it, and stop after the same step.
STOP = """\
cd {directory} || exit
if ! {runs}; then
  echo "{name} is not running on $(hostname)." >&2
  exit 3
fi
kill -TERM "$(cat {name}.pid)\""""
LOGS = 'cat {directory}/{name}.log'


@dataclasses.dataclass(frozen=True)
class Options:
  """The settings of a job on a TPU slice.

  Args:
    tpu: Name of the slice.
    zone: Zone of the slice; by default the one that gcloud is set to.
    project: Google Cloud project of the slice; by default the one that gcloud is
      set to.
    directory: Directory of this project on each worker, relative to the home.
    python: The Python command on each worker, relative to that directory.
    gcloud: Any other argument of gcloud's ssh, such as --internal-ip; may be
      given several times.
    act: What to do: start a run; or, for one that was started, copy its logs
      here (logs) or let it save and end (stop).
  """

  tpu: str = ''
  zone: str = ''
  project: str = ''
  directory: str = 'lm'
  python: str = '.venv/bin/python'
  gcloud: Sequence[str] = ()
  act: Literal['start', 'logs', 'stop'] = 'start'


def check(job: Job, options: Options) -> None:
  """Raises UserError if the job is none for a slice."""
  if not options.tpu:
    raise UserError('--tpu is missing. Give the name of the slice.')
  if not remote.is_url(job.workdir):
    raise UserError(
      f'--workdir is {job.workdir!r}, which each worker has for itself. Give'
      ' what all of them see, such as gs://BUCKET/runs/NAME.'
    )
  if job.devices:
    raise UserError(
      f'--devices is {job.devices}, but a worker always has all of its TPUs.'
      ' Omit it.'
    )


def render(job: Job, options: Options) -> Rendered:
  """Returns the one call."""
  logs = logs_of(job)
  if options.act == 'logs':
    command = ssh(options, said(LOGS, job, options))
    gathered = Command((*command.argv, f'--output-directory={logs}'))
    return Rendered({}, (gathered,), folders=(logs,))
  text = STOP if options.act == 'stop' else START
  workers = '0' if options.act == 'stop' else 'all'
  return Rendered({}, (ssh(options, said(text, job, options), workers),))


def said(text: str, job: Job, options: Options) -> str:
  """Returns what a worker's shell is told."""
  name = f'runs/launch/{jobs.name_of(job)}'
  env = settings.of('tpu/tpu', job.devices) | jobs.variables(job.env)
  argv = jobs.argv(job, options.python, 'tpu')
  if limit := jobs.seconds(job.time_limit):
    # In the foreground it signals once: a second signal would not be a save.
    argv = ('timeout', '--foreground', '--signal=TERM', str(limit), *argv)
  exports = [
    f'export {key}={shlex.quote(value)}\n' for key, value in env.items()
  ]
  return text.format(
    directory=shlex.quote(options.directory),
    name=name,
    runs=RUNS.format(name=name),
    exports=''.join(exports),
    command=shlex.join(argv),
  )


def ssh(options: Options, command: str, workers: str = 'all') -> Command:
  """Returns the call that tells workers a command."""
  # It asks nothing, such as whether to make a key the first time.
  argv = ['gcloud', 'compute', 'tpus', 'tpu-vm', 'ssh', options.tpu, '--quiet']
  argv += [
    f'--{k}={v}' for k in ('zone', 'project') if (v := getattr(options, k))
  ]
  argv += [*options.gcloud, f'--worker={workers}', f'--command={command}']
  return Command(tuple(argv))


def logs_of(job: Job) -> pathlib.Path:
  """Returns where the workers' logs are gathered, as 0.log, 1.log, ..."""
  return pathlib.Path('runs/launch', jobs.name_of(job)).absolute()


def start(job: Job, options: Options, rendered: Rendered) -> dict[str, Any]:
  """Makes the call, and returns what finds the job again."""
  calls.submit(rendered)
  return {
    'id': jobs.name_of(job),
    **{key: getattr(options, key) for key in ('tpu', 'zone', 'project')},
    'gcloud': [*options.gcloud],
    'directory': options.directory,
    'logs': str(logs_of(job)),
  }


def is_alive(given: Mapping[str, Any]) -> bool:
  """Returns whether the first worker still runs a job."""
  calls.check_program(PROGRAM, 'tpu')
  keys = ('tpu', 'zone', 'project', 'gcloud')
  options = Options(**{key: given[key] for key in keys if key in given})
  runs = RUNS.format(name=f'runs/launch/{given["id"]}')
  asked = (
    f'cd {shlex.quote(given["directory"])} && if {runs}; then echo alive; fi'
  )
  return 'alive' in calls.call(ssh(options, asked, workers='0')).split()
