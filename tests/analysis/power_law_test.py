"""A fitted power law is the one that the losses follow."""

import numpy as np
import pytest
from scipy import stats

from lm.analysis import power_law
from lm.types import UserError

SIZES = (1e5, 3e5, 1e6, 3e6, 1e7)


@pytest.mark.parametrize('floor', [0.0, 1.5])
def test_a_law_without_noise_is_found(floor):
  losses = {size: [floor + 40 * size**-0.25] * 2 for size in SIZES}
  law = power_law.fit(losses, with_floor=bool(floor))
  assert law.exponent.estimate == pytest.approx(0.25, rel=1e-4)
  assert law.scale == pytest.approx(40, rel=2e-3)
  assert law.floor == pytest.approx(floor, rel=1e-3)
  assert law.error == pytest.approx(0, abs=1e-6)
  expected = floor + 40 * 1e9**-0.25
  assert law.predict(1e9) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize('floor, draws', [(0.0, 500), (1.5, 200)])
def test_the_interval_covers_a_known_exponent(floor, draws):
  rng, found = np.random.default_rng(0), []
  for _ in range(draws):
    losses = {
      size: ((floor + 40 * size**-0.2) * noise).tolist()
      for size, noise in zip(SIZES, rng.lognormal(sigma=0.005, size=(5, 3)))
    }
    interval = power_law.fit(losses, with_floor=bool(floor)).exponent
    found.append(interval.low <= 0.2 <= interval.high)
  assert 0.92 <= np.mean(found) <= 0.98


def test_the_line_is_that_of_scipy():
  rng = np.random.default_rng(1)
  losses = {size: [float(rng.uniform(2, 4))] for size in SIZES}
  law = power_law.fit(losses, level=0.9)
  line = stats.linregress(np.log(SIZES), np.log(list(losses.values()))[:, 0])
  half = stats.t.ppf(0.95, 3) * line.stderr
  assert law.exponent[:4] == pytest.approx(
    (-line.slope, -line.slope - half, -line.slope + half, 0.9), rel=1e-9
  )
  assert law.scale == pytest.approx(np.exp(line.intercept), rel=1e-9)
  assert law.exponent.method == (
    'least squares of the logarithm of the loss over 5 sizes, seeds averaged;'
    " Student's t of the regression with 3 degrees of freedom"
  )


def test_seeds_of_one_size_are_no_sizes_of_their_own():
  # Bent, so that the sizes lie off the line by far more than their seeds.
  bent = {size: 40 * size**-0.2 * (1 + 0.1 * (size == 1e6)) for size in SIZES}
  once = power_law.fit({size: [loss] for size, loss in bent.items()})
  often = power_law.fit({size: [loss] * 9 for size, loss in bent.items()})
  assert often.scale == pytest.approx(once.scale)
  assert often.exponent[:3] == pytest.approx(once.exponent[:3])


@pytest.mark.parametrize('with_floor, sizes', [(False, 2), (True, 3)])
def test_an_exact_fit_has_no_interval(with_floor, sizes):
  losses = {size: [1 + 40 * size**-0.2] for size in SIZES[:sizes]}
  law = power_law.fit(losses, with_floor=with_floor)
  assert law.exponent[1:3] == (None, None) and law.error is None
  assert law.exponent.method.endswith('no interval: the fit is exact')
  for size, (loss,) in losses.items():
    assert law.predict(size) == pytest.approx(loss, rel=1e-4)


@pytest.mark.parametrize(
  'losses, words',
  [
    ({1e5: [3.0]}, 'There are 1 sizes, and a power law of 2 numbers'),
    ({1e5: [3.0], 1e6: []}, r'at size 1e\+06 are \[\]'),
    ({1e5: [3.0], 1e6: [0.0]}, r'at size 1e\+06 are \[0.0\]'),
    ({1e5: [3.0], 1e6: [float('nan')]}, r'are \[nan\]'),
    ({0.0: [3.0], 1e6: [2.0]}, 'A size is 0.0'),
  ],
)
def test_losses_that_decide_no_law_are_refused(losses, words):
  with pytest.raises(UserError, match=words):
    power_law.fit(losses)
