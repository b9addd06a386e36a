"""A workdir as training leaves it, without the training."""

import contextlib
import json
import pathlib

import numpy as np

from lm.data import tokenizers
from lm.training.checkpoints import Checkpoints
from lm.types import PyTree
from tests.models import tiny

TEXT = 'To be, or not to be, that is the question.'
MODEL = tiny.SIZES | {'name': 'gpt', 'preset': 'gpt2', 'vocab_size': 257}


def params_of_step(step: int) -> PyTree:
  sizes = {k: v for k, v in MODEL.items() if k not in ('name', 'preset')}
  return tiny.params_of(tiny.gpt(**sizes), seed=step)


def write(
  workdir: pathlib.Path, steps: tuple[int, ...] = (1,), ema_decay: float = 0.0
) -> None:
  """Writes a run of bytes; step 2 differs from step 1, and its mean from it."""
  config = {'model': MODEL, 'ema_decay': ema_decay}
  (workdir / 'config.json').write_text(json.dumps(config))
  tokenizers.train('bytes', [TEXT]).save(workdir / 'tokenizer')
  checkpoints = Checkpoints(workdir / 'checkpoints')
  with contextlib.closing(checkpoints):
    for step in steps:
      state = {'params': params_of_step(step), 'step': np.int32(step)}
      if ema_decay:
        state['ema'] = params_of_step(step + 100)
      checkpoints.save(step, state, {'examples': step})
