"""The model architectures, by their names in configs."""

import dataclasses
import difflib
import inspect
from collections.abc import Mapping
from typing import Any

from flax import linen as nn

from lm.models import presets
from lm.models.bert import BERT
from lm.models.config import TransformerConfig, check
from lm.models.electra import ELECTRA
from lm.models.encoder_decoder import EncoderDecoder
from lm.models.gpt import GPT
from lm.types import UserError

# The module of each architecture, and its published sizes.
ARCHITECTURES: dict[str, tuple[type[nn.Module], presets.Sizes]] = {
  'gpt': (GPT, presets.GPT),
  'bert': (BERT, presets.BERT),
  'roberta': (BERT, presets.ROBERTA),
  'electra': (ELECTRA, presets.ELECTRA),
  't5': (EncoderDecoder, presets.T5),
  'transformer': (EncoderDecoder, presets.TRANSFORMER),
}
MODELS = {name: model for name, (model, _) in ARCHITECTURES.items()}
PRESETS = {name: sizes for name, (_, sizes) in ARCHITECTURES.items()}


def fields(name: str, preset: str) -> dict[str, inspect.Parameter]:
  """Returns the settings of a model, with defaults from `preset`."""
  _check(name, preset)
  own = [
    inspect.signature(TransformerConfig).parameters.values(),
    inspect.signature(MODELS[name]).parameters.values(),
  ]
  preset_values = PRESETS[name][preset]
  # None means the size of the tokenizer's vocabulary.
  kinds = {'vocab_size': int | None}
  return {
    parameter.name: parameter.replace(
      default=preset_values.get(parameter.name, parameter.default),
      annotation=kinds.get(parameter.name, parameter.annotation),
    )
    for group in own
    for parameter in group
    if parameter.name not in ('config', 'parent', 'name')
  }


def build(name: str, preset: str, **settings: Any) -> nn.Module:
  """Returns a model of architecture `name` and size `preset`.

  Args:
    name: One of `MODELS`.
    preset: One of the architecture's published sizes.
    **settings: Overrides of fields of `TransformerConfig` or the architecture.
  """
  _check(name, preset)
  settings = {**PRESETS[name][preset], **settings}
  shared = {field.name for field in dataclasses.fields(TransformerConfig)}
  missing = [key for key, value in settings.items() if value is None]
  if 'vocab_size' in missing:
    raise UserError(
      f'Preset {preset!r} has the vocabulary of its text, and none is given.'
      ' Set config.model.vocab_size.'
    )
  config = TransformerConfig(
    **{key: value for key, value in settings.items() if key in shared}
  )
  own = {key: value for key, value in settings.items() if key not in shared}
  parameters = inspect.signature(MODELS[name]).parameters
  for key in own.keys() - parameters.keys():
    near = difflib.get_close_matches(key, [*shared, *parameters], 1)
    hint = f' Did you mean {near[0]}?' if near else ''
    raise UserError(f'A model {name!r} has no setting {key!r}.{hint}')
  for key in own.keys() & parameters.keys():
    check(key, parameters[key].annotation, own[key])
  return MODELS[name](config, **own)


def inputs(model: nn.Module) -> frozenset[str]:
  """Returns the keyword arguments that affect the output of `model`."""
  names = {*inspect.signature(type(model).answer).parameters} - {'self'}
  if getattr(model, 'num_token_types', 0) < 2:
    names.discard('token_types')  # There is only one type.
  return frozenset(names)


def _check(name: str, preset: str) -> None:
  _choose('name', name, MODELS)
  _choose('preset', preset, PRESETS[name])


def _choose(key: str, value: str, choices: Mapping) -> None:
  if value not in choices:
    raise UserError(
      f'There is no model {key} {value!r}. Set config.model.{key} to one of'
      f' {", ".join(choices)}.'
    )
