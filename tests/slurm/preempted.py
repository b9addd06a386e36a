"""A run under SLURM, told to stop and preempted, ends as one left in peace.

  make test-slurm

It needs root and Debian's packages, of which it installs slurm-wlm. The
launcher hands in a run on two nodes. First it is told that its time is nearly
over, and its script asks for another sitting; then a job of a partition that
comes first preempts it.
"""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import jax
import numpy as np

from lm.training import checkpoints, run_log
from tests.slurm import cluster

ROOT = pathlib.Path(__file__).parents[2]
NUM_STEPS = 1200
SIZES = (
  f'num_steps={NUM_STEPS}',
  'batch_size=8',
  'model.num_layers=1',
  'model.num_heads=2',
  'model.head_dim=8',
  'model.embed_dim=16',
  'model.mlp_dim=32',
  'model.residual_dropout=0.1',
  'data.length=32',
  'log.every=20',
  'log.sample_every=0',
  'log.boards=()',
  'eval.every=0',
  f'checkpoint.every={NUM_STEPS}',  # What is saved before is for a signal.
)
SECONDS = 120  # For any one thing to happen, on a machine that is busy.


def main() -> None:
  """Does it all, and raises an exception if anything is not as it is to be."""
  if os.geteuid():
    sys.exit('SLURM is started by root. Call it as root: sudo make test-slurm')
  began = time.monotonic()
  cluster.install()
  with tempfile.TemporaryDirectory(prefix='slurm-') as name:
    folder = pathlib.Path(name)
    os.environ['LM_CACHE'] = str(folder / 'cache')
    os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', str(folder / 'jax'))
    os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0'
    # A comma, a space and a sign that SLURM itself reads in paths.
    interrupted, alone = folder / 'a run, 100%j', folder / 'alone'
    with cluster.running(folder):
      try:
        interrupt(interrupted, *cluster.free_ports(1))
      except BaseException:
        for log in [*folder.glob('*.log'), *interrupted.glob('launch/*.log')]:
          print(f'--- {log}\n{log.read_text()[-3000:]}', file=sys.stderr)
        raise
    launch(alone, '--to=local')
    assert rows(interrupted) == rows(alone)
    assert len(rows(alone)) == NUM_STEPS // 20 + 1
    assert digest(interrupted) == digest(alone)
    text = digest(alone)[:12]
  print(
    f'1 passed, 0 failed\nThe same bits ({text}) after two interruptions'
    f' under SLURM, in {time.monotonic() - began:.0f} s.'
  )


def interrupt(workdir: pathlib.Path, port: int) -> None:
  """Hands in a run, tells it to stop, preempts it, and sees it to its end."""
  # The nodes have names that no resolver of this machine knows.
  there = [f'--env=JAX_COORDINATOR_ADDRESS=127.0.0.1:{port}']
  for name in ('LM_CACHE', 'JAX_COMPILATION_CACHE_DIR'):
    there.append(f'--env={name}={os.environ[name]}')
  arguments = ['--to=slurm', '--nodes=cpu', '--time_limit=0:10:00', *there]
  job = launch(workdir, *arguments)['id']
  refused = subprocess.run(
    command(workdir, *arguments), capture_output=True, text=True, check=False
  )
  assert refused.returncode == 2, refused
  assert f'was given to --to=slurm as job {job}' in refused.stderr, refused

  wait(lambda: step(workdir) >= 100, 'the run begins')
  # As --signal does when the time is nearly over: the run, not the script.
  call('scancel', '--signal=TERM', job)
  wait(lambda: restarts(job) == '1', 'the script asks for another sitting')
  first = saved(workdir)
  assert 100 <= first < NUM_STEPS, first
  wait(lambda: step(workdir) >= first + 100, 'the run goes on')
  urgent = ('--partition=urgent', '--nodes=2', '--output=/dev/null')
  other = call('sbatch', '--parsable', *urgent, '--wrap=sleep 2').strip()
  wait(lambda: state(other) == 'COMPLETED', 'another has preempted it')
  wait(lambda: restarts(job) == '2', 'SLURM starts it again')
  assert first < saved(workdir) < NUM_STEPS, (first, saved(workdir))
  wait(lambda: state(job) == 'COMPLETED', 'it ends')
  said = ''.join(p.read_text() for p in workdir.glob('launch/*-0.log'))
  assert said.count('Going on from step') == 2, said


def command(workdir: pathlib.Path, *more: str) -> list[str]:
  """Returns a call of the launcher, for two hosts of one device."""
  argv = [sys.executable, '-m', 'experiments.launch', f'--workdir={workdir}']
  argv += ['--config=configs/gpt.py:debug', '--hosts=2', '--devices=1', *more]
  return [*argv, *(f'--config.{field}' for field in SIZES)]


def launch(workdir: pathlib.Path, *more: str) -> dict[str, str]:
  """Returns what the launcher says at the end."""
  argv = command(workdir, *more)
  done = subprocess.run(
    argv, cwd=ROOT, capture_output=True, text=True, check=False
  )
  assert done.returncode == 0, done.stderr[-3000:]
  return json.loads(done.stdout.splitlines()[-1])


def wait(happened: Callable[[], bool], what: str) -> None:
  """Returns when something has happened, and says so."""
  began = time.monotonic()
  while not happened():
    if time.monotonic() > began + SECONDS:
      raise TimeoutError(f'Waited {SECONDS} s until {what}.')
    time.sleep(0.2)
  print(f'{time.monotonic() - began:5.1f} s until {what}', flush=True)


def call(*argv: str) -> str:
  """Returns what a command of SLURM prints."""
  done = subprocess.run(argv, capture_output=True, text=True, check=False)
  assert done.returncode == 0, done
  return done.stdout


def told(job: str, field: str) -> str:
  """Returns what SLURM knows of a job."""
  words = call('scontrol', 'show', 'job', job).split()
  return next(w.partition('=')[2] for w in words if w.startswith(f'{field}='))


def restarts(job: str) -> str:
  """Returns how often a job that runs has been started again; '': none runs."""
  return told(job, 'Restarts') if state(job) == 'RUNNING' else ''


def state(job: str) -> str:
  """Returns how a job is."""
  return told(job, 'JobState')


def step(workdir: pathlib.Path) -> int:
  """Returns the last step that a run has written down."""
  path = workdir / 'metrics.jsonl'
  lines = run_log.read(path) if path.exists() else []
  return lines[-1]['step'] if lines else 0


def saved(workdir: pathlib.Path) -> int:
  """Returns the last step that a run has saved."""
  found = [int(p.parent.name) for p in workdir.glob('checkpoints/*/sums.json')]
  return max(found, default=0)


def rows(workdir: pathlib.Path) -> list[dict[str, float]]:
  """Returns the metrics of a run that do not depend on the clock."""
  return [
    {k: v for k, v in row.items() if k not in run_log.TIME_FIELDS}
    for row in run_log.read(workdir / 'metrics.jsonl')
  ]


def digest(workdir: pathlib.Path) -> str:
  """Returns a sum of all bits of the parameters."""
  params, meta = checkpoints.restore_params(workdir / 'checkpoints')
  assert meta['step'] == NUM_STEPS, meta
  total = hashlib.sha256()
  for array in jax.tree.leaves(params):
    total.update(np.ascontiguousarray(array).tobytes())
  return total.hexdigest()


if __name__ == '__main__':
  main()
