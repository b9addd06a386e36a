"""A trained model: read from where it was left, written for others."""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from lm import models, objectives
from lm.data import tokenizers, vocabulary_files
from lm.interop import huggingface, tensorflow_bert
from lm.objectives.objective import GOES_ON, PromptForm
from lm.training import remote_run, run_config, selection
from lm.training.checkpoints import Checkpoints
from lm.types import PyTree, UserError


@dataclasses.dataclass(frozen=True)
class Pretrained:
  """A model with all that is needed to use it.

  Attributes:
    model: The architecture: `model.apply({'params': params}, tokens=...)`.
    params: What it learned.
    tokenizer: How its text is cut into tokens; None if that was not kept.
    config: Of the run that trained it, by section; of what others trained, the
      section `model`, and theirs as `huggingface`.
    step: Of a run, after how many steps; else None.
  """

  model: nn.Module
  params: PyTree
  tokenizer: tokenizers.Tokenizer | None
  config: Mapping[str, Any]
  step: int | None = None

  @property
  def prompt_form(self) -> PromptForm:
    """How it reads what it goes on from, as its objective has shown it."""
    if self.tokenizer is None or 'objective' not in self.config:
      return GOES_ON
    objective = objectives.build(
      form=self.model.form,
      vocabulary=self.tokenizer.vocabulary,
      **self.config['objective'],
    )
    return objective.prompt_form


def load(directory: str | os.PathLike, step: int | None = None) -> Pretrained:
  """Returns what a run has trained, or what others have published.

  Args:
    directory: The workdir of a run, or its URL; or with a checkpoint of Hugging
      Face (gpt2, bert, roberta, t5), or of Google's BERT with its arrays as
      .npz.
    step: Which checkpoint of a run; None: the best by its config.checkpoint.best,
      or, if that is '', the newest intact one.

  Raises:
    UserError: There is no run, or no such checkpoint.
  """
  found = read(directory, step)
  params = jax.tree.map(jnp.asarray, found.params)
  return dataclasses.replace(found, params=params)


def read(directory: str | os.PathLike, step: int | None = None) -> Pretrained:
  """Returns what `load` does, its parameters in numpy and on no device."""
  directory = remote_run.local_run(directory, step)
  path = directory / 'config.json'
  config = run_config.read(path) if path.exists() else {}
  if 'model' in config:
    return _trained(directory, config, step)
  if 'model_type' in config:
    reader = huggingface.read
  elif (directory / tensorflow_bert.CONFIG).exists():
    reader = tensorflow_bert.read
  elif found := sorted(directory.glob('seed-*/config.json')):
    raise UserError(
      f'{directory} holds the runs of {len(found)} seeds, each a workdir of its'
      f' own. Give one of them, such as {found[0].parent}.'
    )
  else:
    raise UserError(
      f'{directory} is no workdir: it has no config.json with a section'
      " 'model', as training writes it, nor with a 'model_type', as Hugging"
      ' Face does. Give the --workdir of a run.'
    )
  if step is not None:
    raise UserError(
      f'{directory} holds a published checkpoint, which has no step {step}.'
      ' Omit --step.'
    )
  found = reader(directory)
  return Pretrained(
    model=models.build(**found.section),
    params=found.params,
    tokenizer=_tokenizer(directory),
    config={'model': found.section, 'huggingface': found.config},
  )


def save(pretrained: Pretrained, directory: str | os.PathLike) -> None:
  """Writes a workdir that `load` reads, with one checkpoint.

  It is after as many steps as the model was trained for, 0 if others did that.
  """
  directory = pathlib.Path(directory)
  directory.mkdir(parents=True, exist_ok=True)
  run_config.write(pretrained.config, directory / 'config.json')
  if pretrained.tokenizer is not None:
    pretrained.tokenizer.save(directory / 'tokenizer')
  opened = Checkpoints(directory / 'checkpoints')
  with contextlib.closing(opened) as checkpoints:
    state = {'params': jax.tree.map(jnp.asarray, pretrained.params)}
    checkpoints.save(pretrained.step or 0, state, {'examples': 0})


def save_huggingface(
  pretrained: Pretrained, directory: str | os.PathLike
) -> None:
  """Writes what `from_pretrained` of transformers reads.

  Raises:
    UserError: Hugging Face's architecture does not have what this model has.
  """
  huggingface.write(
    pretrained.model,
    pretrained.params,
    pretrained.tokenizer,
    pretrained.config.get('huggingface', {}),
    pathlib.Path(directory),
  )


def _trained(
  directory: pathlib.Path, config: Mapping[str, Any], step: int | None
) -> Pretrained:
  params, meta = selection.chosen(config, directory, step)
  return Pretrained(
    model=models.build(**config['model']),
    params=params,
    tokenizer=_tokenizer(directory / 'tokenizer'),
    config=config,
    step=meta['step'],
  )


def _tokenizer(directory: pathlib.Path) -> tokenizers.Tokenizer | None:
  for names, _ in vocabulary_files.FORMATS:
    if all((directory / name).is_file() for name in names):
      return tokenizers.load(directory)
  return None
