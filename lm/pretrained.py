"""Loading trained and published models, and saving them."""

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
  """A model with everything that is needed to use it.

  Attributes:
    model: The architecture: `model.apply({'params': params}, tokens=...)`.
    params: Its trained parameters.
    tokenizer: Its tokenizer; None if that was not saved.
    config: The config of the run that trained it, by section. For a published
      model: the section `model`, and the published config as `huggingface`.
    step: The training step of a run's checkpoint; None for a published model.
  """

  model: nn.Module
  params: PyTree
  tokenizer: tokenizers.Tokenizer | None
  config: Mapping[str, Any]
  step: int | None = None

  @property
  def prompt_form(self) -> PromptForm:
    """How prompts are presented to it, as by its training objective."""
    if self.tokenizer is None or 'objective' not in self.config:
      return GOES_ON
    objective = objectives.build(
      form=self.model.form,
      vocabulary=self.tokenizer.vocabulary,
      **self.config['objective'],
    )
    return objective.prompt_form


def load(directory: str | os.PathLike, step: int | None = None) -> Pretrained:
  """Returns the model of a run, or a published model.

  Args:
    directory: The workdir of a run, or its URL; or a directory that holds a
      Hugging Face checkpoint (gpt2, bert, roberta, t5) or Google's BERT, its
      arrays as .npz or .safetensors.
    step: The checkpoint of a run. None means the best one according to its
      config.checkpoint.best or, if that is '', the newest intact one.

  Raises:
    UserError: There is no run, or no such checkpoint.
  """
  found = read(directory, step)
  params = jax.tree.map(jnp.asarray, found.params)
  return dataclasses.replace(found, params=params)


def read(directory: str | os.PathLike, step: int | None = None) -> Pretrained:
  """Returns the same as `load`, with parameters in numpy, on no device."""
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
  elif not directory.exists():
    raise UserError(
      f'There is no {directory}. Give the workdir of a run, or the directory of a'
      ' published checkpoint: none is downloaded.'
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
  """Writes a workdir that `load` can read, with one checkpoint.

  The step of the checkpoint is that of the model, or 0 if it was published.
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
  """Writes a checkpoint for `from_pretrained` of transformers.

  Raises:
    UserError: Hugging Face's architecture cannot represent this model.
  """
  published = dict(pretrained.config.get('huggingface', {}))
  if labels := pretrained.config.get('task', {}).get('labels'):
    published['id2label'] = dict(enumerate(labels))
  huggingface.write(
    pretrained.model,
    pretrained.params,
    pretrained.tokenizer,
    published,
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
