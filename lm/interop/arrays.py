"""Arrays in files: safetensors, whole or sharded, and numpy's .npz."""

import json
import pathlib
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save_file

from lm.types import UserError

Arrays = Mapping[str, np.ndarray]

FILE = 'model.safetensors'
INDEX = f'{FILE}.index.json'
PICKLES = ('*.bin', '*.pt', '*.pth', '*.ckpt')
DTYPES = {
  'F64': np.float64,
  'F32': np.float32,
  'F16': np.float16,
  'BF16': jnp.bfloat16,  # Not in numpy itself.
  'I64': np.int64,
  'I32': np.int32,
  'I16': np.int16,
  'I8': np.int8,
  'U8': np.uint8,
  'BOOL': np.bool_,
}


def read_directory(directory: pathlib.Path) -> Arrays:
  """Returns the arrays of a checkpoint by name; they stay on disk until used.

  Raises:
    UserError: There are none, they are pickles, or a shard is missing.
  """
  if (directory / FILE).is_file():
    return read_file(directory / FILE)
  if not (directory / INDEX).is_file():
    raise _absent(directory)
  index = json.loads((directory / INDEX).read_text('utf-8'))
  shards = sorted({*index['weight_map'].values()})
  lost = [name for name in shards if not (directory / name).is_file()]
  if lost:
    raise UserError(
      f'{directory} lacks {", ".join(lost)}, which its {INDEX} lists. Fetch'
      ' the checkpoint again.'
    )
  found: dict[str, np.ndarray] = {}
  for name in shards:
    found |= read_file(directory / name)
  return found


def read_file(path: pathlib.Path) -> Arrays:
  """Returns the arrays of a .safetensors or .npz file by name."""
  if path.suffix == '.npz':
    with np.load(path, allow_pickle=False) as file:
      return {name: file[name] for name in file.files}
  try:
    return _safetensors(path)
  except (ValueError, KeyError) as error:
    raise UserError(
      f'{path} cannot be read: {error}. Fetch the checkpoint again.'
    ) from error


def write(arrays: Arrays, directory: pathlib.Path) -> None:
  """Writes `model.safetensors` as torch's libraries read it."""
  whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
  save_file(whole, str(directory / FILE), metadata={'format': 'pt'})


def _safetensors(path: pathlib.Path) -> Arrays:
  """Returns views of the file.

  It begins with the size of a header (8 bytes) and the header: the dtype, shape
  and offsets of each array. The library's own reader supports bfloat16 for
  numpy only in newer versions.
  """
  with path.open('rb') as file:
    size = int.from_bytes(file.read(8), 'little')
    if size > path.stat().st_size:
      raise ValueError('it is cut short')
    header = json.loads(file.read(size))
  data = np.memmap(path, np.uint8, 'r')[8 + size :]
  found = {}
  for name, form in header.items():
    if name == '__metadata__':
      continue
    begin, end = form['data_offsets']
    array = data[begin:end].view(DTYPES[form['dtype']])
    found[name] = np.asarray(array).reshape(form['shape'])
  return found


def _absent(directory: pathlib.Path) -> UserError:
  pickles = [file.name for kind in PICKLES for file in directory.glob(kind)]
  if pickles:
    return UserError(
      f'{directory} holds its arrays in {", ".join(sorted(pickles))}: pickles,'
      ' which can run any program when they are read. Save it as safetensors:'
      ' with transformers, CLASS.from_pretrained(DIR).save_pretrained(OUT), of'
      " the class that its config.json names as one of 'architectures'."
    )
  return UserError(f'{directory} has neither {FILE} nor {INDEX}.')
