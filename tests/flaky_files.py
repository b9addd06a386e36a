"""Files at flaky://, which are in memory, and whose connection is lost at will."""

from collections.abc import Callable
from typing import ClassVar

from fsspec.implementations.memory import MemoryFileSystem


class FlakyFiles(MemoryFileSystem):
  """Says before each operation what it is, and fails as it is told.

  Attributes:
    done: The operations so far and the paths.
    fault: Given an operation and a path, returns what it raises, or None.
    damage: Given a path and its bytes, returns what comes over the wire.
  """

  protocol = 'flaky'
  cachable = False
  store: ClassVar[dict] = {}
  pseudo_dirs: ClassVar[list] = ['']
  done: ClassVar[list[tuple[str, str]]] = []
  fault: ClassVar[Callable[[str, str], Exception | None]]
  damage: ClassVar[Callable[[str, bytes], bytes]]

  @classmethod
  def begin(cls) -> None:
    """Forgets all that was, and works well."""
    cls.store.clear()
    cls.pseudo_dirs[:] = ['']
    cls.done.clear()
    cls.work()

  @classmethod
  def work(cls) -> None:
    """Works well from now on."""
    cls.fault = staticmethod(lambda operation, path: None)
    cls.damage = staticmethod(lambda path, data: data)

  @classmethod
  def break_down(cls, times: float, what: str = '', path: str = '') -> None:
    """Loses the connection the next so many times, of such operations."""
    left = [times]

    def fault(operation: str, at: str) -> Exception | None:
      if what not in operation or path not in at or left[0] < 1:
        return None
      left[0] -= 1
      return ConnectionResetError('the connection was lost')

    cls.fault = staticmethod(fault)

  @classmethod
  def _strip_protocol(cls, path: str) -> str:
    return super()._strip_protocol(path.removeprefix('flaky://'))

  def _begin(self, operation: str, path: str) -> None:
    type(self).done.append((operation, path))
    error = type(self).fault(operation, path)
    if error is not None:
      raise error

  def cat_file(self, path, **kwargs):
    self._begin('read', path)
    return super().cat_file(path, **kwargs)

  def pipe_file(self, path, value, **kwargs):
    self._begin('write', path)
    return super().pipe_file(path, value, **kwargs)

  def get_file(self, path, local, **kwargs):
    self._begin('get', path)
    with open(local, 'wb') as file:
      file.write(type(self).damage(path, super().cat_file(path)))

  def put_file(self, local, path, **kwargs):
    self._begin('put', path)
    with open(local, 'rb') as file:
      super().pipe_file(path, file.read())

  def find(self, path, *args, **kwargs):
    self._begin('find', path)
    return super().find(path, *args, **kwargs)

  def rm_file(self, path):
    self._begin('remove', path)
    if path not in self.store:
      raise FileNotFoundError(path)
    del self.store[path]
