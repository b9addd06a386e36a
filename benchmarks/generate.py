"""Measures how fast texts are made, beside transformers' generate.

  python -m benchmarks.generate --out=benchmarks/results/generate.json

Both have the same random weights, converted by lm.interop, and make the same
tokens: greedily, or with beams, no text ending early. What is timed is the
whole call, from prompts to tokens in the host's memory. Each is a process of its
own, and only the one whose turn it is runs. About 10 minutes on 2 cores; the
result is the last line of stdout too, as JSON.
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
  """What both are asked for.

  Attributes:
    family: Of the model.
    batch: How many texts are made at once.
    beams: 1: greedily.
    read: Tokens of each prompt, or source.
    made: Tokens that each goes on with.
    goal: How many times as fast as transformers ours is to be; None: any.
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
    only: Parts of the names of the cases that are measured.
    turns: How often each is timed.
    tiny: Takes small models and few tokens, to see that everything runs.
    out: A JSON file to write; what it has of other cases is kept.
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
  """Returns tokens a second of both, and how many times as fast ours is.

  `agree` is the share of the texts that are the same in both.
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
