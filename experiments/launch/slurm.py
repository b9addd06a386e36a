"""A batch script for SLURM, which goes on until the run has ended.

SLURM starts it anew when a node fails and when the job is preempted. When its
time is nearly over the run is told to stop, saves, and the script asks for
another sitting; so it does when the run could not reach what it needs.
"""

import dataclasses
import os
import pathlib
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from experiments.launch import job as jobs, rendered as calls, settings
from experiments.launch.job import Job
from experiments.launch.rendered import Command, Rendered
from lm.data import remote
from lm.types import TransientError, UserError

PROGRAM = 'sbatch'

SCRIPT = """\
#!/usr/bin/env bash
{directives}

set -uo pipefail
{exports}

# SLURM itself ends this job, to requeue it or for good: nothing is to be done.
ended_by_slurm=
trap 'ended_by_slurm=1' TERM

# Not at once when one process has ended: the others may still save.
srun --kill-on-bad-exit=0 --wait={wait} {srun} \\
  {command} &
step=$!
wait "$step"
status=$?
while kill -0 "$step" 2>/dev/null; do  # A signal has ended the wait.
  wait "$step"
  status=$?
done

# 143: it was told to stop before its time is over, and has saved.
# {transient}: what it could not reach may be there the next time.
if [[ ( $status -eq 143 || $status -eq {transient} ) && -z $ended_by_slurm ]]; then
  # It counts all restarts, whatever for, so this ends.
  if (( ${{SLURM_RESTART_COUNT:-0}} < {restarts} )); then
    scontrol requeue "$SLURM_JOB_ID"
  else
    echo "It is not started anew: --restarts is {restarts}." >&2
  fi
fi
exit "$status"
"""


@dataclasses.dataclass(frozen=True)
class Options:
  """The settings of a job under SLURM.

  Args:
    nodes: Kind of nodes: gpu or cpu.
    gpu: Type of GPU, such as a100, where the cluster has several.
    partition: The SLURM partition.
    account: The account that is charged.
    qos: The quality of service that the job asks for.
    constraint: Features that the nodes must have.
    cpus: Number of CPUs on each host; 0, the default, reserves whole nodes.
    memory: Memory of each node, such as 64G; by default all of it if whole nodes
      are reserved, else what the cluster gives.
    save_seconds: Seconds before the time limit at which the run is told to save.
    restarts: How many times the job may be restarted, for whatever reason.
    sbatch: Any other argument of sbatch; may be given several times.
  """

  nodes: Literal['gpu', 'cpu'] = 'gpu'
  gpu: str = ''
  partition: str = ''
  account: str = ''
  qos: str = ''
  constraint: str = ''
  cpus: int = 0
  memory: str = ''
  save_seconds: int = 120
  restarts: int = 100
  sbatch: Sequence[str] = ()


def check(job: Job, options: Options) -> None:
  """Raises UserError if the job is none for SLURM."""
  if not job.devices:
    raise UserError(
      '--devices is missing. Say how many each host has, and SLURM gives as'
      ' many GPUs.'
    )
  if options.gpu and options.nodes == 'cpu':
    raise UserError(
      f'--gpu is {options.gpu!r}, but --nodes is cpu. Omit one of them.'
    )
  limit = jobs.seconds(job.time_limit)
  if limit and options.save_seconds >= limit:
    raise UserError(
      f'--save_seconds is {options.save_seconds}, but --time_limit is'
      f' {job.time_limit}, so the run would be told to save before it begins.'
      ' Lower the first or raise the second.'
    )
  jobs.check_numbers(options, save_seconds=1, cpus=0, restarts=0)


def render(job: Job, options: Options) -> Rendered:
  """Returns the script of a job, and the call that hands it in."""
  folder = folder_of(job)
  path = folder / f'{jobs.name_of(job)}.sh'
  return Rendered(
    {path: script(job, options)},
    (Command(('sbatch', '--parsable', str(path))),),
  )


def folder_of(job: Job) -> pathlib.Path:
  """Returns where the script and the logs of a job are."""
  if remote.is_url(job.workdir):
    return pathlib.Path('runs/launch').absolute()
  return pathlib.Path(job.workdir).absolute() / 'launch'


