"""Builds the token stores of a config's data, for training to find later.

  python -m experiments.prepare --config=configs/gpt.py \\
      --config.data.source=jsonl --config.data.path='web/*.jsonl'
  python -m experiments.prepare --config=configs/gpt.py \\
      --config.data.source=jsonl --config.data.path='web/*.jsonl' \\
      --runner=DirectRunner --runner_options='--direct_num_workers=8
      --direct_running_mode=multi_processing'

The bytes are the same with any runner and without one. See docs/data.md.
"""

import functools
import shlex
from collections.abc import Callable, Sequence
from typing import Any, Literal

from ml_collections import ConfigDict

from experiments import command
from lm.data import beam_build, datasets, token_store
from lm.data.token_store import TokenStore
from lm.training.sections import SECTIONS
from lm.types import UserError

Runner = Literal['DirectRunner', 'DataflowRunner', 'FlinkRunner', 'SparkRunner']


def main(
  config: ConfigDict,
  runner: Runner | None = None,
  runner_options: Sequence[str] = (),
) -> None:
  """Tokenizes the data; prints where the tokens are and how many, as JSON.

  Args:
    config: FILE.py or FILE.py:VARIANT, the one that will be trained. Only the
      fields of config.data matter.
    runner: The Apache Beam runner that tokenizes: DirectRunner, DataflowRunner,
      FlinkRunner or SparkRunner; by default processes of this machine.
    runner_options: Options of the runner, in Beam's syntax.
  """
  if runner_options and runner is None:
    raise UserError(
      f'--runner_options are {" ".join(runner_options)}, but there is no'
      ' --runner. Give --runner=DirectRunner, or omit the options.'
    )
  make_store = datasets.tokenize_here
  if runner:
    make_store = by_beam(runner, runner_options)
  dataset = datasets.build(**config.to_dict()['data'], make_store=make_store)
  if runner:
    for store in (*dataset.train, *dataset.validation):
      beam_build.clean(store.directory)
  command.report(
    {
      'vocab_size': dataset.tokenizer.vocab_size,
      'train': summary(dataset.train),
      'validation': summary(dataset.validation),
    }
  )


def by_beam(runner: str, runner_options: Sequence[str]) -> Callable[..., None]:
  """Returns a function that builds a store with a Beam runner."""
  try:
    from lm.data import beam_pipeline  # Beam is optional, and slow to import.
  except ModuleNotFoundError as error:
    if error.name != 'apache_beam':
      raise
    raise UserError(
      f'--runner is {runner}, but Apache Beam is not installed. Run'
      " pip install -e '.[beam]', or omit --runner."
    ) from error
  flags = [flag for text in runner_options for flag in shlex.split(text)]
  beam_pipeline.check(runner, flags)
  return functools.partial(beam_build.build, runner=runner, flags=flags)


def summary(stores: Sequence[TokenStore]) -> dict[str, Any]:
  """Returns the directories of the stores of a split, and their totals."""
  counts = [token_store.counts(store) for store in stores]
  totals = {name: sum(count[name] for count in counts) for name in counts[0]}
  return {'directories': [str(store.directory) for store in stores]} | totals


if __name__ == '__main__':
  command.run(main, SECTIONS)
