"""A JobSet on GKE: a pod for each host, which all see each other by name.

The image has the project in its working directory, with what it needs. With
--xpk it is xpk that makes the JobSet.
"""

import dataclasses
import json
import pathlib
import shlex
from collections.abc import Mapping
from typing import Any

import yaml

from experiments.launch import job as jobs, rendered as calls, settings
from experiments.launch.job import Job
from experiments.launch.rendered import Command, Rendered
from lm.data import remote
from lm.types import UserError

PROGRAM = 'kubectl'
PORT = 8476
WORKERS, CONTAINER = 'workers', 'train'
TPU, GPU = 'google.com/tpu', 'nvidia.com/gpu'
SPOT = 'cloud.google.com/gke-spot'
# What a JobSet of ours has, and xpk takes no flag for.
NOT_OF_XPK = (
  'accelerator',
  'topology',
  'namespace',
  'queue',
  'service_account',
)
# Of a user's mistake, after which no pod is started anew; after any other, all.
MISTAKE = UserError.status
OTHERS = '1,3-126'  # Which xpk wants named; from 127 on it starts them anyway.
INDEX = "metadata.annotations['batch.kubernetes.io/job-completion-index']"


@dataclasses.dataclass(frozen=True)
class Options:
  """The settings of a job on GKE.

  Args:
    image: Container image, with this project as its working directory.
    accelerator: Type of accelerator as GKE calls it, such as nvidia-h100-80gb or
      tpu-v5-lite-podslice.
    topology: Topology of the TPU slice, such as 4x4.
    namespace: The Kubernetes namespace.
    queue: The Kueue queue, if the cluster uses Kueue.
    service_account: Kubernetes service account that may read and write the
      bucket.
    python: The Python command in the image.
    save_seconds: Seconds that a pod has to save when it is told to stop.
    restarts: How many times all pods may be restarted.
    spot: Uses spot nodes, which may be taken away at any time; with --xpk this
      needs a cluster with autoprovisioning.
    xpk: Name of a cluster of xpk, which then submits the job; the current
      context of kubectl must be the same cluster.
    device: Type of device as xpk calls it, such as v5litepod-16 or h100-80gb-8.
  """

  image: str = ''
  accelerator: str = ''
  topology: str = ''
  namespace: str = 'default'
  queue: str = ''
  service_account: str = ''
  python: str = 'python'
  save_seconds: int = 120
  restarts: int = 100
  spot: bool = False
  xpk: str = ''
  device: str = ''

  @property
  def kind(self) -> str:
    """Of the nodes: tpu or gpu."""
    if self.xpk:  # It means TPUs by v5litepod-16, v6e-8 or tpu7x-8.
      return 'tpu' if self.device.startswith(('v', 'tpu')) else 'gpu'
    return 'tpu' if self.accelerator.startswith('tpu') else 'gpu'


def check(job: Job, options: Options) -> None:
  """Raises UserError if the job is none for a cluster."""
  needed = {'--image': options.image}
  if options.xpk:
    needed |= {'--device': options.device}
  else:
    needed |= {'--accelerator': options.accelerator, '--devices': job.devices}
  if options.kind == 'tpu' and not options.xpk:
    needed |= {'--topology': options.topology}
  if missing := [name for name, value in needed.items() if not value]:
    raise UserError(
      f'{" and ".join(missing)} cannot be left out with --to=gke; see'
      ' --to=gke --help.'
    )
  if options.xpk:
    _check_xpk(job, options)
  if options.topology and options.kind != 'tpu':
    raise UserError(
      f'--topology is {options.topology!r}, but --accelerator'
      f' {options.accelerator!r} is no TPU. Omit it.'
    )
  chips = chips_of(options.topology)
  if chips and chips != job.hosts * job.devices:
    raise UserError(
      f'--topology {options.topology} is of {chips} chips, but --hosts='
      f'{job.hosts} with --devices={job.devices} have {job.hosts * job.devices}.'
    )
  if not remote.is_url(job.workdir):
    raise UserError(
      f'--workdir is {job.workdir!r}, which is gone with the pod. Give what all'
      ' pods see, such as gs://BUCKET/runs/NAME.'
    )
  jobs.check_numbers(options, save_seconds=1, restarts=0)


def chips_of(topology: str) -> int:
  """Returns how many chips a topology has; 0: none is given.

  >>> chips_of('2x2x4')
  16
  """
  parts = topology.split('x') if topology else []
  if not all(part.isdecimal() and int(part) for part in parts):
    raise UserError(
      f'--topology is {topology!r}, but it is to be as 4x4 or 2x2x4.'
    )
  chips = 1 if parts else 0
  for part in parts:
    chips *= int(part)
  return chips