def script(job: Job, options: Options) -> str:
  """Returns the batch script."""
  logs = str(folder_of(job)).replace('%', '%%')
  env = settings.of(f'slurm/{options.nodes}', job.devices)
  env |= jobs.variables(job.env)
  exports = [f'export {key}={shlex.quote(text)}' for key, text in env.items()]
  srun = [f'--output={logs}/%j-process-%t.log', '--open-mode=append']
  if options.cpus:  # srun does not look at what sbatch was given.
    srun.append(f'--cpus-per-task={options.cpus}')
  return SCRIPT.format(
    directives='\n'.join(
      f'#SBATCH {shlex.quote(line)}' for line in directives(job, options, logs)
    ),
    exports='\n'.join(exports),
    srun=shlex.join(srun),
    wait=options.save_seconds,
    command=shown(jobs.argv(job, sys.executable, options.nodes)),
    restarts=options.restarts,
    transient=TransientError.status,
  )


def shown(argv: Sequence[str]) -> str:
  """Returns a command for a script, a flag on each line."""
  lines = [shlex.join(argv[:3]), *map(shlex.quote, argv[3:])]
  return ' \\\n    '.join(lines)


def directives(job: Job, options: Options, logs: str) -> list[str]:
  """Returns the arguments of sbatch, as the script has them.

  Args:
    job: That is handed in.
    options: Of the cluster.
    logs: Where they go, as SLURM reads it.
  """
  lines = [
    f'--job-name={jobs.name_of(job)}',
    f'--nodes={job.hosts}',
    '--ntasks-per-node=1',
    f'--chdir={os.getcwd()}',
    f'--output={logs}/%j.log',
    '--open-mode=append',  # A sitting after the other.
    '--requeue',
  ]
  if options.nodes == 'gpu':
    kind = f'{options.gpu}:' if options.gpu else ''
    lines.append(f'--gpus-per-node={kind}{job.devices}')
  if options.cpus:
    lines.append(f'--cpus-per-task={options.cpus}')
  else:
    lines.append('--exclusive')
  memory = options.memory or ('' if options.cpus else '0')
  lines += [f'--mem={memory}'] if memory else []
  if job.time_limit:
    lines.append(f'--time={slurm_time(job.time_limit)}')
  # To the run, not to the script: a second signal would kill it. Also without a
  # limit of the job's own: the partition has one.
  lines.append(f'--signal=TERM@{options.save_seconds}')
  for name in ('partition', 'account', 'qos', 'constraint'):
    if text := getattr(options, name):
      lines.append(f'--{name}={text}')
  return [*lines, *options.sbatch]


def slurm_time(time_limit: str) -> str:
  """Returns a time limit as SLURM reads it, in whole minutes, rounded up.

  >>> slurm_time('1-02:00:30')
  '1561'
  """
  return str(-(-jobs.seconds(time_limit) // 60))


def start(job: Job, options: Options, rendered: Rendered) -> dict[str, Any]:
  """Hands the job in, and returns its number."""
  del options
  printed = calls.submit(rendered).strip()
  number, _, cluster = printed.partition(';')
  if not number.isdecimal():
    raise UserError(f'sbatch says {printed!r}, which is no number of a job.')
  logs = folder_of(job)
  return {'id': number, 'cluster': cluster, 'log': f'{logs}/{number}.log'}


def is_alive(given: Mapping[str, Any]) -> bool:
  """Returns whether SLURM still has a job that was handed in."""
  calls.check_program('squeue', 'slurm')
  argv = ['squeue', '--noheader', '--format=%T', f'--jobs={given["id"]}']
  if given.get('cluster'):
    argv.append(f'--clusters={given["cluster"]}')
  done = subprocess.run(argv, capture_output=True, text=True, check=False)
  if done.returncode and 'Invalid job id' not in done.stderr:
    raise UserError(f'{shlex.join(argv)} has failed: {done.stderr.strip()}')
  return bool(re.search(r'^[A-Z]', done.stdout, flags=re.M))
