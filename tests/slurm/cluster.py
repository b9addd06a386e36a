"""SLURM on one machine: a controller and two nodes, as root, in a folder."""

import contextlib
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

PACKAGES = ('slurm-wlm', 'munge')
NODES = ('first', 'second')
CONFIG = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A job that is requeued waits as long as its credential is good: 120 s.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
# It looks each second, not each half minute, for what may begin.
SchedulerParameters=sched_interval=1,bf_interval=1
MpiDefault=none
ReturnToService=2
NodeName={nodes[0]} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1
NodeName={nodes[1]} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1
# What is handed in to the second takes nodes away from what is in the first.
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=all Nodes=ALL Default=YES State=UP MaxTime=10 PriorityTier=1
PartitionName=urgent Nodes=ALL State=UP MaxTime=10 PriorityTier=9
"""


def install() -> None:
  """Installs what is missing, from Debian's packages."""
  if all(map(shutil.which, ('slurmctld', 'slurmd', 'munged'))):
    return
  quiet = {'env': os.environ | {'DEBIAN_FRONTEND': 'noninteractive'}}
  quiet |= {'stdout': subprocess.DEVNULL, 'check': True}
  subprocess.run(['apt-get', 'update', '-qq'], **quiet)
  # Daemons of our own, on ports of our own: not the system's.
  command = ['apt-get', 'install', '-qq', '-y', '--no-install-recommends']
  subprocess.run([*command, *PACKAGES], **quiet)


def free_ports(count: int) -> list[int]:
  """Returns ports that nobody uses at this moment."""
  with contextlib.ExitStack() as stack:
    probes = [stack.enter_context(socket.socket()) for _ in range(count)]
    for probe in probes:
      probe.bind(('127.0.0.1', 0))
    return [probe.getsockname()[1] for probe in probes]


@contextlib.contextmanager
def running(folder: pathlib.Path) -> Iterator[None]:
  """Starts all daemons, and ends them afterwards.

  Args:
    folder: Of everything that they write; its path is short, as that of a
      socket has to be.
  """
  key = folder / 'munge.key'
  key.write_bytes(secrets.token_bytes(1024))
  key.chmod(0o400)
  for name in ('state', *NODES):
    (folder / name).mkdir()
  config = folder / 'slurm.conf'
  config.write_text(
    CONFIG.format(
      host=socket.gethostname().partition('.')[0],
      folder=folder,
      ports=free_ports(3),
      nodes=NODES,
    )
  )
  os.environ['SLURM_CONF'] = str(config)
  munged = ['munged', '--force', f'--key-file={key}']
  for name in ('socket', 'log-file', 'pid-file', 'seed-file'):
    end = name.removesuffix('-file')
    munged.append(f'--{name}={folder}/munge.{end}')
  try:
    subprocess.run(munged, check=True)
    subprocess.run(['slurmctld'], check=True)
    for node in NODES:
      subprocess.run(['slurmd', '-N', node], check=True)
    wait_until_idle()
    yield
  finally:
    for path in folder.glob('*.pid'):
      _end(int(path.read_text()))


def wait_until_idle(seconds: float = 60) -> None:
  """Returns when both nodes are there."""
  limit = time.monotonic() + seconds
  while True:
    argv = [
      'sinfo',
      '--partition=all',
      '--noheader',
      '--Node',
      '--format=%N %T',
    ]
    told = subprocess.run(argv, capture_output=True, text=True, check=False)
    if told.stdout.split() == [w for node in NODES for w in (node, 'idle')]:
      return
    if time.monotonic() > limit:
      raise TimeoutError(f'The nodes are not there: {told.stdout}{told.stderr}')
    time.sleep(0.2)


def _end(process: int, seconds: float = 20) -> None:
  limit = time.monotonic() + seconds
  with contextlib.suppress(ProcessLookupError):
    os.kill(process, signal.SIGTERM)
    while time.monotonic() < limit:
      os.kill(process, 0)
      time.sleep(0.1)
    os.kill(process, signal.SIGKILL)
