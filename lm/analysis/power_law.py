"""Power laws of the loss in size, fitted to a ladder of sizes."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from lm.analysis.intervals import Interval, Number, around
from lm.types import UserError

FLOORS = 100  # The number of floors tried before the best is refined.


class PowerLaw(NamedTuple):
  """`loss = floor + scale * size ** -exponent` (Henighan et al. 2020).

  Without a floor it is the law of Kaplan et al. (2020, section 3).

  Attributes:
    scale: The loss above the floor at size 1.
    exponent: The exponent with its interval.
    floor: The loss that no size gets below; 0 unless fitted.
    error: The residual standard deviation of the log losses, by degrees of
      freedom; None if there are none left.
  """

  scale: float
  exponent: Interval
  floor: float
  error: float | None

  def predict(self, size: Number) -> float:
    """Returns the loss of a model of that size."""
    return self.floor + self.scale * size**-self.exponent.estimate


def fit(
  losses: Mapping[Number, Sequence[Number]],
  *,
  with_floor: bool = False,
  level: float = 0.95,
) -> PowerLaw:
  """Returns the least-squares power law of the logarithms of the losses.

  A size counts once, with the mean over its seeds: these share the deviation of
  their size from the line, so they are not independent measurements, and the
  degrees of freedom are the number of sizes minus the numbers fitted.

  Args:
    losses: The losses by size (parameters, tokens or FLOPs), one for each seed.
    with_floor: Whether to fit a floor above 0. It takes sizes over several
      orders of magnitude to tell it from the exponent.
    level: The confidence level of the interval, a share.

  Raises:
    UserError: There are fewer sizes than numbers to fit, or a loss has no
      logarithm.
  """
  fitted = 3 if with_floor else 2
  _check(losses, fitted)
  sizes = sorted(losses)
  x = np.log(np.array(sizes, float))
  y = np.array([np.mean(np.log(losses[size])) for size in sizes])
  solve = _with_floor if with_floor else _line
  # Centred, so that scale and exponent are as little correlated as possible.
  found, slopes = solve(x - x.mean(), y)
  height, exponent, floor = found
  law = lambda x: np.log(floor + np.exp(height - exponent * x))
  freedom = len(sizes) - fitted
  residuals = y - law(x - x.mean())
  floored = ' above a floor' if with_floor else ''
  method = (
    f'least squares of the logarithm of the loss{floored} over {len(sizes)}'
    ' sizes, seeds averaged'
  )
  error, interval = None, Interval(exponent, None, None, level, method)
  if freedom:
    error = math.sqrt(float(residuals @ residuals) / freedom)
    spread = np.linalg.pinv(slopes.T @ slopes)[1, 1]
    of = f'{freedom} degree{"s" * (freedom != 1)} of freedom'
    interval = around(
      exponent,
      error * math.sqrt(spread),
      freedom,
      level,
      f"{method}; Student's t of the regression with {of}",
    )
  else:
    interval = interval._replace(
      method=f'{method}; no interval: the fit is exact'
    )
  scale = math.exp(height + exponent * x.mean())
  return PowerLaw(scale, interval, floor, error)


Fit = tuple[tuple[float, float, float], Float[np.ndarray, 'sizes fitted']]


def _line(x: Float[np.ndarray, 'sizes'], y: Float[np.ndarray, 'sizes']) -> Fit:
  """Returns height, exponent and a floor of 0, and the Jacobian of the law."""
  slopes = np.stack([np.ones_like(x), -x], axis=1)
  height, exponent = np.linalg.lstsq(slopes, y)[0].tolist()
  return (height, exponent, 0.0), slopes


def _with_floor(
  x: Float[np.ndarray, 'sizes'], y: Float[np.ndarray, 'sizes']
) -> Fit:
  """Returns height, exponent and floor, and the Jacobian of the law."""
  from scipy import optimize

  law = lambda p: np.log(p[2] + np.exp(p[0] - p[1] * x))
  lowest = math.exp(y.min())
  starts = []
  for floor in np.linspace(0, lowest, FLOORS, endpoint=False):
    (height, exponent, _), _ = _line(x, np.log(np.exp(y) - floor))
    starts.append((height, exponent, floor))
  start = min(starts, key=lambda p: float(np.sum((law(p) - y) ** 2)))
  found = optimize.least_squares(
    lambda p: law(p) - y,
    start,
    bounds=([-np.inf, -np.inf, 0], [np.inf, np.inf, lowest]),
    x_scale='jac',
  )
  return tuple(found.x.tolist()), found.jac


def _check(losses: Mapping[Number, Sequence[Number]], fitted: int) -> None:
  """Raises UserError if the losses do not determine a law."""
  if len(losses) < fitted:
    raise UserError(
      f'There are {len(losses)} sizes, and a power law of {fitted} numbers needs'
      f' {fitted} or more. Add sizes to the ladder.'
    )
  for size, values in losses.items():
    if not len(values) or not all(0 < value < math.inf for value in values):
      raise UserError(
        f'The losses at size {size:g} are {list(values)}, and each must be a'
        ' number above 0. Leave the size out, or run it again.'
      )
    if not 0 < size < math.inf:
      raise UserError(f'A size is {size}, but it must be above 0. Correct it.')
