"""The memory that was in use is that of this process, and not of its parent."""

import pathlib
import subprocess
import sys

from lm.analysis import memory

SAID = """
from lm.analysis import memory
ballast = bytearray({size})
print(memory.peak())
"""


def peak_of_a_child(size: int) -> int:
  said = subprocess.run(
    [sys.executable, '-c', SAID.format(size=size)],
    cwd=pathlib.Path(__file__).parents[2],
    capture_output=True,
    text=True,
    check=True,
  )
  return int(said.stdout)


def test_what_a_process_holds_is_counted_and_what_its_parent_held_is_not():
  ballast = b'a' * 600_000_000
  assert memory.peak() > len(ballast)
  small = peak_of_a_child(1)
  assert 10e6 < small < len(ballast)
  assert 190e6 < peak_of_a_child(200_000_000) - small < 260e6
