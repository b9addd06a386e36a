"""The picture of the layouts shows what the mesh does."""

import pytest

from benchmarks import draw_layouts


@pytest.mark.parametrize('layout', draw_layouts.LAYOUTS)
def test_every_device_holds_its_share(layout):
  tokens, up, _, norm = draw_layouts.shardings(layout).values()
  size = draw_layouts.SIZE
  parts = layout.get('data', 1) * layout.get('fsdp', 1)
  assert tokens.shard_shape((size, size))[0] == size // parts
  split = layout.get('fsdp', 1) * layout.get('tensor', 1)
  rows, columns = up.shard_shape((size, size))
  assert rows * columns == size * size // split
  assert norm.shard_shape((size,)) == (size,)


def test_devices_are_told_in_short():
  assert draw_layouts.told([2, 0, 1]) == '0-2'
  assert draw_layouts.told([4, 0]) == '0, 4'
