"""Conversion of published arrays to our parameters, and back, by a table."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from lm.interop import layouts
from lm.interop.arrays import Arrays
from lm.interop.layouts import Row
from lm.types import PyTree, UserError, path_of


class Table(NamedTuple):
  """The names of a checkpoint.

  Attributes:
    rows: The arrays to read.
    copies: Names of arrays that must equal another one, if they are present.
    ignored: Matches names that may be present, and are not read.
  """

  rows: Sequence[Row]
  copies: Mapping[str, str] = {}
  ignored: str = ''


def read(
  arrays: Arrays, table: Table, model: nn.Module, place: str
) -> dict[str, np.ndarray]:
  """Returns the parameters of `model`, by path.

  Args:
    arrays: Published arrays by name.
    table: Their names.
    model: The model; the arrays must hold all of its parameters, and no others.
    place: Where they come from, for messages.

  Raises:
    UserError: Arrays are missing, left over, untied, or of the wrong shape; all
      of them are listed.
  """
  shapes = expected(model, _decodes(arrays))
  vocab_size = model.config.vocab_size
  rows = layouts.used(table.rows, shapes)
  wanted = {
    name: row.shape(shapes, vocab_size)
    for row in rows
    for name in row.names(shapes)
  }
  arrays = dict(arrays)
  for copy, name in table.copies.items():  # Either of the two may be present.
    if name in wanted and name not in arrays and copy in arrays:
      arrays[name] = arrays[copy]
  lines = [f'missing: {name}' for name in wanted if name not in arrays]
  for name, array in arrays.items():
    if name in wanted:
      if array.shape != wanted[name]:
        lines.append(
          f'wrong shape: {name} is {array.shape}, not {wanted[name]}'
        )
    elif name in table.copies:
      original = arrays.get(table.copies[name])
      if original is None or not np.array_equal(array, original):
        lines.append(
          f'untied: {name} is not equal to {table.copies[name]}, as it must be'
        )
    elif not re.fullmatch(table.ignored, name):
      lines.append(f'left over: {name}')
  if lines:
    raise UserError(
      f'The arrays of {place} are not those of the model that its config'
      ' describes:\n' + '\n'.join(f'  {line}' for line in lines)
    )
  found = {}
  for row in rows:
    found |= row.read(arrays, shapes)
  return {path: _widened(array) for path, array in found.items()}


def write(params: PyTree, rows: Sequence[Row], vocab_size: int) -> Arrays:
  """Returns published arrays by name; rows without parameters are left out.

  Raises:
    UserError: Parameters, which are listed, have no published name.
  """
  ours = by_path(jax.device_get(params))
  found = layouts.used(rows, ours)
  known = {path for row in found for path in row.ours}
  if ours.keys() - known:
    raise UserError(
      'These parameters have no place in the published model: '
      f'{", ".join(sorted(ours.keys() - known))}.'
    )
  return {
    name: array for row in found for name, array in row.write(ours, vocab_size)
  }


def expected(model: nn.Module, decodes: bool) -> dict[str, layouts.Shape]:
  """Returns the shape of each parameter of `model`, by path.

  Args:
    model: A model of any architecture.
    decodes: Whether to include the decoder of an encoder-decoder.
  """
  token = jnp.zeros((1, 1), jnp.int32)
  inputs = {'tokens': token}
  if model.form == 'encoder_decoder':
    inputs = {'source_tokens': token} | (inputs if decodes else {})
  tree = jax.eval_shape(model.init, jax.random.key(0), **inputs)['params']
  return {path: leaf.shape for path, leaf in by_path(tree).items()}


def by_path(tree: PyTree) -> dict[str, Any]:
  """Returns the leaves of a tree by their paths."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {path_of(path): leaf for path, leaf in leaves}


def _decodes(arrays: Arrays) -> bool:
  return any(name.startswith('decoder.') for name in arrays)


def _widened(array: np.ndarray) -> np.ndarray:
  """Returns float16 arrays, which are not supported here, as float32."""
  return array.astype(np.float32) if array.dtype == np.float16 else array
