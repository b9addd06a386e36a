"""A plot shows the run that it is of."""

import math

import pytest
from matplotlib import image

from lm.analysis import plots


def a_run(last: int = 2000) -> list[dict]:
  lines = []
  for step in range(10, last + 1, 10):
    noise = 0.04 * math.sin(step * 12.9898) * math.cos(step * 7.233)
    loss = 1.8 + 2.4 * math.exp(-step / 250) + noise
    lines.append({'step': step, 'split': 'train', 'loss': loss})
    if step % 200 == 0:
      lines.append({'step': step, 'split': 'eval', 'loss': loss + 0.08})
  return lines


def test_both_losses_are_drawn(tmp_path):
  target = tmp_path / 'plots' / 'loss.png'
  plots.loss(a_run(), target, 'gpt.py:nano $5 a_b')
  assert [path.name for path in target.parent.iterdir()] == ['loss.png']
  pixels = (255 * image.imread(target)[:, :, :3]).round().astype(int)
  assert pixels.shape == (540, 960, 3)
  for color in (plots.TRAIN, plots.EVAL):
    rgb = [int(color[at : at + 2], 16) for at in (1, 3, 5)]
    rows, columns = (pixels == rgb).all(axis=2).nonzero()
    assert columns.max() - columns.min() > 500
    assert rows.max() - rows.min() > 100


@pytest.mark.parametrize(
  'lines',
  [
    [],
    [{'step': 10, 'split': 'train', 'loss': 4.0}],
    [{'step': 10, 'split': 'eval', 'loss': None}],
    [
      {'step': s, 'split': 'train', 'loss': x} for s, x in [(1, 2.0), (2, None)]
    ],
  ],
)
def test_a_run_of_few_or_broken_numbers_is_drawn_too(tmp_path, lines):
  target = tmp_path / 'loss.png'
  plots.loss(lines, target, 'short')
  assert image.imread(target).shape[:2] == (540, 960)