def render(job: Job, options: Options) -> Rendered:
  """Returns the manifest and the call that creates it, or that of xpk."""
  if options.xpk:
    return Rendered({}, (xpk(job, options),))
  name = jobs.name_of(job)
  path = pathlib.Path('runs/launch', f'{name}.yaml').absolute()
  text = yaml.safe_dump(manifest(job, options), sort_keys=False)
  create = kubectl(options.namespace, 'create', f'--filename={path}')
  return Rendered({path: text}, (create,))


def kubectl(namespace: str, *words: str) -> Command:
  """Returns a call of kubectl."""
  return Command((PROGRAM, f'--namespace={namespace}', *words))


def manifest(job: Job, options: Options) -> dict[str, Any]:
  """Returns the JobSet."""
  name = jobs.name_of(job)
  metadata: dict[str, Any] = {'name': name, 'namespace': options.namespace}
  if options.queue:
    metadata['labels'] = {'kueue.x-k8s.io/queue-name': options.queue}
  if options.kind == 'tpu':  # A slice is a pool of nodes, and all of one.
    metadata['annotations'] = {
      'alpha.jobset.sigs.k8s.io/exclusive-topology': (
        'cloud.google.com/gke-nodepool'
      )
    }
  pods: dict[str, Any] = {
    'parallelism': job.hosts,
    'completions': job.hosts,
    'completionMode': 'Indexed',
    'backoffLimit': 0,  # All of them are started anew together.
    'podFailurePolicy': {
      'rules': [
        {
          'action': 'FailJob',
          'onExitCodes': {
            'containerName': CONTAINER,
            'operator': 'In',
            'values': [MISTAKE],
          },
        }
      ]
    },
    'template': {'spec': pod(job, options)},
  }
  if limit := jobs.seconds(job.time_limit):
    pods['activeDeadlineSeconds'] = limit
  return {
    'apiVersion': 'jobset.x-k8s.io/v1alpha2',
    'kind': 'JobSet',
    'metadata': metadata,
    'spec': {
      'failurePolicy': {
        'maxRestarts': options.restarts,
        'rules': [
          {
            'name': 'over',
            'action': 'FailJobSet',
            'onJobFailureReasons': ['DeadlineExceeded', 'PodFailurePolicy'],
          }
        ],
      },
      'network': {'enableDNSHostnames': True},
      'replicatedJobs': [
        {'name': WORKERS, 'replicas': 1, 'template': {'spec': pods}}
      ],
    },
  }


def pod(job: Job, options: Options) -> dict[str, Any]:
  """Returns the pod of a host."""
  selector = {'cloud.google.com/gke-accelerator': options.accelerator}
  if options.kind == 'tpu':
    selector = {
      'cloud.google.com/gke-tpu-accelerator': options.accelerator,
      'cloud.google.com/gke-tpu-topology': options.topology,
    }
  resource = TPU if options.kind == 'tpu' else GPU
  tolerations = [{'key': resource, 'operator': 'Exists'}]
  if options.spot:  # Pools of such nodes are often tainted with the same key.
    selector[SPOT] = 'true'
    tolerations.append({'key': SPOT, 'operator': 'Exists'})
  spec: dict[str, Any] = {
    'restartPolicy': 'Never',
    'terminationGracePeriodSeconds': options.save_seconds,
    'nodeSelector': selector,
    'tolerations': tolerations,
    'containers': [
      {
        'name': CONTAINER,
        'image': options.image,
        'command': [*map(escaped, argv_of(job, options))],
        'env': environment(job, options),
        'ports': [{'containerPort': PORT}],
        'resources': {'limits': {resource: job.devices}},
      }
    ],
  }
  if options.service_account:
    spec['serviceAccountName'] = options.service_account
  if options.kind == 'gpu':
    # NCCL goes through shared memory, of which a container has 64 MB.
    shared = {'name': 'shared', 'emptyDir': {'medium': 'Memory'}}
    mount = {'name': 'shared', 'mountPath': '/dev/shm'}
    spec['volumes'] = [shared]
    spec['containers'][0]['volumeMounts'] = [mount]
  return spec


def argv_of(job: Job, options: Options) -> tuple[str, ...]:
  """Returns the command of each pod."""
  return jobs.argv(job, options.python, options.kind)


def escaped(text: str) -> str:
  """Returns a text in which Kubernetes puts no variable in the place of $(A)."""
  return text.replace('$(', '$$(')


