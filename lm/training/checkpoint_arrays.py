"""The arrays of a checkpoint, written and read by Orbax.

They are saved by path (`params/decoder/mlp/up/kernel`), so a reader depends
neither on optax's classes nor on the devices that they were on.
"""

import logging as stdlib_logging
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from flax import traverse_util
from jax import tree_util

from lm.types import PyTree, UserError, path_of

# Prefixes of warnings that are expected when processes write separately.
OF_APART = (
  'Global object size logging disabled',
  '[process=%s][thread=%s] Skipping merge of OCDBT checkpoints',
)


def writer(apart: bool = False) -> ocp.AsyncCheckpointer:
  """Returns the writer that `write` needs; `close()` ends its threads.

  Args:
    apart: Whether each process writes to a directory of its own; the checkpoint
      is then the files of all, which are disjoint except for those that belong
      to no array.
  """
  logging.get_absl_logger().addFilter(_is_news)
  own = ocp.options.MultiprocessingOptions(primary_host=None if apart else 0)
  handler = ocp.PyTreeCheckpointHandler(
    # Trained floats hardly compress: 10% smaller, but three times slower.
    use_compression=False,
    use_ocdbt=not apart,  # It merges files that all wrote to one directory.
    multiprocessing_options=own,
  )
  return ocp.AsyncCheckpointer(handler, multiprocessing_options=own)


def write(
  writer: ocp.AsyncCheckpointer, directory: pathlib.Path, tree: PyTree
) -> None:
  """Copies arrays to the host and starts to write them."""
  arrays = ocp.args.PyTreeSave(nested(by_path(tree)))
  writer.save(directory, args=arrays)


def read(directory: pathlib.Path, wanted: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the arrays with these names, in the form of the values.

  Args:
    directory: Where the arrays are.
    wanted: By path, a shape, dtype and sharding; a sharding of None means a
      numpy array.
  """

  def how(array):
    if array.sharding is None:
      return ocp.RestoreArgs(restore_type=np.ndarray)
    return ocp.ArrayRestoreArgs(
      sharding=array.sharding, global_shape=array.shape, dtype=array.dtype
    )

  reader = ocp.Checkpointer(ocp.PyTreeCheckpointHandler())
  arrays = reader.restore(
    directory,
    args=ocp.args.PyTreeRestore(
      item=nested(wanted),
      restore_args=nested({name: how(wanted[name]) for name in wanted}),
      partial_restore=True,
    ),
  )
  return traverse_util.flatten_dict(arrays, sep='/')


def by_path(tree: PyTree) -> dict[str, Any]:
  """Returns the leaves of a tree by their paths, in the tree's order."""
  leaves, _ = tree_util.tree_flatten_with_path(tree)
  return {path_of(keys): leaf for keys, leaf in leaves}


def nested(arrays: Mapping[str, Any]) -> dict[str, Any]:
  """Returns `{'params': {'decoder': ...}}`, given arrays by path."""
  return traverse_util.unflatten_dict(arrays, sep='/')


def forms(arrays: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
  """Returns the shape and dtype of each array, for JSON."""
  return {
    name: {'shape': list(array.shape), 'dtype': str(array.dtype)}
    for name, array in arrays.items()
  }


def require_equal(
  checkpoint: pathlib.Path,
  saved: Mapping[str, Mapping[str, Any]],
  wanted: Mapping[str, Mapping[str, Any]],
) -> None:
  """Raises UserError, with a list of all arrays in which two `forms` differ."""

  def words(form):
    return f'{form["dtype"]} {form["shape"]}'

  lines = []
  for name in sorted(saved.keys() | wanted.keys()):
    if name not in saved:
      lines.append(f'- {name}: {words(wanted[name])} is missing there')
    elif name not in wanted:
      lines.append(f'+ {name}: {words(saved[name])} is left over')
    elif saved[name] != wanted[name]:
      there, here = words(saved[name]), words(wanted[name])
      lines.append(f'! {name}: {there} there, {here} here')
  if lines:
    raise UserError(
      f'{checkpoint} does not fit config.model and config.optimizer:\n  '
      + '\n  '.join(lines)
      + '\nUse the config that it was trained with, or another workdir.'
    )


def _is_news(record: stdlib_logging.LogRecord) -> bool:
  """Drops the traceback of a failed save, which its caller gets and explains.

  Also drops what Orbax logs whenever processes write separately.
  """
  raised = 'async_checkpointer' in record.pathname and record.exc_info
  return not (raised or str(record.msg).startswith(OF_APART))
