"""Batches made ahead of need, in threads."""

from collections.abc import Callable, Iterator

import grain

from lm.types import Batch


def batches(
  batch_at: Callable[[int], Batch], start: int, stop: int, threads: int = 2
) -> Iterator[Batch]:
  """Yields `batch_at(start)`, ... `batch_at(stop - 1)`.

  What Grain runs ahead is a whole batch, since anything done for one example at
  a time is slow in Python.

  Args:
    batch_at: Makes a batch; called from several threads at once.
    start: The first batch.
    stop: The one after the last.
    threads: How many batches are made at once, of which each thread has one
      more waiting; 0 makes each when it is asked for.
  """
  options = grain.ReadOptions(threads, prefetch_buffer_size=2 * threads)
  dataset = grain.MapDataset.range(start, stop).map(batch_at)
  iterator = iter(dataset.to_iter_dataset(options))
  try:
    yield from iterator
  finally:
    iterator.close()
