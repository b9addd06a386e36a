"""Measures the speed of generation, against transformers' generate.

  python -m benchmarks.generate --out=benchmarks/results/generate.json

Both have the same random weights, converted by lm.interop, and generate the
same tokens: by greedy decoding or beam search, with no text ending early. The
whole call is timed, from prompts to tokens in host memory. Each runs in its own
process, in turns. About 10 minutes on 2 cores; the result is also the last line
of stdout, as JSON.
"""

import contextlib
import json
import pathlib
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from benchmarks import interleaved
from experiments import command


class Case(NamedTuple):
  """A workload for both.

  Attributes:
    family: The family of the model.
    batch: The number of texts generated at once.
    beams: Beam width; 1 means greedy decoding.
    read: The tokens of each prompt, or source.
    made: The tokens to generate for each.
    goal: The required speedup over transformers; None means none.
  """

  family: str
  batch: int
  beams: int = 1
  read: int = 32
  made: int = 128
  goal: float | None = None


CASES = {
  'gpt2-124m, batch 1': Case('gpt2', 1, goal=1.9),
  'gpt2-124m, batch 8': Case('gpt2', 8, goal=2.2),
  't5-small, 4 beams, batch 1': Case('t5', 1, beams=4, goal=2.0),
  't5-small, 4 beams, batch 8': Case('t5', 8, beams=4, made=64),
}


def main(
  only: tuple[str, ...] = (), turns: int = 7, tiny: bool = False, out: str = ''
) -> None:
  """Measures all cases, or some.

  Args:
    only: Parts of the names of the cases to measure.
    turns: How often each is timed.
    tiny: Use small models and few tokens, to check that everything runs.
    out: A JSON file to write; its results of other cases are kept.
  """
  cases = {
    name: case._replace(read=5, made=8) if tiny else case
    for name, case in CASES.items()
    if not only or any(part in name for part in only)
  }
  kept = pathlib.Path(out)
  before = json.loads(kept.read_text()) if out and kept.exists() else {}
  measured = dict(before.get('cases', {}))
  for name, case in cases.items():
    measured[name] = measure(case, turns, tiny)
    logging.info('%s: %s', name, measured[name])
  result = {
    'command': 'python -m benchmarks.generate',
    'machine': interleaved.machine(),
    'versions': interleaved.versions('jax', 'flax', 'torch', 'transformers'),
    'dtype': 'float32',
    'cases': measured,
  }
  if out:
    kept.write_text(json.dumps(result, indent=2) + '\n')
  command.report(result)


def measure(case: Case, turns: int, tiny: bool) -> dict[str, Any]:
  """Returns the tokens per second of both, and the speedup of ours.

  `agree` is the share of texts that are the same in both.
  """
  with contextlib.ExitStack() as stack:
    contenders = {
      way: stack.enter_context(
        interleaved.process('benchmarks.generate_contender', (case, tiny, way))
      )
      for way in ('lm', 'transformers')
    }
    texts = [make() for make in contenders.values()]  # And compile.
    taken = interleaved.seconds(contenders, turns)
  return {
    'read': case.read,
    'made': case.made,
    'tokens_per_second': interleaved.rates(taken, case.batch * case.made),
    'ratio': interleaved.ratio(taken, 'lm', 'transformers'),
    'goal': case.goal,
    'agree': float(np.mean([ours == theirs for ours, theirs in zip(*texts)])),
    'turns': turns,
  }


if __name__ == '__main__':
  command.run(main)
