"""How the host's allocator treats the large buffers of a step on a CPU."""

import ctypes
import platform

# Names and numbers of <malloc.h>.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8


def keep_freed() -> bool:
  """Makes glibc keep what is freed, instead of giving it back at every step.

  XLA frees its buffers after each step. What glibc then returns to the kernel
  is faulted in anew, page by page: up to a third of a step's time.

  Returns:
    Whether this platform's allocator could be told.
  """
  if platform.libc_ver()[0] != 'glibc':
    return False
  libc = ctypes.CDLL(None)
  settings = {
    M_MMAP_MAX: 0,  # No buffer gets a mapping of its own,
    M_ARENA_MAX: 1,  # all threads share what was freed,
    M_TRIM_THRESHOLD: 2**31 - 1,  # and of that nothing is given back.
    M_TOP_PAD: 64 * 2**20,  # Bytes: the heap grows in large pieces.
  }
  return all(libc.mallopt(key, value) == 1 for key, value in settings.items())
