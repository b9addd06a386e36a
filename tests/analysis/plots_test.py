"""A plot shows the run that it is of."""

import math

import numpy as np
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


def colored(target, color):
  """Returns the rows and columns of the pixels of a color."""
  pixels = (255 * image.imread(target)[:, :, :3]).round().astype(int)
  rgb = [int(color[at : at + 2], 16) for at in (1, 3, 5)]
  return (pixels == rgb).all(axis=2).nonzero()


def test_variants_are_drawn_each_in_its_color(tmp_path):
  target = tmp_path / 'plots' / 'loss.png'
  falling = lambda end: [(x, end + 3 / x) for x in range(1, 101)]
  series = {f'variant $ {i}': [falling(i), falling(i + 0.2)] for i in range(7)}
  plots.lines(series, target, 'Seven $ a_b', 'FLOPs', 'loss (nats)')
  assert [path.name for path in target.parent.iterdir()] == ['loss.png']
  heights = []
  for color in plots.COLORS[:-1]:  # The frame is black, too.
    rows, columns = colored(target, color)
    assert columns.max() - columns.min() > 500
    heights.append(np.median(rows[(columns > 400) & (columns < 600)]))
  assert heights == sorted(heights, reverse=True)  # Variant 0 is the lowest.


def test_a_band_is_the_deviation_of_runs_where_all_of_them_are():
  runs = [[(0, 1.0), (1, 2.0), (2, 3.0)], [(0, 3.0), (1, 6.0), (2, 3.0)]]
  x, mean, std = plots.band(runs)
  assert x.tolist() == [0, 1, 2]
  assert mean.tolist() == [2, 4, 3]
  assert std == pytest.approx([math.sqrt(2), math.sqrt(8), 0])

  # In seconds each run is measured at places of its own.
  x, mean, _ = plots.band([[(0, 0.0), (4, 4.0)], [(1, 3.0), (3, 5.0), (9, 9)]])
  assert x.tolist() == [1, 3, 4]
  assert mean == pytest.approx([2, 4, (4 + 5 + 2 / 3) / 2])

  x, mean, std = plots.band([[(0, 1.0), (1, None), (2, 3.0)]])
  assert x.tolist() == [0, 1, 2] and std.tolist()[::2] == [0, 0]
  assert [mean[0], mean[2]] == [1, 3] and math.isnan(mean[1])
  assert [part.size for part in plots.band([])] == [0, 0, 0]


@pytest.mark.parametrize(
  'series',
  [
    {},
    {'none': []},
    {'no points': [[], []]},
    {'one': [[(1e6, 2.0)]], 'two': [[(1, 2.0), (3, None)], [(1, 2.5)]]},
    {'nothing above 0': [[(0, -1.0), (-2, None)], [(0, 0.0), (1, None)]]},
    {'apart': [[(1, 2.0), (2, 2.0)], [(3, 2.0), (4, 1.0)]]},
  ],
)
@pytest.mark.parametrize('log', [False, True])
def test_few_or_broken_points_are_drawn_too(tmp_path, series, log):
  target = tmp_path / 'lines.png'
  plots.lines(series, target, 'few', 'x', 'y', log_x=log, log_y=log)
  assert image.imread(target).shape[:2] == (540, 960)


def heights_of_bars(target, color):
  """Returns how many rows of pixels the bars of a color have."""
  rows, _ = colored(target, color)
  return len(np.unique(rows))


def test_bars_are_as_high_as_their_numbers(tmp_path):
  target = tmp_path / 'bars.png'
  # At 75% on white.
  first, second = ('#4095c5', '#df8640')
  plots.bars(
    {
      'GPT': {'a_b': plots.Bar(4.0, 3.5, 4.5), '$5': plots.Bar(None)},
      'BERT': {'a_b': plots.Bar(2.0), '$5': plots.Bar(1.0)},
    },
    target,
    'title',
    'accuracy (%)',
    chance=0.5,
  )
  heights = [heights_of_bars(target, color) for color in (first, second)]
  assert heights[0] > 150
  # They begin at what chance achieves.
  assert heights[0] / heights[1] == pytest.approx(3.5 / 1.5, rel=0.05)


def test_no_bars_are_drawn_too(tmp_path):
  target = tmp_path / 'bars.png'
  plots.bars({}, target, 'none', 'y')
  plots.bars({'a': {}}, target, 'none', 'y')
  plots.bars({'a': {'b': plots.Bar(-1.0, -2.0, 0.5)}}, target, 'below', 'y')
  assert image.imread(target).shape[:2] == (540, 960)
