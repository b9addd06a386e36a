"""Every kernel reads what the plain one reads, forward and backward."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lm.models import attention, masks
from lm.models.positions import RelativeBias
from tests.models import tiny

ROWS, QUERIES, HEADS, WIDTH = 2, 300, 2, 8  # Two chunks and a part of one.


def draw(*shape, seed=0):
  rng = np.random.default_rng(seed)
  return jnp.asarray(rng.normal(size=shape), jnp.float32)


SEGMENTS = jnp.asarray(np.repeat([[1, 2, 0], [1, 1, 2]], 100, axis=1))
VALID = jnp.asarray(np.arange(QUERIES)[None] < np.array([[250], [300]]))
MASKS = {
  'all': masks.Mask(),
  'causal': masks.causal(),
  'window': masks.window(20),
  'valid': masks.valid(VALID),
  'packed': masks.causal() & masks.same_segment(SEGMENTS),
  'prefix': masks.causal() & masks.prefix(SEGMENTS == 1),
  'forward_backward': masks.direction('forward_backward', HEADS),
}


def both(kernel, mask, bias, keys=QUERIES):
  query, key, value, back = (
    draw(ROWS, n, HEADS, WIDTH, seed=seed)
    for seed, n in enumerate((QUERIES, keys, keys, QUERIES))
  )

  def read(query, key, value, table):
    buckets = None if table is None else RelativeBias(table, True, 64)
    out = attention.attend(
      query,
      key,
      value,
      mask,
      jnp.arange(QUERIES)[None],
      bias=buckets,
      kernel=kernel,
    )
    return jnp.sum(out * back), out

  grad = jax.value_and_grad(read, argnums=(0, 1, 2, 3), has_aux=True)
  return tiny.quick_jit(grad)(query, key, value, bias)


def assert_same(kernel, *case, **others):
  expected = both('plain', *case, **others)
  got = both(kernel, *case, **others)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-4),
    got,
    expected,
  )


@pytest.mark.parametrize('mask', MASKS)
def test_chunks_read_what_the_plain_kernel_does(mask):
  assert_same('chunked', MASKS[mask], draw(32, HEADS))


def test_chunks_read_a_source_of_another_length():
  mask = masks.same_segment(SEGMENTS[:, :170], SEGMENTS)
  assert_same('chunked', mask, None, keys=170)


def test_chunks_need_memory_that_grows_with_the_length_alone():
  def memory(kernel, length):
    x = jax.ShapeDtypeStruct((1, length, 4, 16), jnp.float32)

    def loss(query, key, value):
      slots = jnp.arange(length)[None]
      mask = masks.causal()
      out = attention.attend(query, key, value, mask, slots, kernel=kernel)
      return jnp.sum(out**2)

    step = jax.jit(jax.grad(loss, argnums=(0, 1, 2))).lower(x, x, x)
    return step.compile().memory_analysis().temp_size_in_bytes

  assert memory('chunked', 2048) < 2.5 * memory('chunked', 1024)
  assert memory('plain', 2048) > 3.5 * memory('plain', 1024)
  assert memory('chunked', 2048) < 0.2 * memory('plain', 2048)


@pytest.mark.parametrize(
  'arguments, expected',
  [
    (('auto', 512, 512, False), 'plain'),
    (('auto', 4096, 4096, False), 'chunked'),
    (('auto', 4096, 4096, True), 'plain'),
    (('auto', 4096, 1, False), 'plain'),
    (('chunked', 512, 512, False), 'chunked'),
    (('plain', 4096, 4096, False), 'plain'),
  ],
)
def test_a_kernel_is_chosen_for_what_it_can(arguments, expected):
  name, why = attention.choose(*arguments)
  assert name == expected
  assert why
