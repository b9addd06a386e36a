"""Batches come in order from threads, which end when nobody listens."""

import threading
import time

import numpy as np
import pytest

from lm.data import loader
from lm.types import Batch


def batch_at(number: int) -> Batch:
  time.sleep(0.001 * (number % 3))
  return Batch({'tokens': np.full((2, 3), number)}, {}, {})


def numbers(batches) -> list[int]:
  return [int(batch.inputs['tokens'][0, 0]) for batch in batches]


def threads() -> set[str]:
  return {
    thread.name
    for thread in threading.enumerate()
    if thread.name.startswith('grain')
  }


def assert_no_threads_left():
  until = time.monotonic() + 5
  while threads() and time.monotonic() < until:
    time.sleep(0.01)
  assert not threads()


@pytest.mark.parametrize('count', [0, 1, 4])
def test_batches_come_in_order_whatever_the_number_of_threads(count):
  made = list(loader.batches(batch_at, 5, 40, threads=count))
  assert numbers(made) == list(range(5, 40))
  assert isinstance(made[0], Batch)
  assert_no_threads_left()


def test_there_may_be_nothing_to_make():
  assert not list(loader.batches(batch_at, 7, 7))


def test_batches_are_made_ahead_but_not_far():
  made = []

  def remember(number):
    made.append(number)
    return batch_at(number)

  batches = loader.batches(remember, 0, 1000, threads=2)
  next(batches)
  time.sleep(0.3)
  assert 2 <= len(made) <= 6
  batches.close()
  assert_no_threads_left()


def test_an_error_is_raised_where_the_batch_was_due():
  def fail(number):
    if number == 3:
      raise KeyError('batch 3')
    return batch_at(number)

  batches = loader.batches(fail, 0, 10)
  assert numbers(next(batches) for _ in range(3)) == [0, 1, 2]
  with pytest.raises(KeyError, match='batch 3'):
    next(batches)
  assert_no_threads_left()
