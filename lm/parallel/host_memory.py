"""Tunes the host's allocator for the large buffers of a step on a CPU."""

import ctypes
import platform

# Names and numbers of <malloc.h>.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8


def keep_freed() -> bool:
  """Makes glibc keep freed memory instead of releasing it after every step.

  XLA frees its buffers after each step. Pages that glibc then returns to the
  kernel have to be faulted in again: up to a third of a step's time.

  Returns:
    Whether this platform's allocator could be configured.
  """
  if platform.libc_ver()[0] != 'glibc':
    return False
  libc = ctypes.CDLL(None)
  settings = {
    M_MMAP_MAX: 0,  # No buffer gets its own mapping,
    M_ARENA_MAX: 1,  # all threads share freed memory,
    M_TRIM_THRESHOLD: 2**31 - 1,  # and none is returned to the kernel.
    M_TOP_PAD: 64 * 2**20,  # Bytes; the heap grows in large increments.
  }
  return all(libc.mallopt(key, value) == 1 for key, value in settings.items())
