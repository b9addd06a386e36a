"""Measures how fast texts are made, beside transformers' generate.

  python -m benchmarks.generate --out=benchmarks/results/generate.json

Both have the same random weights, converted by lm.interop, and make the same
tokens: greedily, or with beams, no text ending early. What is timed is the
whole call, from prompts to tokens in the host's memory. About 5 minutes on 2
cores; the result is the last line of stdout too, as JSON.
"""

import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import torch
import transformers
from absl import logging
from flax import linen as nn
from jaxtyping import Int

from benchmarks import interleaved
from experiments import command
from lm import models
from lm.generation import beam, decode
from lm.interop import huggingface
from lm.types import PyTree

Tokens = Int[np.ndarray, 'B made']


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
  cores = interleaved.machine()['cores']
  torch.set_num_threads(cores)
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
    'turns': turns,
    'cases': measured,
  }
  if out:
    kept.write_text(json.dumps(result, indent=2) + '\n')
  command.report(result)


def measure(case: Case, turns: int, tiny: bool) -> dict[str, Any]:
  """Returns tokens a second of both, and how many times as fast ours is.

  `agree` is the share of the texts that are the same in both.
  """
  theirs = transformers_model(case.family, tiny)
  model, params = ours_of(theirs)
  prompts = np.random.default_rng(0).integers(
    3, model.config.vocab_size, (case.batch, case.read), dtype=np.int32
  )
  contenders = {
    'lm': maker(model, params, list(prompts), case),
    'transformers': transformers_maker(theirs, prompts, case),
  }
  same = np.all(np.equal(*[make() for make in contenders.values()]), axis=1)
  taken = interleaved.seconds(contenders, turns)
  return {
    'read': case.read,
    'made': case.made,
    'tokens_per_second': interleaved.rates(taken, case.batch * case.made),
    'ratio': interleaved.ratio(taken, 'lm', 'transformers'),
    'goal': case.goal,
    'agree': float(same.mean()),
  }


def transformers_model(family: str, tiny: bool) -> torch.nn.Module:
  """Returns a model with random weights, of the published size or tiny."""
  torch.manual_seed(0)
  if family == 'gpt2':
    sizes = {'vocab_size': 97, 'n_positions': 32, 'n_embd': 24, 'n_layer': 2}
    config = transformers.GPT2Config(
      **sizes | {'n_head': 3} if tiny else {}, eos_token_id=None
    )
    return transformers.GPT2LMHeadModel(config).eval()
  sizes = {'vocab_size': 97, 'd_model': 24, 'd_kv': 8, 'd_ff': 48}
  config = transformers.T5Config(
    **sizes | {'num_layers': 2, 'num_heads': 3} if tiny else {},
    decoder_start_token_id=0,
    eos_token_id=None,
  )
  return transformers.T5ForConditionalGeneration(config).eval()


def ours_of(theirs: torch.nn.Module) -> tuple[nn.Module, PyTree]:
  """Returns the same function as a model of ours, and its parameters."""
  config = theirs.config.to_dict() | {'architectures': [type(theirs).__name__]}
  arrays = {name: p.detach().numpy() for name, p in theirs.named_parameters()}
  found = huggingface.understand(config, arrays, 'transformers')
  return models.build(**found.section), jax.device_put(found.params)


def maker(
  model: nn.Module, params: PyTree, prompts: list[np.ndarray], case: Case
) -> Callable[[], Tokens]:
  """Returns what makes the texts with ours."""

  def greedy():
    pieces = decode.generate(
      model, params, prompts, max_new_tokens=case.made, chunk=case.made
    )
    return np.stack([piece.tokens for piece in pieces])

  def search():
    found: Sequence[list[beam.Hypothesis]] = beam.search(
      model, params, prompts, beams=case.beams, max_new_tokens=case.made
    )
    return np.stack([best.tokens for best, *_ in found])

  return greedy if case.beams == 1 else search


def transformers_maker(
  theirs: torch.nn.Module, prompts: Tokens, case: Case
) -> Callable[[], Tokens]:
  """Returns what makes the texts with transformers."""
  tokens = torch.tensor(prompts, dtype=torch.long)
  settings = transformers.GenerationConfig(
    do_sample=False,
    use_cache=True,
    num_beams=case.beams,
    max_new_tokens=case.made,
    decoder_start_token_id=0,
    pad_token_id=0,
  )

  def make():
    made = theirs.generate(
      tokens,
      attention_mask=torch.ones_like(tokens),
      generation_config=settings,
    )
    return made[:, -case.made :].numpy().astype(np.int32)

  return make


if __name__ == '__main__':
  command.run(main)
