"""Freed memory stays with the process."""

import os
import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import numpy as np
from lm.parallel import host_memory
if sys.argv[1] == 'keep':
  assert host_memory.keep_freed()
for _ in range(3):
  np.ones(2**23)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
  np.ones(2**23)  # 64 MiB: 16,384 pages.
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(
  platform.libc_ver()[0] != 'glibc', reason='is about the allocator of glibc'
)
def test_kept_memory_is_not_faulted_in_again():
  def faults(how):
    command = [sys.executable, '-c', SCRIPT, how]
    # NumPy asks for huge pages, which are had at some times and not at others.
    env = os.environ | {'NUMPY_MADVISE_HUGEPAGE': '0'}
    return int(subprocess.check_output(command, env=env, text=True))

  assert faults('keep') < 1000 < 20 * 500 < faults('give back')
