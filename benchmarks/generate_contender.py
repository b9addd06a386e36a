"""A process that generates texts for `benchmarks.generate`."""

import json
import sys
from collections.abc import Callable

import numpy as np
import torch
import transformers
from flax import linen as nn
from jaxtyping import Int

from benchmarks import interleaved
from benchmarks.generate import Case
from lm import models
from lm.generation import beam, decode, layers
from lm.interop import huggingface
from lm.parallel import host_memory
from lm.types import PyTree

Tokens = Int[np.ndarray, 'B made']


def main(case: Case, tiny: bool, way: str) -> None:
  """Generates texts in turns, by `way`: 'lm' or 'transformers'."""
  torch.set_num_threads(interleaved.machine()['cores'])
  theirs = transformers_model(case.family, tiny)
  prompts = np.random.default_rng(0).integers(
    3, theirs.config.vocab_size, (case.batch, case.read), dtype=np.int32
  )
  if way == 'lm':
    host_memory.keep_freed()  # As all our commands do.
    make = maker(*ours_of(theirs), list(prompts), case)
  else:
    make = transformers_maker(theirs, prompts, case)
  interleaved.serve(lambda: make().tolist())


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
  """Returns the equivalent model of ours, and its parameters.

  The stacked parameters of layers are split once, as for many calls.
  """
  config = theirs.config.to_dict() | {'architectures': [type(theirs).__name__]}
  arrays = {name: p.detach().numpy() for name, p in theirs.named_parameters()}
  found = huggingface.understand(config, arrays, 'transformers')
  return layers.apart(models.build(**found.section), found.params)


def maker(
  model: nn.Module, params: PyTree, prompts: list[np.ndarray], case: Case
) -> Callable[[], Tokens]:
  """Returns a function that generates the texts with our model."""

  def greedy():
    pieces = decode.generate(
      model, params, prompts, max_new_tokens=case.made, chunk=case.made
    )
    return np.stack([piece.tokens for piece in pieces])

  def search():
    found = beam.search(
      model, params, prompts, beams=case.beams, max_new_tokens=case.made
    )
    return np.stack([best.tokens for best, *_ in found])

  return greedy if case.beams == 1 else search


def transformers_maker(
  theirs: torch.nn.Module, prompts: Tokens, case: Case
) -> Callable[[], Tokens]:
  """Returns a function that generates the texts with transformers."""
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
  case, tiny, way = json.loads(sys.argv[1])
  main(Case(*case), tiny, way)
