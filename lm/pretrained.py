"""A trained model, read from where training left it."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from lm import models
from lm.data import tokenizers
from lm.training import checkpoints, run_config
from lm.types import PyTree, UserError


@dataclasses.dataclass(frozen=True)
class Pretrained:
  """A model with all that is needed to use it.

  Attributes:
    model: The architecture: `model.apply({'params': params}, tokens=...)`.
    params: What it learned.
    tokenizer: How its text is cut into tokens; None if that was not kept.
    config: Of the run that trained it, by section.
  """

  model: nn.Module
  params: PyTree
  tokenizer: tokenizers.Tokenizer | None
  config: Mapping[str, Any]


def load(directory: str | os.PathLike, step: int | None = None) -> Pretrained:
  """Returns what a run has trained.

  Args:
    directory: The workdir of the run.
    step: Which checkpoint; None: the newest intact one.

  Raises:
    UserError: There is no run, or no such checkpoint.
  """
  directory = pathlib.Path(directory)
  path = directory / 'config.json'
  config = run_config.read(path) if path.exists() else {}
  if 'model' not in config:
    raise UserError(
      f'{directory} is no workdir: it has no config.json with a section'
      " 'model', as training writes it. Give the --workdir of a run."
    )
  part = 'ema' if config['ema_decay'] else 'params'  # What evaluation reads.
  params, _ = checkpoints.restore_params(directory / 'checkpoints', step, part)
  saved = directory / 'tokenizer'
  return Pretrained(
    model=models.build(**config['model']),
    params=jax.tree.map(jnp.asarray, params),
    tokenizer=tokenizers.load(saved) if saved.exists() else None,
    config=config,
  )
