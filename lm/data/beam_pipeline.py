"""The Apache Beam pipeline that makes shards of tokens."""

import contextlib
import io
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from lm.data import token_shards
from lm.types import UserError


def check(runner: str, flags: Sequence[str]) -> None:
  """Raises UserError unless a runner exists and accepts these options."""
  given = ', '.join(flags)
  known = PipelineOptions([]).get_all_options()
  complaint = io.StringIO()
  try:
    with contextlib.redirect_stderr(complaint):
      options = PipelineOptions(list(flags))
      unknown = options.get_all_options(retain_unknown_options=True).keys()
  except SystemExit as error:  # Raised by argparse.
    reason = complaint.getvalue().strip().rpartition('error: ')[-1]
    raise UserError(
      f'--runner_options are {given}, which Beam refuses: {reason}.'
    ) from error
  strange = [flag for flag in flags if not flag.startswith('--')]
  strange += [f'--{name}' for name in unknown - known.keys()]
  if strange:
    raise UserError(
      f'--runner_options are {given}, but Beam has no option'
      f' {", ".join(strange)}. Write them as --NAME=VALUE, such as'
      ' --runner_options=--direct_num_workers=2.'
    )
  try:
    beam.Pipeline(_runner(runner), options)
  except (ImportError, ValueError) as error:
    raise UserError(
      f'--runner is {runner}, but it cannot be used so: {error}\nCheck'
      ' --runner_options, and what is installed.'
    ) from error


def run(
  runner: str, flags: Sequence[str], shards: pathlib.Path, total: int
) -> None:
  """Makes `total` shards and their index in the directory `shards`."""
  options = PipelineOptions(list(flags))
  with beam.Pipeline(_runner(runner), options) as pipeline:
    (
      pipeline
      | 'Numbers' >> beam.Create(range(total))
      | 'Spread' >> beam.Reshuffle()
      | 'Tokenize' >> beam.ParDo(_MakeShard(shards))
      | 'Gather' >> beam.combiners.ToList()
      | 'Index' >> beam.Map(_write_index, shards)
    )


class _MakeShard(beam.DoFn):
  """Makes the shard with a given number."""

  def __init__(self, shards: pathlib.Path):
    self.shards = shards

  def setup(self) -> None:
    """Reads the job, once for all shards of a worker."""
    # There is one worker for each core to use: a thread each is enough.
    os.environ['TOKENIZERS_PARALLELISM'] = 'false'
    self.job = token_shards.job(self.shards)

  def process(self, number: int) -> Iterator[dict[str, Any]]:
    """Yields the shard's entry in the index."""
    yield token_shards.make(self.shards, self.job, number)


def _write_index(entries: list[dict[str, Any]], shards: pathlib.Path) -> None:
  token_shards.write_index(shards, entries)


def _runner(name: str) -> Any:
  """Returns a runner; for the direct one, Python's own.

  Beam would otherwise download a program for it that has no multiprocessing.
  """
  return FnApiRunner() if name == 'DirectRunner' else name
