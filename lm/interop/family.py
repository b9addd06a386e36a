"""The description by which a published model family is read and written."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lm.interop.arrays import Arrays
from lm.interop.layouts import Row
from lm.types import UserError

Settings = dict[str, Any]  # Fields of one of our models, by name.
Heads = tuple[str, ...]

ACTIVATIONS = {
  'gelu': 'gelu',
  'gelu_new': 'gelu_tanh',
  'gelu_pytorch_tanh': 'gelu_tanh',
  'gelu_fast': 'gelu_tanh',
  'relu': 'relu',
  'silu': 'silu',
  'swish': 'silu',
  'tanh': 'tanh',
}


@dataclasses.dataclass(frozen=True)
class Class:
  """A published model class.

  Attributes:
    heads: Its heads.
    prefix: Prefix of the names in its backbone.
    lacks: A part of our model that it lacks; '' if it has all.
  """

  heads: Heads = ()
  prefix: str = ''
  lacks: str = ''


@dataclasses.dataclass(frozen=True)
class Key:
  """A key of a published config.

  Attributes:
    theirs: Its name.
    default: Its value if it is absent.
    ours: Our fields that it sets.
  """

  theirs: str
  default: Any
  ours: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
  """The description of a published model family.

  Attributes:
    model_type: Its published name.
    name: Name of the architecture here.
    preset: Preset with what published configs omit, such as initialisation.
    classes: Classes by published name.
    backbone: Returns the table of the backbone for our settings.
    heads: Tables of the heads, by the terms that they predict.
    copies: Arrays that repeat another array if the two are tied.
    ignored: Matches names that are not parameters, or are not used.
    keys: Keys of the config that correspond to fields of ours.
    fixed: Fields of ours with a single value in published models.
    required: Keys of the config that must have this value, the default.
    read: Returns our other fields for a published config and its arrays.
    write: Returns the other keys of the config for our settings and the
      published name of their activation.
    tied: Whether tokens may be scored with the embedding table, so that this
      head has no array of its own.
    defaults: Keys to write if nothing else sets them.
  """

  model_type: str
  name: str
  preset: str
  classes: Mapping[str, Class]
  backbone: Callable[[Settings], Sequence[Row]]
  heads: Mapping[Heads, tuple[Row, ...]]
  copies: Mapping[str, str]
  ignored: str
  keys: tuple[Key, ...]
  fixed: Mapping[str, Any]
  required: Mapping[str, Any]
  read: Callable[[Mapping[str, Any], Arrays, Settings], Settings]
  write: Callable[[Settings, str], dict[str, Any]]
  tied: bool = False
  defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  def settings(self, config: Mapping[str, Any], arrays: Arrays) -> Settings:
    """Returns our settings for a published config.

    Raises:
      UserError: It needs something that is not supported.
    """
    for key, value in self.required.items():
      if config.get(key, value) != value:
        raise UserError(
          f'config.json says {key}: {config[key]!r}, and only {value!r} is'
          f' there for a {self.model_type}.'
        )
    settings = dict(self.fixed)
    for key in self.keys:
      value = config.get(key.theirs, key.default)
      settings |= dict.fromkeys(key.ours, value)
    settings |= self.read(config, arrays, settings)
    settings['activation'] = activation(settings['activation'])
    return settings

  def config(self, settings: Settings) -> dict[str, Any]:
    """Returns the published config that corresponds to our settings.

    Raises:
      UserError: There is none.
    """
    for field, value in self.fixed.items():
      if settings[field] != value:
        raise inexpressible(self.model_type, field, settings[field], value)
    own = {key.theirs: settings[key.ours[0]] for key in self.keys}
    names = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
    names['gelu_tanh'] = 'gelu_new'
    activation = names[settings['activation']]
    return own | dict(self.required) | self.write(settings, activation)


def key(theirs: str, default: Any, *ours: str) -> Key:
  """Returns a `Key`; a shorthand for tables."""
  return Key(theirs, default, ours)


def activation(name: str) -> str:
  """Returns our name for a published activation."""
  if name not in ACTIVATIONS:
    raise UserError(
      f'config.json asks for the activation {name!r}, and there are only'
      f' {", ".join(ACTIVATIONS)}.'
    )
  return ACTIVATIONS[name]


def inexpressible(
  model_type: str, field: str, value: Any, only: Any
) -> UserError:
  """Returns the error for a setting that published models do not support."""
  return UserError(
    f'config.model.{field} is {value!r}, but Hugging Face has a {model_type}'
    f' with {only!r} only: this model cannot be written for it. Train one with'
    f' --config.model.{field}={str(only).lower()}.'
  )


def head_dim(config: Mapping[str, Any], width: str, heads: str) -> int:
  """Returns the width of each head."""
  if config[width] % config[heads]:
    raise UserError(
      f'config.json says {width}: {config[width]} and {heads}:'
      f' {config[heads]}, which does not divide it.'
    )
  return config[width] // config[heads]


def check_width(model_type: str, settings: Settings) -> None:
  """Raises UserError unless the heads together are as wide as the model."""
  width = settings['embed_dim'] // settings['num_heads']
  whole = settings['embed_dim'] % settings['num_heads'] == 0
  if not whole or settings['head_dim'] != width:
    raise inexpressible(
      model_type, 'head_dim', settings['head_dim'], 'embed_dim / num_heads'
    )
