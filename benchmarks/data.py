"""Measures the speed of tokenizing text, and of loading batches.

python -m benchmarks.data
    A few minutes on 2 cores; the result is the last line of stdout, as JSON.
"""

import itertools
import os
import pathlib
import platform
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments import command
from lm.data import (
  corpora,
  datasets,
  loader,
  sources,
  token_store,
  tokenizers,
)
from lm.data.token_store import TokenStore
from lm.data.tokenizers import Tokenizer
from lm.types import Batch

SHAPES = ((12, 64), (8, 256))  # Batch and length of the small models.
CORES = os.cpu_count() or 1
DEMO = 25_000  # Tokens per second that the demo trains on, on 2 cores.


def main(quick: bool = False) -> None:
  """Measures both.

  Args:
    quick: Use little text and few batches, to check that everything runs.
  """
  megabytes, turns, num_batches = (0.2, 1, 20) if quick else (20, 9, 3000)
  texts = list(corpora.build('stdlib').documents('train'))
  texts = texts[:500] if quick else texts
  tokenizer = tokenizers.train('bpe', texts, 2048)
  text = _repeat(texts, megabytes * 10**6)
  with tempfile.TemporaryDirectory() as directory:
    root = pathlib.Path(directory)
    building = _building(text, tokenizer, root, turns)
    store = token_store.open(root / '0')
    loading = [
      _loading(store, packing, *shape, num_batches)
      for packing in ('windows', 'documents')
      for shape in SHAPES
    ]
  command.report(
    {
      'machine': platform.machine(),
      'cores': CORES,
      'megabytes': megabytes,
      'turns': turns,
      'building': building,
      'loading': loading,
    }
  )


def _repeat(texts: list[str], size: int) -> list[str]:
  """Returns the texts, repeated up to about `size` bytes."""
  times = size / sum(len(text.encode()) for text in texts)
  return list(itertools.islice(itertools.cycle(texts), int(times * len(texts))))


def _building(
  texts: list[str], tokenizer: Tokenizer, root: pathlib.Path, turns: int
) -> dict[str, float]:
  """Returns the median megabytes per second, of ours and of plain encoding.

  `ratio` is the median over turns of the speed of ours over `encode_batch`, and
  `cpu_ratio` the same by the time spent on all cores together.
  """

  def by_hand(encode: Callable[..., Any]) -> None:
    for start in range(0, len(texts), 4096):
      encode(texts[start : start + 4096], add_special_tokens=False)

  def ours() -> None:
    directory = root / str(len(list(root.iterdir())))
    token_store.build(texts, tokenizer, directory, True, CORES)

  ways = {
    'ours': ours,
    'encode_batch': lambda: by_hand(tokenizer.pipeline.encode_batch),
    'encode_batch_fast': lambda: by_hand(tokenizer.pipeline.encode_batch_fast),
  }
  seconds = {name: [] for name in ways}
  for _ in range(turns):
    for name, way in ways.items():
      began = np.array([time.perf_counter(), _cpu_seconds()])
      way()
      ended = np.array([time.perf_counter(), _cpu_seconds()])
      seconds[name].append(ended - began)
  size = sum(len(text.encode()) for text in texts) / 1e6
  ratios = np.divide(seconds['encode_batch'], seconds['ours'])
  ratio, cpu_ratio = np.median(ratios, axis=0).round(3).tolist()
  return {
    name: round(size / float(np.median(times, axis=0)[0]), 3)
    for name, times in seconds.items()
  } | {'ratio': ratio, 'cpu_ratio': cpu_ratio}


def _cpu_seconds() -> float:
  """Returns the CPU time, which other programs hardly affect."""
  return sum(os.times()[:4])


def _loading(
  store: TokenStore, packing: str, batch: int, length: int, num_batches: int
) -> dict[str, Any]:
  """Returns the speed of the loader in tokens per second."""
  request = sources.Request(length + 1, seed=0, reads=('bytes',))
  source = datasets.PACKINGS[packing](store, request)

  def batch_at(number: int) -> Batch:
    examples = source.examples_at(number * batch + np.arange(batch))
    return Batch(examples, {}, {})

  batches = loader.batches(batch_at, 0, num_batches)
  next(batches)
  began = time.perf_counter()
  made = sum(1 for _ in batches)
  speed = made * batch * length / (time.perf_counter() - began)
  return {
    'packing': packing,
    'batch': batch,
    'length': length,
    'tokens_per_second': round(speed),
    'times_the_demo': round(speed / DEMO, 1),
  }


if __name__ == '__main__':
  command.run(main)
