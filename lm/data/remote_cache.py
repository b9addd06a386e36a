"""A cache for all machines: copied from a URL, or built and uploaded there.

It holds:

    URL/tokens-0123456789abcdef/     a token store, its meta.json written last
    URL/tokenizer-0123456789abcdef/  a tokenizer, its tokenizer.json written last
"""

import pathlib
from collections.abc import Callable

from absl import logging

from lm.data import atomic, remote, token_store, tokenizers
from lm.types import UserError

# The file that is written last: a directory that has it is complete.
LAST = {'tokens': 'meta.json', 'tokenizer': 'tokenizer.json'}


def copy_or_make(
  url: str,
  kind: str,
  make: Callable[[pathlib.Path], None],
  directory: pathlib.Path,
) -> None:
  """Copies a directory from `url`, or else makes it and uploads it there.

  Args:
    url: Where the shared directory is, or will be.
    kind: What it holds, a name in `LAST`.
    make: Makes the directory, atomically.
    directory: Where it will be on this machine.

  Raises:
    UserError: The directory at `url` is damaged.
  """
  if LAST[kind] not in remote.files(url):
    make(directory)
    if LAST[kind] not in remote.files(url):  # No other machine was faster.
      names = [path.name for path in directory.iterdir()]
      remote.upload(directory, url, names, LAST[kind])
    return
  try:
    _copy(url, kind, directory)
  except remote.LostError:
    raise
  except UserError as error:
    logging.warning('%s It is copied again.', error)
    try:
      _copy(url, kind, directory)
    except UserError as again:
      raise UserError(
        f'{url} was copied twice, and is damaged: {again} Remove what is at'
        ' that URL, and it is built anew.'
      ) from again


def _copy(url: str, kind: str, directory: pathlib.Path) -> None:
  """Copies a directory, which gets its name once it is verified."""
  names = [name for name in remote.files(url) if not name.endswith('.npy')]
  logging.info('Copying %s to %s.', url, directory)
  with atomic.new_directory(directory) as path:
    remote.download(url, path, names)
    if kind == 'tokens':
      token_store.verify(token_store.open(path))
    else:
      tokenizers.load(path)
