"""Measures how much each attention kernel deviates from the plain one.

    python -m benchmarks.attention_agreement

prints, for every kernel and mask, the largest error of the output and of the
gradients of query, key, value and bias, relative to the largest number of the
plain kernel in float32. A kernel whose platform is not available is emulated:
splash is interpreted, cuDNN's arguments are computed by XLA.
"""

import contextlib
import functools
from collections.abc import Callable, Collection

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lm.models import attention, masks
from lm.models.kernels import case as cases, cudnn, splash
from lm.models.kernels.case import Case
from lm.models.kernels.chunked import chunked
from lm.models.kernels.plain import plain
from lm.models.masks import Mask
from lm.models.positions import RelativeBias

# For float32, and for inputs and outputs in bfloat16.
TOLERANCE = {'float32': 1e-5, 'bfloat16': 2e-2}
KERNELS = ('plain', 'chunked', 'cudnn', 'splash')
BUCKETS, MAX_DISTANCE = 32, 128


def settings(
  rows: int, length: int, heads: int, keys: int | None = None
) -> dict[str, tuple[Mask, bool]]:
  """Returns masks by name, each with whether a relative bias is added.

  Args:
    rows: The number of rows of the batch.
    length: The length of each row.
    heads: The number of heads.
    keys: The length of another row to attend to, which has fewer masks.
  """
  slot = np.arange(keys or length)[None] + np.zeros((rows, 1), int)
  thirds = lambda size: 1 + np.arange(size)[None] * 3 // size
  own, segments = (
    jnp.asarray(np.repeat(thirds(size), rows, axis=0), jnp.int32)
    for size in (length, keys or length)
  )
  shares = np.linspace(0.6, 1, rows)[:, None]
  padded = jnp.asarray(slot < shares * slot.shape[1])
  holed = jnp.asarray(np.random.default_rng(0).random(slot.shape) < 0.7)
  if keys:
    return {
      'all': (Mask(), False),
      'padded': (masks.valid(padded), False),
      'holed': (masks.valid(holed), False),
      'packed': (masks.same_segment(segments, own), False),
    }
  causal, packed = masks.causal(), masks.same_segment(segments)
  return {
    'all': (Mask(), False),
    'all, bias': (Mask(), True),
    'causal': (causal, False),
    'causal, bias': (causal, True),
    'window': (masks.window(20), False),
    'window, bias': (masks.window(20), True),
    'no band': (masks.window(20, jnp.asarray(False)), False),
    'a band': (masks.window(20, jnp.asarray(True)), False),
    'padded': (masks.valid(padded), False),
    'padded, bias': (masks.valid(padded), True),
    'holed': (masks.valid(holed), False),
    'padded, causal': (causal & masks.valid(padded), False),
    'packed': (packed, False),
    'packed, bias': (packed, True),
    'packed, causal': (causal & packed, False),
    'packed, window': (masks.window(20) & packed, False),
    'prefix': (causal & masks.prefix(segments == 1), False),
    'both ways': (masks.direction('forward_backward', heads), False),
  }


def computes(kernel: str, platform: str) -> Callable[..., Array]:
  """Returns the function of a kernel, emulated if need be."""
  if kernel == 'plain':
    return plain
  if kernel == 'chunked':
    return chunked
  if kernel == 'cudnn':
    way = 'cudnn' if platform == 'gpu' else 'xla'
    fused = functools.partial(cudnn.cudnn, implementation=way)
  else:
    fused = functools.partial(splash.splash, interpret=platform != 'tpu')

  def compute(query, key, value, mask, **bias):
    own = functools.partial(fused, **bias)
    return attention.in_bands(own, query, key, value, mask)

  return compute


def agreement(
  kernel: str,
  dtype: str = 'float32',
  rows: int = 2,
  length: int = 256,
  keys: int | None = None,
  heads: int = 2,
  head_dim: int = 64,
  only: Collection[str] | None = None,
  jit: Callable[..., Callable] = jax.jit,
) -> dict[str, float]:
  """Returns the largest error for each mask that the kernel supports.

  Args:
    kernel: One of `KERNELS`.
    dtype: The dtype of query, key and value.
    rows: The number of rows of the batch.
    length: The length of each row.
    keys: The length of another row to attend to, if any.
    heads: The number of heads.
    head_dim: The width of each.
    only: The masks to try; None means all.
    jit: The compiler to use, which only affects the time.
  """
  found, compiled = {}, jit(results, static_argnums=(0, 1))
  for name, (mask, biased) in settings(rows, length, heads, keys).items():
    if name not in (only or [name]):
      continue
    case = Case(
      mask=mask,
      num_queries=length,
      num_keys=keys or length,
      head_dim=head_dim,
      dtype='bfloat16',  # cuDNN would refuse float32.
      biased=biased,
      platform='tpu',
      capability=cases.capability() or cudnn.HOPPER,
    )
    if attention.refusal(kernel, case) is None:
      shape = (rows, length, keys or length, heads, head_dim)
      found[name] = _error(compiled, kernel, dtype, mask, biased, shape)
  return found


def _error(results, kernel, dtype, mask, biased, shape) -> float:
  rows, length, keys, heads, width = shape
  rng = np.random.default_rng(0)

  def draw(*shape, scale=1.0):
    return jnp.asarray(rng.normal(0, scale, shape), dtype)

  query = draw(rows, length, heads, width, scale=width**-0.5)
  key, value = (draw(rows, keys, heads, width) for _ in range(2))
  back = draw(rows, length, heads, width)
  table = jnp.asarray(rng.normal(size=(BUCKETS, heads)), jnp.float32)
  given = query, key, value, table
  whole = tuple(x.astype(jnp.float32) for x in given)
  # Accelerators multiply float32 in lower precision by default.
  exact = jax.default_matmul_precision('highest')
  with exact if dtype == 'float32' else contextlib.nullcontext():
    got = results(kernel, biased, mask, given, back)
  with jax.default_matmul_precision('highest'):
    wide = back.astype(jnp.float32)
    expected = results('plain', biased, mask, whole, wide)
  errors = jax.tree.map(
    lambda a, b: jnp.abs(a.astype(jnp.float32) - b).max() / jnp.abs(b).max(),
    got,
    expected,
  )
  return float(max(jax.tree.leaves(errors)))


def results(
  kernel: str,
  biased: bool,
  mask: Mask,
  given: tuple[Float[Array, '...'], ...],
  back: Float[Array, 'B Q H K'],
) -> tuple[Float[Array, '...'], ...]:
  """Returns the output, and the gradients of query, key, value and bias."""
  compute = computes(kernel, jax.default_backend())

  def read(query, key, value, table=None):
    if table is None:
      return compute(query, key, value, mask)
    bias = RelativeBias(table, True, MAX_DISTANCE)
    return compute(query, key, value, mask, bias=bias)

  out, pull = jax.vjp(read, *(given if biased else given[:3]))
  return out, *pull(back)


def main():
  """Prints a table; exits with 1 if a kernel exceeds the tolerance."""
  off = False
  for kernel in KERNELS:
    for dtype, tolerance in TOLERANCE.items():
      if (kernel, dtype) == ('cudnn', 'float32') and cases.capability():
        continue  # Not supported by cuDNN.
      for name, error in agreement(kernel, dtype).items():
        off |= not error <= tolerance
        print(f'{kernel:8} {dtype:9} {name:16} {error:.1e}')
  raise SystemExit(int(off))


if __name__ == '__main__':
  main()
