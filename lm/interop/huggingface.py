"""Reading and writing of Hugging Face checkpoints.

The names of arrays and the keys of configs are in the description of each
family: `gpt2.py`, `bert.py`, `t5.py`. This module has what they share.
"""

import json
import pathlib
import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
from flax import linen as nn

from lm import models
from lm.data.tokenizers import Tokenizer
from lm.interop import arrays as files, bert, gpt2, parameters, t5
from lm.interop.arrays import Arrays
from lm.interop.family import Class, Family, Heads, Settings
from lm.interop.layouts import Row
from lm.models import heads as model_heads
from lm.types import PyTree, UserError

FAMILIES = {
  family.model_type: family
  for family in (gpt2.FAMILY, bert.BERT, bert.ROBERTA, t5.FAMILY)
}
OLD_NAMES = {'LayerNorm.gamma': 'LayerNorm.weight'}
OLD_NAMES |= {'LayerNorm.beta': 'LayerNorm.bias'}
NEUTRAL = ('config', 'parent', 'name')  # Fields that are not settings.
POOLER = 'pooler.dense.weight'


class Checkpoint(NamedTuple):
  """A published checkpoint.

  Attributes:
    section: The `model` section of a config, from which the model is built.
    params: The parameters of that model, in numpy.
    config: The published config.
  """

  section: dict[str, Any]
  params: PyTree
  config: dict[str, Any]


def read(directory: pathlib.Path) -> Checkpoint:
  """Reads `config.json` and `model.safetensors`, sharded or not.

  The model computes in float32, whatever the dtype of the arrays. They keep
  theirs, except that float16 becomes float32.

  Raises:
    UserError: The family is unknown, the config needs something unsupported, or
      an array is missing, left over, or of the wrong shape.
  """
  config = json.loads((directory / 'config.json').read_text('utf-8'))
  if config['model_type'] not in FAMILIES:
    raise UserError(
      f'{directory} has a model of type {config["model_type"]!r}, and only'
      f' {", ".join(FAMILIES)} can be read.'
    )
  return understand(config, files.read_directory(directory), str(directory))


def understand(
  config: Mapping[str, Any], arrays: Arrays, place: str
) -> Checkpoint:
  """Returns the checkpoint for a published config and published arrays.

  Args:
    config: A config with a known `model_type`.
    arrays: Arrays by published name.
    place: Where they come from, for messages.
  """
  family = FAMILIES[config['model_type']]
  arrays = plain(arrays, family)
  _check_tied(family, config, arrays, place)
  heads = _find_heads(family, arrays, config)
  settings = family.settings(config, arrays) | {
    'heads': heads,
    'num_labels': _num_labels(config),
    'dtype': 'float32',
    'param_dtype': _dtype(arrays),
  }
  if 'pooler' in models.fields(family.name, family.preset):
    read_by = {*heads} & {*model_heads.OF_TEXT}
    settings['pooler'] = not read_by and POOLER in arrays
  section = {'name': family.name, 'preset': family.preset, **settings}
  params = parameters.read(
    arrays,
    parameters.Table(table(family, settings), family.copies, family.ignored),
    models.build(**section),
    place,
  )
  return Checkpoint(section, nested(params), dict(config))


def write(
  model: nn.Module,
  params: PyTree,
  tokenizer: Tokenizer | None,
  config: Mapping[str, Any],
  directory: pathlib.Path,
) -> None:
  """Writes config, arrays and tokenizer, for `from_pretrained`.

  Args:
    model: A model of a family that Hugging Face has.
    params: Its parameters.
    tokenizer: Its tokenizer, if it has one.
    config: A published config, whose other keys are kept, such as label names.
    directory: Created if it does not exist.

  Raises:
    UserError: Hugging Face's architecture cannot represent this model.
  """
  family = _family_of(model)
  settings = settings_of(model)
  told = family.config(settings)
  heads = ('tokens',) if model.heads is None else tuple(model.heads)
  name, chosen = _choose_class(family, heads, parameters.by_path(params))
  arrays = parameters.write(
    params, table(family, settings | {'heads': heads}), model.config.vocab_size
  )
  whole = {**family.defaults, **config, **told}
  whole |= _labels(config, heads, settings)
  whole |= _special_tokens(tokenizer, settings) | {
    'architectures': [name],
    'model_type': family.model_type,
    'torch_dtype': _dtype(arrays),  # All versions of transformers read this.
  }
  whole.pop('dtype', None)
  directory.mkdir(parents=True, exist_ok=True)
  of_heads = {row.theirs for rows in family.heads.values() for row in rows}
  files.write(
    {
      name if name in of_heads else chosen.prefix + name: array
      for name, array in arrays.items()
    },
    directory,
  )
  text = json.dumps(whole, indent=2, sort_keys=True)
  (directory / 'config.json').write_text(f'{text}\n', 'utf-8')
  if tokenizer is not None:
    tokenizer.save(directory)


def settings_of(model: nn.Module) -> Settings:
  """Returns all fields of a model, including those of its config."""
  own = {
    field: getattr(model, field)
    for field in type(model).__dataclass_fields__
    if field not in NEUTRAL
  }
  return vars(model.config) | own


def nested(flat: Mapping[str, np.ndarray]) -> PyTree:
  """Returns the tree whose leaves have these paths."""
  tree: dict[str, Any] = {}
  for path, leaf in flat.items():
    *parents, name = path.split('/')
    node = tree
    for parent in parents:
      node = node.setdefault(parent, {})
    node[name] = leaf
  return tree


