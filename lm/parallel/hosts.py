"""Coordinates the processes of a run on many hosts."""

import importlib.util
import os
import pathlib
import sys
import threading

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils

from lm.types import TransientError, UserError

# Variables that launchers set, and those that count the processes, if any.
ENVIRONMENT = (
  ('JAX_COORDINATOR_ADDRESS', None),
  ('SLURM_STEP_NUM_TASKS', 'SLURM_STEP_NUM_TASKS'),
  ('OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_SIZE'),
)

TPUS = ('accel*', 'vfio/[0-9]*')  # Files in /dev; the second since v5e.

TOGETHER = (
  'The processes of a run must meet before it begins: start each with the same'
  ' config.hosts.coordinator=ADDRESS:PORT and config.hosts.processes, and its'
  ' own config.hosts.process, from 0 on; process 0 must be reached there.'
)


def start(
  coordinator: str = '',
  processes: int = 0,
  process: int = -1,
  expected_processes: int = 0,
  expected_kind: str = '',
  timeout: int = 300,
  silence: int = 100,
) -> None:
  """Connects to the other processes of the run, if there are any.

  Without a coordinator the environment decides: JAX_COORDINATOR_ADDRESS (with
  the two numbers in JAX_NUM_PROCESSES and JAX_PROCESS_ID, or in the config),
  or a TPU pod, SLURM, GKE with TPUs or Open MPI, as detected by JAX. Without any
  of these the process trains alone, as does a pod with GPUs on GKE. Call it
  before anything uses a device.

  Args:
    coordinator: ADDRESS:PORT at which process 0 can be reached.
    processes: Number of processes.
    process: Index of this process.
    expected_processes: Required number of processes; 0 means any number.
    expected_kind: Required kind of devices, cpu, gpu or tpu; '' means any kind.
    timeout: Seconds to wait for all processes; then this one exits.
    silence: Seconds without a heartbeat after which a process counts as dead.

  Raises:
    TransientError: The processes could not connect.
    UserError: The settings are invalid, or the number or the kind is not the
      expected one.
  """
  told = (coordinator, processes, process) != ('', 0, -1)
  if told or _environment_tells():
    _meet(
      coordinator or os.environ.get('JAX_COORDINATOR_ADDRESS') or None,
      processes or _number('JAX_NUM_PROCESSES'),
      _number('JAX_PROCESS_ID') if process < 0 else process,
      timeout,
      silence,
    )
  there = jax.process_count()
  if expected_processes not in (0, there):
    raise UserError(
      f'There are {there} processes, but config.hosts.expected_processes is'
      f' {expected_processes}. Start as many with the same command, each told'
      ' of the others by its environment or by config.hosts.'
    )
  kind = jax.default_backend()
  if expected_kind not in ('', kind):  # JAX itself only warns of it.
    raise UserError(
      f'JAX sees devices of kind {kind}, but config.hosts.expected_kind is'
      f' {expected_kind!r}. Install JAX for these, and their driver; python -m'
      ' experiments.doctor says what is missing.'
    )
  if there > 1:
    logging.info(
      'Process %d of %d, with %d of %d devices. When one of them is gone, the'
      ' others end within %d s.',
      jax.process_index(),
      there,
      jax.local_device_count(),
      jax.device_count(),
      silence,
    )


def is_first() -> bool:
  """Returns whether this is process 0, which speaks for all."""
  return jax.process_index() == 0


def of_first(value: int | bool) -> int:
  """Returns the value of process 0, since clocks and disks may differ."""
  if jax.process_count() == 1:
    return int(value)
  return int(multihost_utils.broadcast_one_to_all(np.asarray(value)))


def all_of(value: bool) -> bool:
  """Returns whether the value is true in every process."""
  if jax.process_count() == 1:
    return value
  return bool(multihost_utils.process_allgather(np.asarray(value)).all())


def _meet(
  coordinator: str | None,
  processes: int | None,
  process: int | None,
  timeout: int,
  silence: int,
) -> None:
  def give_up():  # Before JAX, which aborts and blames another process.
    message = f'Not all were there after {timeout} s.'
    print(f'{message} {TOGETHER}', file=sys.stderr, flush=True)
    os._exit(TransientError.status)

  timer = threading.Timer(timeout, give_up)
  timer.daemon = True
  timer.start()
  try:
    jax.distributed.initialize(
      coordinator,
      processes,
      process,
      initialization_timeout=2 * timeout + 60,
      heartbeat_timeout_seconds=silence,
    )
  except (ValueError, TypeError) as error:  # The settings are invalid.
    raise UserError(f'{error} {TOGETHER}') from error
  except RuntimeError as error:  # The network, or another process.
    raise TransientError(f'{error} {TOGETHER}') from error
  finally:
    timer.cancel()


def _environment_tells(files: pathlib.Path = pathlib.Path('/dev')) -> bool:
  """Returns whether a launcher has started other processes too."""
  for name, count in ENVIRONMENT:
    if name in os.environ and (count is None or int(os.environ[count]) > 1):
      return True
  # On a TPU VM, JAX looks up the hosts of the slice.
  devices = any(file for name in TPUS for file in files.glob(name))
  return devices and importlib.util.find_spec('libtpu') is not None


def _number(name: str) -> int | None:
  return int(os.environ[name]) if name in os.environ else None
