"""What tells how a published family is to be read and written."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lm.interop.arrays import Arrays
from lm.interop.layouts import Row
from lm.types import UserError

Settings = dict[str, Any]  # Of a model of ours, by field.
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
  """A published class.

  Attributes:
    heads: Its heads.
    prefix: What the names of its backbone begin with.
    lacks: A part of ours that it does not have; '': it has all.
  """

  heads: Heads = ()
  prefix: str = ''
  lacks: str = ''


@dataclasses.dataclass(frozen=True)
class Key:
  """A key of a published config.

  Attributes:
    theirs: Its name.
    default: What it is where it is not told.
    ours: The fields that it says.
  """

  theirs: str
  default: Any
  ours: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
  """All that is known of a family.

  Attributes:
    model_type: As published.
    name: Of the architecture here.
    preset: Has what no published config tells, such as initialisation.
    classes: By published name.
    backbone: Returns the table of the backbone for settings of ours.
    heads: Tables of the heads, by what they answer.
    copies: Arrays that are another one once more, where that is tied.
    ignored: Matches names of what is no parameter, or read by nobody.
    keys: Of the config, those that say one thing each.
    fixed: Fields of ours that a published model has one value of.
    required: Keys that must have this value, which is the default.
    read: Returns the other fields of a published config and its arrays.
    write: Returns the other keys for settings of ours, and their name of the
      activation.
    tied: Whether tokens may be scored by the table that embeds them alone, so
      that this head has no array of its own.
    defaults: Keys to write where nothing else is known.
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
      UserError: It asks for what is not there.
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
    """Returns the published config that says what our settings say.

    Raises:
      UserError: None does.
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
  """Returns a key of a config, written in one line."""
  return Key(theirs, default, ours)


def activation(name: str) -> str:
  """Returns our name of a published activation."""
  if name not in ACTIVATIONS:
    raise UserError(
      f'config.json asks for the activation {name!r}, and there are only'
      f' {", ".join(ACTIVATIONS)}.'
    )
  return ACTIVATIONS[name]


def inexpressible(
  model_type: str, field: str, value: Any, only: Any
) -> UserError:
  """Returns the error of a setting that the published models do not have."""
  return UserError(
    f'config.model.{field} is {value!r}, but Hugging Face has a {model_type}'
    f' with {only!r} only: this model cannot be written for it.'
  )


def head_dim(config: Mapping[str, Any], width: str, heads: str) -> int:
  """Returns what each of the heads has of the width."""
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