def table(family: Family, settings: Settings) -> list[Row]:
  """Returns the table of a model with these settings and `heads`."""
  rows = [*family.backbone(settings)]
  for terms, of_head in family.heads.items():
    rows += of_head if {*terms} <= {*settings['heads']} else ()
  return rows


def plain(arrays: Arrays, family: Family) -> Arrays:
  """Returns the arrays by their names in the family's table."""
  prefixes = {one.prefix for one in family.classes.values()}

  def own(name):
    for prefix in prefixes:
      name = name.removeprefix(prefix)
    for old, new in OLD_NAMES.items():
      name = re.sub(rf'{re.escape(old)}$', new, name)
    return name

  return {own(name): array for name, array in arrays.items()}


def _check_tied(
  family: Family, config: Mapping[str, Any], arrays: Arrays, place: str
) -> None:
  """Raises UserError if the output table is untied where ours must be tied."""
  tied = config.get('tie_word_embeddings', True)
  if tied or 'tie_embeddings' in models.fields(family.name, family.preset):
    return
  for copy, name in family.copies.items():
    if {copy, name} <= arrays.keys() and not np.array_equal(
      arrays[copy], arrays[name]
    ):
      raise UserError(
        f'{place} cannot be read: its config.json says tie_word_embeddings:'
        f' false, and {copy} is not equal to {name}, but a {family.name} here'
        ' scores tokens by the table that embeds them. Give a checkpoint in'
        ' which they are tied; of these families, t5 may have two tables.'
      )


def _find_heads(
  family: Family, names: Collection[str], config: Mapping[str, Any]
) -> Heads:
  """Returns the heads that a checkpoint has: those of its class, and others.

  Two heads may use the same names, as BERT's `label` and `tags` do: then its
  class decides or, if that is unknown, whether there is a pooler.
  """
  architectures = config.get('architectures') or ()
  told = next(
    (family.classes[a].heads for a in architectures if a in family.classes),
    None,
  )

  def is_told(terms):
    return told is not None and {*terms} <= {*told}

  def order(terms):
    reads_pooler = bool({*terms} & {*model_heads.OF_TEXT})
    return (not is_told(terms), reads_pooler != (POOLER in names))

  found, taken = set(), set()
  for terms in sorted(family.heads, key=order):
    own = {row.theirs for row in family.heads[terms]}
    there = own - {*family.copies} & {*names} and not own & taken
    if there or is_told(terms):
      found |= {*terms}
      taken |= own
  if told is None and not found and family.tied:
    found = {'tokens'}
  return tuple(term for term in model_heads.TERMS if term in found)


def _choose_class(
  family: Family, heads: Heads, paths: Collection[str]
) -> tuple[str, Class]:
  """Returns the published class that has these heads."""
  for name, one in family.classes.items():
    has = one.lacks and any(p.startswith(f'{one.lacks}/') for p in paths)
    if {*one.heads} == {*heads} and not has:
      return name, one
  there = {' with '.join(c.heads) or 'none' for c in family.classes.values()}
  raise UserError(
    f'The model has the heads {heads}, and Hugging Face has a'
    f' {family.model_type} with {", ".join(sorted(there))}. Set'
    ' config.model.heads to one of them.'
  )


def _family_of(model: nn.Module) -> Family:
  kinds = {'GPT': 'gpt2', 'BERT': 'bert', 'EncoderDecoder': 't5'}
  kind = kinds.get(type(model).__name__)
  if kind is None:
    raise UserError(
      f'Hugging Face has no {type(model).__name__} among'
      f' {", ".join(FAMILIES)}: this model cannot be written for it.'
    )
  if kind == 'bert' and model.position_offset:
    kind = 'roberta'
  return FAMILIES[kind]


def _num_labels(config: Mapping[str, Any]) -> int:
  labels = config.get('id2label')
  return len(labels) if labels else config.get('num_labels') or 2


def _labels(
  config: Mapping[str, Any], heads: Heads, settings: Settings
) -> dict[str, Any]:
  """Returns the names of the labels: those of `config` if they fit."""
  if not {'label', 'tags', 'start'} & {*heads}:
    return {}
  number = 2 if 'start' in heads else settings['num_labels']
  names = [*(config.get('id2label') or {}).values()]
  if len(names) != number:
    names = [f'LABEL_{i}' for i in range(number)]
  return {
    'id2label': dict(enumerate(names)),
    'label2id': {name: i for i, name in enumerate(names)},
  }


def _special_tokens(
  tokenizer: Tokenizer | None, settings: Settings
) -> dict[str, int]:
  """Returns the ids of special tokens that belong in a published config."""
  if tokenizer is None:
    return {}
  offset = settings.get('position_offset')
  if offset and tokenizer.pad_id != offset - 1:
    raise UserError(
      f'The id of the padding is {tokenizer.pad_id}, and Hugging Face counts'
      f' positions from the one behind it, but config.model.position_offset is'
      f' {offset}: this model cannot be written for it.'
    )
  ids = {
    'bos_token_id': tokenizer.bos_id,
    'eos_token_id': tokenizer.eos_id,
    'pad_token_id': tokenizer.pad_id,
  }
  if 'num_decoder_layers' in settings:
    ids['decoder_start_token_id'] = tokenizer.vocabulary.start_id
  return {key: id for key, id in ids.items() if id is not None}


def _dtype(arrays: Arrays) -> str:
  """Returns bfloat16 if all floating-point arrays have it, else float32."""
  kinds = {str(array.dtype) for array in arrays.values()}
  floats = {kind for kind in kinds if 'float' in kind}
  return 'bfloat16' if floats == {'bfloat16'} else 'float32'
