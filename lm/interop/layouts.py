"""Which of our parameters published arrays hold, and in which layout."""

import dataclasses
import math
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from lm.interop.arrays import Arrays

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]  # Shapes of our parameters, by path.


@dataclasses.dataclass(frozen=True)
class Layout:
  """How a published array holds one of ours.

  Attributes:
    inputs: Number of leading axes of ours that form its rows; 0 for a vector.
    transposed: Whether the other axes form its rows, as in torch's Linear.
    by_token: Whether ours may have more rows, which pad the vocabulary.
  """

  inputs: int = 1
  transposed: bool = False
  by_token: bool = False

  def shape(self, ours: Shape, vocab_size: int) -> Shape:
    """Returns the published shape of an array of ours, of shape `ours`."""
    if self.by_token:
      ours = (vocab_size, *ours[1:])
    if not self.inputs:
      return (math.prod(ours),)
    sides = (math.prod(ours[: self.inputs]), math.prod(ours[self.inputs :]))
    return sides[::-1] if self.transposed else sides

  def read(self, array: np.ndarray, ours: Shape) -> np.ndarray:
    """Returns a published array in the shape `ours`."""
    return (array.T if self.transposed else array).reshape(ours)

  def write(self, array: np.ndarray, vocab_size: int) -> np.ndarray:
    """Returns one of our arrays as it is published."""
    if self.by_token:
      array = array[:vocab_size]
    shape = dataclasses.replace(self, transposed=False).shape(
      array.shape, vocab_size
    )
    array = array.reshape(shape)
    return array.T if self.transposed else array

  @property
  def output_axis(self) -> int:
    """The axis along which several of ours are concatenated."""
    return 1 if self.inputs and not self.transposed else 0


VECTOR = Layout(inputs=0)
TABLE = Layout()
TOKEN_TABLE = Layout(by_token=True)
TOKEN_VECTOR = Layout(inputs=0, by_token=True)
LINEAR = Layout(transposed=True)  # torch's: [F, D], or [H K, D].
LINEAR_OF_HEADS = Layout(inputs=2, transposed=True)  # [D, H K].
KERNEL = Layout()  # TensorFlow's, and GPT-2's: [D, F], or [D, H K].
KERNEL_OF_HEADS = Layout(inputs=2)  # [H K, D].


@dataclasses.dataclass(frozen=True)
class Row:
  """A row of a family's table.

  Attributes:
    theirs: A published name; with `{layer}`, one for each layer.
    layout: Layout of that array.
    ours: Paths of our parameters, which are concatenated if several.
  """

  theirs: str
  layout: Layout
  ours: tuple[str, ...]

  def names(self, shapes: Shapes) -> list[str]:
    """Returns the published names, in the order of the layers."""
    if '{layer}' not in self.theirs:
      return [self.theirs]
    layers = range(shapes[self.ours[0]][0])
    return [self.theirs.format(layer=layer) for layer in layers]

  def shape(self, shapes: Shapes, vocab_size: int) -> Shape:
    """Returns the shape of each of the published arrays."""
    shape = [*self.layout.shape(self._shape(shapes), vocab_size)]
    shape[self.layout.output_axis] *= len(self.ours)
    return tuple(shape)

  def read(self, arrays: Arrays, shapes: Shapes) -> dict[str, np.ndarray]:
    """Returns our arrays by path."""
    layers = []
    for name in self.names(shapes):
      parts = np.split(arrays[name], len(self.ours), self.layout.output_axis)
      layers.append(
        [self.layout.read(part, self._shape(shapes)) for part in parts]
      )
    whole = map(np.stack, zip(*layers)) if self._stacked else layers[0]
    return dict(zip(self.ours, whole))

  def write(
    self, ours: Arrays, vocab_size: int
  ) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the published names and arrays."""
    parts = [ours[path] for path in self.ours]
    names = self.names({path: ours[path].shape for path in self.ours})
    for layer, name in enumerate(names):
      own = [part[layer] for part in parts] if self._stacked else parts
      own = [self.layout.write(part, vocab_size) for part in own]
      whole = own[0]
      if len(own) > 1:
        whole = np.concatenate(own, self.layout.output_axis)
      yield name, whole

  @property
  def _stacked(self) -> bool:
    return '{layer}' in self.theirs

  def _shape(self, shapes: Shapes) -> Shape:
    return shapes[self.ours[0]][int(self._stacked) :]


def row(theirs: str, layout: Layout, *ours: str) -> Row:
  """Returns a `Row`; a shorthand for tables."""
  return Row(theirs, layout, ours)


def linear(theirs: str, ours: str, layout: Layout = LINEAR) -> tuple[Row, ...]:
  """Returns the rows of a layer that has a kernel and a bias."""
  return (
    row(f'{theirs}.weight', layout, f'{ours}/kernel'),
    row(f'{theirs}.bias', VECTOR, f'{ours}/bias'),
  )


def norm(theirs: str, ours: str) -> tuple[Row, ...]:
  """Returns the rows of a layer normalization."""
  return (
    row(f'{theirs}.weight', VECTOR, f'{ours}/scale'),
    row(f'{theirs}.bias', VECTOR, f'{ours}/bias'),
  )


def span(theirs: str) -> tuple[Row, ...]:
  """Returns the rows of a layer that scores the start and the end."""
  return (
    row(f'{theirs}.weight', LINEAR, 'start/kernel', 'end/kernel'),
    row(f'{theirs}.bias', VECTOR, 'start/bias', 'end/bias'),
  )


def used(rows: Sequence[Row], paths: Collection[str]) -> list[Row]:
  """Returns the rows whose parameters exist; of duplicates, the last."""
  by_path = {r.ours: r for r in rows if {*r.ours} <= {*paths}}
  return [*by_path.values()]
