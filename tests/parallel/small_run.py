"""A GPT of which only the step is compiled, small but with all axes divisible."""

import functools
import pathlib
from collections.abc import Mapping
from typing import Any

from experiments import config_file
from lm.analysis import collectives
from lm.training import plan
from lm.training.sections import SECTIONS

ROOT = pathlib.Path(__file__).parents[2]
SIZES = {
  'batch_size': 8,
  'microbatches': 1,
  'data.length': 32,
  'model.vocab_size': 512,
  'model.max_len': 32,
  'model.num_heads': 8,
  'model.head_dim': 4,
  'model.embed_dim': 64,
  'model.mlp_dim': 128,
  'model.num_layers': 3,
  'model.unroll': 1,
  'model.dtype': 'float32',
}


def config(name: str = 'gpt.py:gpt2', **changes: Any) -> dict[str, Any]:
  """Returns a published config in this size; keys as `parallel__fsdp`."""
  overrides = {key.replace('__', '.'): value for key, value in changes.items()}
  path = f'{ROOT}/configs/{name}'
  return config_file.load(path, SIZES | overrides, SECTIONS).to_dict()


@functools.cache
def compiled(**changes: Any):
  """Returns the abstract state and the compiled step."""
  parts, state, batch = plan.abstract(config(**changes))
  return state, plan.compile_step(parts, state, batch), parts.way.mesh


def said(**changes: Any) -> list[collectives.Collective]:
  """Returns the collectives of the step."""
  _, step, mesh = compiled(**changes)
  return collectives.read(step.as_text(), mesh.shape)


def merged(found, by) -> Mapping:
  """Returns the bytes of a step by what `by` says of a collective."""
  totals = {}
  for one in found:
    totals[by(one)] = totals.get(by(one), 0) + one.times * one.size
  return totals
