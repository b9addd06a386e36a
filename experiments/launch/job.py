"""A job, whatever it runs on, and what can be wrong with it."""

import dataclasses
import hashlib
import math
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.config_file import Asked
from lm import tasks
from lm.data import datasets, remote
from lm.tasks import labelled
from lm.training import assembly
from lm.types import UserError

MODULE = 'experiments.train'
LONGEST_NAME = 40  # Kubernetes adds to it, and has 63 letters for all.
_DURATION = re.compile(r'(?:(\d+)-)?(\d+):([0-5]\d):([0-5]\d)')
_VARIABLE = re.compile(r'[A-Za-z_]\w*')
_NAME = re.compile(r'[a-z]([a-z0-9-]*[a-z0-9])?')


@dataclasses.dataclass(frozen=True)
class Job:
  """What is to be trained, and on how much.

  Args:
    config: FILE.py or FILE.py:VARIANT; any field can be overridden, as in
      --config.model.num_layers=2.
    workdir: Where all output goes, a directory or the URL of one, which every
      host must see; running the same command again resumes from there.
    hosts: Number of hosts, with one process each.
    devices: Number of devices on each host; 0, the default, means all that are
      there. SLURM, and GKE without --xpk, need another number; a TPU pod (--to=tpu)
      takes no other.
    time_limit: [DAYS-]HOURS:MINUTES:SECONDS, after which the run saves and
      ends, and under SLURM is started anew; by default the limit of the
      platform itself, if it has one.
    env: KEY=VALUE, an environment variable of the run; may be given several
      times.
    name: Name of the job on the platform; by default made from the workdir.
    allow_change: The same as in experiments.train.
  """

  config: Asked
  workdir: str
  hosts: int = 1
  devices: int = 0
  time_limit: str = ''
  env: Sequence[str] = ()
  name: str = ''
  allow_change: tuple[str, ...] = ()

  def __post_init__(self):
    variables(self.env)
    seconds(self.time_limit)
    if self.hosts < 1 or self.devices < 0:
      raise UserError(
        f'--hosts is {self.hosts} and --devices {self.devices}. Give 1 host or'
        ' more, and the devices of each, or omit these.'
      )
    if not self.workdir or '\n' in self.workdir:
      raise UserError(
        f'--workdir is {self.workdir!r}, but it is to be a directory or a URL.'
      )
    if self.name and not is_name(self.name):
      raise UserError(
        f'--name is {self.name!r}, but a name has up to {LONGEST_NAME} small'
        ' letters, digits and dashes, begins with a letter and does not end'
        ' with a dash.'
      )


def is_name(text: str) -> bool:
  """Returns whether every platform takes a text as a name."""
  return len(text) <= LONGEST_NAME and bool(_NAME.fullmatch(text))


def name_of(job: Job) -> str:
  """Returns its name, else one that no other workdir gives."""
  if job.name:
    return job.name
  place = job.workdir.rstrip('/')
  place = place if remote.is_url(place) else os.path.abspath(place)
  end = re.sub('[^a-z0-9]+', '-', place.rsplit('/', 1)[-1].lower())
  whole = hashlib.sha256(place.encode()).hexdigest()[:6]
  return re.sub('-+', '-', f'lm-{end[: LONGEST_NAME - 10]}-{whole}')


def check_numbers(options: Any, **least: int) -> None:
  """Raises UserError if a number of a platform's options is too small."""
  for name, smallest in least.items():
    if (number := getattr(options, name)) < smallest:
      raise UserError(f'--{name} is {number}, but must be at least {smallest}.')


def variables(texts: Sequence[str]) -> dict[str, str]:
  """Returns variables of an environment.

  >>> variables(['A=1', 'B=x=y'])
  {'A': '1', 'B': 'x=y'}
  """
  found = {}
  for text in texts:
    key, equals, value = text.partition('=')
    if not equals or not _VARIABLE.fullmatch(key) or '\n' in value:
      raise UserError(
        f'--env is {text!r}, but it is to be KEY=VALUE, in one line. Give it'
        ' once for each variable.'
      )
    found[key] = value
  return found


def seconds(time_limit: str) -> int:
  """Returns a time limit in seconds; 0: there is none.

  >>> seconds('1-02:00:30')
  93630
  """
  if not time_limit:
    return 0
  match = _DURATION.fullmatch(time_limit)
  days, hours, minutes, rest = map(int, match.groups('0')) if match else [0] * 4
  total = ((days * 24 + hours) * 60 + minutes) * 60 + rest
  if not total:
    raise UserError(
      f'--time_limit is {time_limit!r}, but it is to be'
      ' [DAYS-]HOURS:MINUTES:SECONDS, such as 4:00:00.'
    )
  return total


def argv(job: Job, python: str = 'python', kind: str = '') -> tuple[str, ...]:
  """Returns what each process of a job is, as a user could type it.

  Args:
    job: The job.
    python: The Python command.
    kind: Of the devices that the run must have: cpu, gpu or tpu; '': any.
  """
  path, overrides = job.config
  flags = [f'--config={path}', f'--workdir={job.workdir}']
  if kind:
    overrides = {'hosts.expected_kind': kind, **overrides}
  if job.hosts > 1:
    overrides = {'hosts.expected_processes': str(job.hosts), **overrides}
  flags += [f'--config.{key}={text}' for key, text in overrides.items()]
  flags += [f'--allow_change={key}' for key in job.allow_change]
  return (python, '-m', MODULE, *flags)


def check_config(config: Mapping[str, Any]) -> None:
  """Raises what a run itself would, before it needs its text or its devices.

  Args:
    config: The whole of it.
  """
  check_data(config)
  assembly.without_devices(config)


def check_data(config: Mapping[str, Any]) -> None:
  """Raises what a run itself would that is not told where its text is.

  If it is told, nobody looks there: that may be where only the job can.

  Args:
    config: The whole of it.
  """
  data = config['data']
  if assembly.is_task(config):
    if not data['train']:  # What learns a tokenizer asks for records first.
      kind = tasks.kind_of(config['task']['name'])
      labelled.build(kind, config['seed'], **{**data, 'tokenizer': 'bytes'})
    return
  datasets.check(**data)


def check_layout(job: Job, config: Mapping[str, Any]) -> None:
  """Raises UserError if a job's devices do not make the mesh of its config.

  Args:
    job: Without `devices`, how many -1 stands for is known when it has begun.
    config: The whole of it.
  """
  sizes = {k: v for k, v in config['parallel'].items() if k != 'kind'}
  sizes = sizes or {'data': -1}  # Of pmap, which has no choice.
  known = math.prod(size for size in sizes.values() if size != -1)
  rest, there = 1, job.hosts * job.devices
  if there:
    free = -1 in sizes.values()
    if known < 1 or there % known or (not free and known != there):
      shape = ' x '.join(f'{axis} {size}' for axis, size in sizes.items())
      raise UserError(
        f'--hosts={job.hosts} with --devices={job.devices} are {there} devices,'
        f' but config.parallel is {shape}. Let their product be {there}; one of'
        ' them may be -1, for the rest.'
      )
    rest = there // known
  sizes = {k: rest if size == -1 else size for k, size in sizes.items()}
  assembly.check_batches(config, {'fsdp': 1, **sizes})
