"""A workdir as training leaves it, without the training."""

import contextlib
import json
import pathlib
from typing import Any

import numpy as np

import lm
from lm.data import tokenizers
from lm.pretrained import Pretrained
from lm.training.checkpoints import Checkpoints
from lm.types import PyTree
from tests.models import tiny

TEXT = 'To be, or not to be, that is the question.'
MODEL = tiny.SIZES | {'name': 'gpt', 'preset': 'gpt2', 'vocab_size': 257}


def params_of_step(step: int, **changes: Any) -> PyTree:
  sizes = {k: v for k, v in MODEL.items() if k not in ('name', 'preset')}
  return tiny.params_of(tiny.gpt(**sizes | changes), seed=step)


def write(
  workdir: pathlib.Path,
  steps: tuple[int, ...] = (1,),
  ema_decay: float = 0.0,
  **changes: Any,
) -> None:
  """Writes a run of bytes; step 2 differs from step 1, and its mean from it."""
  workdir.mkdir(exist_ok=True)
  config = {'model': MODEL | changes, 'ema_decay': ema_decay}
  (workdir / 'config.json').write_text(json.dumps(config))
  tokenizers.train('bytes', [TEXT]).save(workdir / 'tokenizer')
  checkpoints = Checkpoints(workdir / 'checkpoints')
  with contextlib.closing(checkpoints):
    for step in steps:
      state = {
        'params': params_of_step(step, **changes),
        'step': np.int32(step),
      }
      if ema_decay:
        state['ema'] = params_of_step(step + 100, **changes)
      checkpoints.save(step, state, {'examples': step})


WORDS = ['the cat sat on the mat', 'a dog saw the cat', 'on the mat'] * 9
FAMILIES = {
  'gpt': ('gpt2', 'bytes', None),
  'bert': ('base', 'wordpiece', 35),
  't5': ('small', 'unigram', 118),
}


def write_family(
  directory: pathlib.Path,
  name: str,
  objective: dict[str, Any] | None = None,
  kind: str = '',
  vocab_size: int | None = None,
  **changes: Any,
) -> None:
  """Writes a model of a family, its numbers random, and its tokenizer.

  Args:
    directory: Where.
    name: Of the family.
    objective: What it is said to have been trained for.
    kind: Of the tokenizer; '': the family's.
    vocab_size: Of the tokenizer, with its kind.
    **changes: Of the model's sizes.
  """
  preset, own_kind, own_size = FAMILIES[name]
  kind, vocab_size = (kind, vocab_size) if kind else (own_kind, own_size)
  tokenizer = tokenizers.train(kind, WORDS, vocab_size)
  sizes = tiny.SIZES | changes | {'vocab_size': tokenizer.vocab_size}
  model = tiny.build(name, preset, **sizes)
  inputs = {'tokens': tiny.tokens()}
  if model.form == 'encoder_decoder':
    inputs['source_tokens'] = tiny.tokens()
  config = {'model': {'name': name, 'preset': preset, **sizes}}
  if objective:
    config['objective'] = objective
  params = tiny.params_for(model, **inputs)
  lm.save(Pretrained(model, params, tokenizer, config), directory)