def environment(job: Job, options: Options) -> list[dict[str, Any]]:
  """Returns the variables of a pod: settings, and how processes meet."""
  name = jobs.name_of(job)
  env = settings.of(f'gke/{options.kind}', job.devices)
  if job.hosts > 1:
    # JobSet calls its first pod so.
    first = f'{name}-{WORKERS}-0-0.{name}:{PORT}'
    env |= {
      'JAX_COORDINATOR_ADDRESS': first,
      'JAX_NUM_PROCESSES': str(job.hosts),
    }
  own = jobs.variables(job.env)
  env |= {key: escaped(value) for key, value in own.items()}
  found: list[dict[str, Any]] = [
    {'name': key, 'value': value} for key, value in env.items()
  ]
  if job.hosts > 1:
    field = {'fieldRef': {'fieldPath': INDEX}}
    found.append({'name': 'JAX_PROCESS_ID', 'valueFrom': field})
  return found


def xpk(job: Job, options: Options) -> Command:
  """Returns the call of xpk, which knows the nodes by their device."""
  is_tpu = options.kind == 'tpu'
  nodes = [f'--tpu-type={options.device}']
  if not is_tpu:
    nodes = [f'--device-type={options.device}', f'--num-nodes={job.hosts}']
  argv = [
    *('xpk', 'workload', 'create', f'--cluster={options.xpk}'),
    f'--workload={jobs.name_of(job)}',
    *nodes,
    f'--docker-image={options.image}',
    f'--max-restarts={options.restarts}',
    f'--restart-on-exit-codes={OTHERS}',
    f'--termination-grace-period-seconds={options.save_seconds}',
    f'--command={escaped(shlex.join(argv_of(job, options)))}',
    *(['--spot'] if options.spot else []),
  ]
  env = settings.of(f'gke/{options.kind}', job.devices)
  if not is_tpu and job.hosts > 1:  # In variables that xpk sets.
    first = '$(JOBSET_NAME)-$(REPLICATED_JOB_NAME)-0-0.$(JOBSET_NAME)'
    env |= {
      'JAX_COORDINATOR_ADDRESS': f'{first}:{PORT}',
      'JAX_NUM_PROCESSES': '$(NNODES)',
      'JAX_PROCESS_ID': '$(NODE_RANK)',
    }
  env |= {key: escaped(v) for key, v in jobs.variables(job.env).items()}
  return Command((*argv, *(f'--env={k}={v}' for k, v in env.items())))


def _check_xpk(job: Job, options: Options) -> None:
  """Raises UserError if xpk would not do what was asked for."""
  ours = {field: getattr(options, field) for field in NOT_OF_XPK}
  ours |= {'time_limit': job.time_limit}
  defaults = Options()
  if lost := [f for f, v in ours.items() if v != getattr(defaults, f, '')]:
    raise UserError(
      f'--{" and --".join(lost)} cannot be given with --xpk, whose cluster'
      ' decides that, or which has none. Omit them, or omit --xpk.'
    )
  quoted = [*job.env]
  if options.kind == 'gpu':  # With TPUs the command is a variable, too.
    quoted.append(shlex.join(argv_of(job, options)))
  if wrong := [text for text in quoted if {'"', '\\'} & {*text}]:
    raise UserError(
      'xpk puts variables, and the command of a job with GPUs, between quotes as'
      ' they are, so there can be no " or \\ in them, nor a \' in a command:'
      f' {wrong[0]}. Write that into the config, or omit --xpk.'
    )


def start(job: Job, options: Options, rendered: Rendered) -> dict[str, Any]:
  """Creates the JobSet, in the place of one that has ended."""
  name = jobs.name_of(job)
  told = {'id': name, 'namespace': options.namespace}
  if options.xpk:
    calls.check_program('xpk', 'gke')
  if there := _there(told):  # xpk would ask whether to overwrite it.
    if not _has_ended(there):
      raise UserError(
        f'There is a JobSet {name} that has not ended. Wait for it, end it'
        f' with kubectl delete jobset {name}, or give another --name.'
      )
    # Its pods as well, whose names the new ones have. Only then: where there
    # was none, one that is there now is another launcher's.
    flags = ('--cascade=foreground', '--ignore-not-found')
    calls.call(kubectl(options.namespace, 'delete', 'jobset', name, *flags))
  calls.submit(rendered)
  return told


def is_alive(given: Mapping[str, Any]) -> bool:
  """Returns whether a JobSet is there that has not come to its end."""
  there = _there(given)
  return bool(there) and not _has_ended(there)


def _there(given: Mapping[str, Any]) -> dict[str, Any]:
  """Returns a JobSet as Kubernetes has it; {}: there is none."""
  calls.check_program(PROGRAM, 'gke')
  words = ('get', 'jobset', given['id'], '--ignore-not-found', '--output=json')
  text = calls.call(kubectl(given['namespace'], *words))
  return json.loads(text) if text.strip() else {}


def _has_ended(there: Mapping[str, Any]) -> bool:
  return bool(there.get('status', {}).get('terminalState'))
