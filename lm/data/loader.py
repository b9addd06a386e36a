"""Prefetches batches in threads."""

from collections.abc import Callable, Iterator

import grain

from lm.types import Batch


def batches(
  batch_at: Callable[[int], Batch], start: int, stop: int, threads: int = 2
) -> Iterator[Batch]:
  """Yields `batch_at(start)`, ... `batch_at(stop - 1)`.

  Grain prefetches whole batches, since per-example work is slow in Python.

  Args:
    batch_at: Makes a batch; called from several threads at once.
    start: The first batch.
    stop: The batch after the last.
    threads: Batches made at once, with one more waiting for each thread; 0
      makes each batch on demand.
  """
  options = grain.ReadOptions(threads, prefetch_buffer_size=2 * threads)
  dataset = grain.MapDataset.range(start, stop).map(batch_at)
  iterator = iter(dataset.to_iter_dataset(options))
  try:
    yield from iterator
  finally:
    iterator.close()
