"""A picture of matrices shows their values, all on one scale."""

import numpy as np
import pytest
from matplotlib import image

from lm.analysis import heat_maps
from lm.types import UserError

BLUE = (8, 48, 107)  # The end of matplotlib's Blues.
RED, DEEP_BLUE = (103, 0, 31), (5, 48, 97)  # The ends of its RdBu.


def cells(target, color):
  """Returns how many pixels have a color."""
  pixels = (255 * image.imread(target)[:, :, :3]).round().astype(int)
  return (pixels == color).all(axis=2).sum()


def test_what_is_seen_is_drawn_and_what_is_not_is_white(tmp_path):
  counts = []
  for causal in (np.tri(6, dtype=bool), np.ones((6, 6), bool)):
    target = tmp_path / 'mask.png'
    heat_maps.draw(
      {'a $5 b_c': causal}, target, 'mask', ('key', 'query'), limits=(0.0, 1.0)
    )
    counts.append(cells(target, BLUE))
  # Of 36 cells a causal mask has 21.
  assert counts[0] / counts[1] == pytest.approx(21 / 36, rel=0.03)
  assert [path.name for path in tmp_path.iterdir()] == ['mask.png']


def test_all_panels_share_the_scale(tmp_path):
  target = tmp_path / 'maps.png'
  least = np.full((2, 3), 0.25)
  one = least.copy()
  one[0, 0] = 1.0
  heat_maps.draw({'low': least, 'high': one}, target, 't', ('x', 'y'))
  alone = cells(target, BLUE)
  heat_maps.draw({'high': one, 'more': one}, target, 't', ('x', 'y'))
  assert cells(target, BLUE) == pytest.approx(2 * alone, rel=0.05)


def test_a_scale_that_goes_below_0_is_white_at_0(tmp_path):
  target = tmp_path / 'signed.png'
  values = np.array([[-2.0, 0.0, 2.0]])
  heat_maps.draw({'': values}, target, 't', ('x', 'y'), unit='nats')
  assert min(cells(target, RED), cells(target, DEEP_BLUE)) > 1000


def test_many_panels_with_names_are_drawn(tmp_path):
  target = tmp_path / 'many.png'
  panels = {f'head {n}': np.eye(3) for n in range(5)}
  names = ('[CLS]', '$a', 'b_c')
  heat_maps.draw(
    panels, target, 't', ('x', 'y'), columns=names, rows=names, across=2
  )
  height, width, _ = image.imread(target).shape
  assert width == 800 and height > 400


@pytest.mark.parametrize(
  ('panels', 'names', 'said'),
  [
    ({}, (), 'one or more'),
    ({'a': np.eye(2), 'b': np.eye(3)}, (), 'one shape'),
    ({'a': np.eye(2)}, ('x',), '1 names of columns, and 2'),
  ],
)
def test_what_has_no_common_axes_is_refused(tmp_path, panels, names, said):
  with pytest.raises(UserError, match=said):
    heat_maps.draw(panels, tmp_path / 'a.png', 't', ('x', 'y'), columns=names)
