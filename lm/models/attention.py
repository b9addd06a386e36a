"""Scaled dot-product attention, with a choice of kernels."""

import functools
from collections.abc import Callable
from typing import Literal

import jax
from absl import logging
from jaxtyping import Array, Float, Int

from lm.models.kernels import case as cases, cudnn, shares, splash
from lm.models.kernels.case import Case
from lm.models.kernels.chunked import CHUNK, chunked
from lm.models.kernels.plain import plain
from lm.models.masks import Mask
from lm.models.positions import RelativeBias
from lm.types import UserError

Kernel = Literal['auto', 'plain', 'chunked', 'cudnn', 'splash']
LONG = 2048  # From this many keys on, 'auto' avoids storing all scores.
FUSED = {'gpu': 'cudnn', 'tpu': 'splash'}
REFUSALS = {'cudnn': cudnn.refusal, 'splash': splash.refusal}


def attend(
  query: Float[Array, 'B Q H K'],
  key: Float[Array, 'B T H K'],
  value: Float[Array, 'B T H K'],
  mask: Mask,
  slots: Int[Array, '#B Q'] | None = None,
  dropout: Callable[[Array], Array] | None = None,
  bias: RelativeBias | None = None,
  kernel: Kernel | None = 'plain',
) -> Float[Array, 'B Q H K']:
  """Applies scaled dot-product attention (Vaswani et al. 2017, 3.2).

  Attention itself has no notion of causality, padding or position: `mask`
  defines which keys each query may attend to, in terms of their slots.

  Args:
    query: Queries, already scaled.
    key: Keys; key t is at slot t.
    value: Values.
    mask: Which keys each query may attend to.
    slots: The slot of each query among the keys of a cache; None means that
      there is no cache, and that query i is at slot i.
    dropout: Applied to the attention weights; None means no dropout.
    bias: Added to the scores.
    kernel: The kernel to use; 'auto' chooses one that fits; None means the
      plain one, without logging the choice.
  """
  if kernel is None:
    return plain(query, key, value, mask, slots, dropout, bias)
  name, why = choose(
    kernel,
    Case(
      mask=mask,
      num_queries=query.shape[1],
      num_keys=key.shape[1],
      head_dim=query.shape[-1],
      dtype=query.dtype.name,
      biased=bias is not None,
      drops=dropout is not None,
      cached=slots is not None,
      divided=shares.count('L') > 1,
      platform=jax.default_backend(),
      capability=cases.capability(),
    ),
  )
  _say(name, why)
  if name == 'plain':
    return plain(query, key, value, mask, slots, dropout, bias)
  if name == 'chunked':
    return chunked(query, key, value, mask, slots, bias)
  fused = {
    'cudnn': functools.partial(cudnn.cudnn, bias=bias),
    'splash': splash.splash,
  }[name]
  return in_bands(fused, query, key, value, mask)


def choose(kernel: Kernel, case: Case) -> tuple[str, str]:
  """Returns the kernel to use, and why.

  Raises:
    UserError: The named kernel cannot compute this.
  """
  if case.cached and kernel != 'plain':  # Fused kernels do not support slots.
    name, why = _by_length(case)
    return name, f'of a cache, {why}'
  if kernel != 'auto':
    why = refusal(kernel, case)
    if why:
      raise UserError(
        f'kernel is {kernel!r}, but {why}. Set config.model.kernel to'
        " 'auto', which takes it where it can."
      )
    return kernel, 'config.model.kernel says so'
  fused = FUSED.get(case.platform)
  why_not = fused and refusal(fused, case)
  if fused and not why_not:
    return fused, 'it can compute this, and holds no scores'
  name, why = _by_length(case)
  return name, f'{why}; not by {fused}: {why_not}' if fused else why


def refusal(name: str, case: Case) -> str | None:
  """Returns why a kernel cannot compute this, or None if it can."""
  if name == 'plain':
    return None
  if case.drops:
    return (
      'only the plain one drops attention weights out: for others'
      ' config.model.attention_dropout is 0'
    )
  if name not in REFUSALS:
    return None
  if case.divided:
    return 'it needs whole rows, and config.parallel.sequence divides them'
  return REFUSALS[name](case)


def in_bands(
  compute: Callable[..., Array],
  query: Float[Array, 'B Q H K'],
  key: Float[Array, 'B T H K'],
  value: Float[Array, 'B T H K'],
  mask: Mask,
) -> Float[Array, 'B Q H K']:
  """Applies a kernel for which the window is a compile-time constant.

  If only some layers have a window, both variants are compiled and one is run.
  """
  if mask.banded is None:
    return compute(query, key, value, mask)
  near = mask.replace(banded=None)
  far = near.replace(window=None)
  return jax.lax.cond(
    mask.banded,
    lambda *arrays: compute(*arrays, near),
    lambda *arrays: compute(*arrays, far),
    *(query, key, value),
  )


def _by_length(case: Case) -> tuple[str, str]:
  if case.drops:
    return 'plain', refusal('chunked', case)
  if case.num_keys < LONG:
    return 'plain', f'rows have under {LONG} tokens'
  if case.num_queries <= CHUNK:
    return 'plain', f'at most {CHUNK} tokens read at once'
  return 'chunked', f'rows have {LONG} tokens or more'


@functools.cache
def _say(name: str, why: str) -> None:
  logging.info('Attention is computed by the %s kernel: %s.', name, why)
