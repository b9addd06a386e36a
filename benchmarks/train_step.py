"""Measures a training step against PyTorch's, in turns, on the same machine.

  python -m benchmarks.train_step --only=bert_mini --only=gpt_nano
      A few minutes per model, most of them for PyTorch to compile. Needs torch
      and transformers. Results are merged into
      benchmarks/results/train_step.json, and are the last line of stdout.

Each contender runs in its own process, so that their threads and memory do not
interfere, and idles during the turns of others.
"""

import contextlib
import json
import pathlib
import statistics
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks import interleaved
from benchmarks.cases import CASES, TINY, Case
from experiments import command
from lm.types import UserError

RESULTS = pathlib.Path(__file__).parent / 'results' / 'train_step.json'
WAYS = ('ours', 'eager', 'compiled', 'product')


def main(
  only: tuple[str, ...] = (),
  dropout: tuple[float, ...] = (0.0, 0.1),
  dtype: str = 'float32',
  ways: tuple[str, ...] = WAYS,
  turns: int = 15,
  out: str = str(RESULTS),
) -> None:
  """Measures each model, and saves the results.

  Args:
    only: Names of `benchmarks.cases`; by default all that have a goal.
    dropout: Dropout rates, the same for embeddings, attention and branches.
    dtype: The dtype of the computation: float32, or bfloat16 (PyTorch's
      autocast).
    ways: The contenders.
    turns: The number of turns of each.
    out: The file that results are added to; '' for none.
  """
  known = CASES | TINY
  for name in only:
    if name not in known:
      raise UserError(f'There is no case {name!r}. Give one of {list(known)}.')
  measured = {}
  for name in only or CASES:
    for rate in dropout:
      row = measure(name, known[name], rate, dtype, ways, turns)
      key = f'{name}, dropout {rate:g}, {dtype}'
      measured[key] = row
      print(key, json.dumps(row), file=sys.stderr, flush=True)
      if out:
        keep(pathlib.Path(out), {key: row})
  command.report(measured)


def measure(
  name: str,
  case: Case,
  dropout: float,
  dtype: str,
  ways: Sequence[str],
  turns: int,
) -> dict[str, Any]:
  """Returns the median times of the contenders, and ratios by turn."""
  told = {'case': name, 'dropout': dropout, 'dtype': dtype}
  with contextlib.ExitStack() as stack:
    turn_of = {
      way: stack.enter_context(
        interleaved.process('benchmarks.contender', {**told, 'way': way})
      )
      for way in ways
    }
    about = {way: turn() for way, turn in turn_of.items()}  # Also compiles.
    taken = interleaved.seconds(turn_of, turns)
  step = {
    way: [seconds / about[way]['steps'] for seconds in times]
    for way, times in taken.items()
  }
  milliseconds = {
    way: interleaved.rounded(1000 * seconds)
    for way, seconds in interleaved.medians(step).items()
  }
  row = {'milliseconds': milliseconds, 'tokens': case.tokens, 'turns': turns}
  for way, goal in zip(('eager', 'compiled'), case.goals):
    if way in ways:
      ratio = interleaved.ratio(step, 'ours', way)
      row[f'ours_over_{way}'] = {**ratio, 'goal': goal}
  if 'product' in ways:
    speed = {
      way: about[way]['flops'] / statistics.median(step[way])
      for way in ('ours', 'product')
    }
    row['gigaflops_of_a_product'] = round(speed['product'] / 1e9, 1)
    row['share_of_it'] = round(speed['ours'] / speed['product'], 3)
  return {
    **row,
    'versions': interleaved.versions('jax', 'torch', 'transformers'),
    **interleaved.machine(),
  }


def keep(path: pathlib.Path, measured: dict[str, Any]) -> None:
  """Merges results into a file."""
  known = json.loads(path.read_text()) if path.exists() else {}
  path.write_text(json.dumps(known | measured, indent=2) + '\n')


if __name__ == '__main__':
  command.run(main)
