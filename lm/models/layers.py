"""Linear layers, norms and dropout, as a config has them."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Key, UInt32

from lm.models.config import TransformerConfig
from lm.types import UserError

ACTIVATIONS = {
  'gelu': functools.partial(jax.nn.gelu, approximate=False),
  'gelu_tanh': functools.partial(jax.nn.gelu, approximate=True),
  'relu': jax.nn.relu,
  'silu': jax.nn.silu,
  'tanh': jnp.tanh,
}


def initializer(cfg: TransformerConfig, scale: float = 1.0):
  """Returns how kernels begin, their deviation multiplied by `scale`."""
  variance = functools.partial(nn.initializers.variance_scaling, scale**2)
  return {
    'normal': lambda: nn.initializers.normal(scale * cfg.init_std),
    'truncated_normal': lambda: nn.initializers.truncated_normal(
      scale * cfg.init_std
    ),
    'fan_in': lambda: variance('fan_in', 'normal'),
    'glorot': lambda: variance('fan_avg', 'uniform'),
  }[cfg.init]()


def dense(
  cfg: TransformerConfig, features, name: str, axis=-1, scale: float = 1.0
) -> nn.Module:
  """A linear layer as `cfg` has them."""
  return nn.DenseGeneral(
    features,
    axis=axis,
    use_bias=cfg.use_bias,
    dtype=cfg.dtype,
    param_dtype=cfg.param_dtype,
    kernel_init=initializer(cfg, scale),
    dot_general=dot_general,
    name=name,
  )


def dot_general(x, kernel, dimension_numbers, precision=None):
  """Is `multiply`, as `nn.DenseGeneral` calls it."""
  del precision  # The default's.
  (axes, _), _ = dimension_numbers
  return multiply(len(axes), x, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def multiply(
  count: int, x: Float[Array, '...'], kernel: Float[Array, '...']
) -> Float[Array, '...']:
  """Returns x with its last `count` axes multiplied by the kernel's first.

  The kernel's gradient is a product over all rows, for which one factor is
  transposed. JAX has that of the layer's output, into which a CPU's compiler
  merges whatever made it, such as the slope of an activation: a quarter of the
  time of a small model's step. Here the smaller one is.
  """
  return _product(x, kernel, count)


def _multiply_forward(count, x, kernel):
  return _product(x, kernel, count), (x, kernel)


def _multiply_backward(count, kept, cotangent):
  x, kernel = kept
  rows = tuple(range(x.ndim - count))
  features = kernel.ndim - count
  outputs = tuple(range(len(rows), cotangent.ndim))
  of_x = _product(
    cotangent, kernel, (outputs, tuple(range(count, kernel.ndim)))
  )
  if x.size <= cotangent.size:
    return of_x, _product(x, cotangent, (rows, rows))
  of_kernel = _product(cotangent, x, (rows, rows))
  order = (*range(features, kernel.ndim), *range(features))
  return of_x, of_kernel.transpose(order)


def _product(x, y, axes):
  """Is `jnp.tensordot`, in the way that is quick where it runs.

  A CPU's compiler uses the processor's own products of bfloat16, twice as fast,
  for those alone that are asked for in float32 (jax 0.10; see docs/speed.md).
  """
  narrow = jnp.result_type(x, y) == jnp.bfloat16
  if not narrow or jax.default_backend() != 'cpu':
    return jnp.tensordot(x, y, axes)
  whole = jnp.tensordot(x, y, axes, preferred_element_type=jnp.float32)
  return whole.astype(jnp.bfloat16)


multiply.defvjp(_multiply_forward, _multiply_backward)


def norm(cfg: TransformerConfig, name: str) -> nn.Module:
  """A norm whose statistics are in float32, whatever it returns."""
  shared = {
    'epsilon': cfg.norm_eps,
    'dtype': cfg.dtype,
    'param_dtype': cfg.param_dtype,
    'name': name,
  }
  if cfg.norm == 'rms':
    return nn.RMSNorm(**shared)
  return nn.LayerNorm(use_bias=cfg.use_bias, **shared)


def end_scale(cfg: TransformerConfig) -> float:
  """What the initial deviation is multiplied by where a branch ends."""
  return (2 * cfg.num_layers) ** -0.5 if cfg.scale_residual_init else 1.0


def remat(
  module: type[nn.Module], policy: str, prevent_cse: bool
) -> type[nn.Module]:
  """Returns a module that makes anew what `policy` does not keep of it.

  Args:
    module: What computes.
    policy: A value of `TransformerConfig.remat`.
    prevent_cse: Whether the compiler must be kept from merging both.
  """
  if policy == 'none':
    return module
  if policy == 'offload' and not _has_host_memory():
    raise UserError(
      "remat is 'offload', but these devices cannot keep arrays in the host's"
      " memory. Set config.model.remat to 'dots' or 'full'."
    )
  policies = jax.checkpoint_policies
  kept = {
    'full': None,
    'dots': policies.dots_with_no_batch_dims_saveable,
    'offload': policies.offload_dot_with_no_batch_dims('device', 'pinned_host'),
  }
  return nn.remat(module, prevent_cse=prevent_cse, policy=kept[policy])


def _has_host_memory() -> bool:
  memories = jax.local_devices()[0].addressable_memories()
  return 'pinned_host' in {memory.kind for memory in memories}


def place(x: Array, axes: str) -> Array:
  """Says which axes an activation has, for the mesh in force; else nothing."""
  return nn.with_logical_constraint(x, tuple(axes.split()))


class Dropout(nn.Module):
  """Dropout, on exactly when the caller supplies a 'dropout' PRNG key."""

  rate: float

  @property
  def is_on(self) -> bool:
    """Whether anything is dropped."""
    return bool(self.rate) and self.has_rng('dropout')

  @nn.compact
  def __call__(self, x: Array) -> Array:
    if not self.is_on:
      return x
    drawn = random_bits(self.make_rng('dropout'), x.shape)
    kept = drawn >= jnp.uint32(min(round(self.rate * 2**32), 2**32 - 1))
    return jnp.where(kept, x * (1 / (1 - self.rate)), jnp.zeros_like(x))


def random_bits(
  key: Key[Array, ''], shape: tuple[int, ...]
) -> UInt32[Array, '...']:
  """Returns 32 random bits for each place of an array, at little cost.

  JAX's own take longer than what is dropped takes to compute. They give two
  words for each matrix of the last two axes here, and within it a place's bits
  are those words mixed with its number, twice, by a finalizer of 32 bits
  (lowbias32 of Wellons, 2018): some integer operations that XLA merges with
  whatever uses them. Like JAX's they are the same on every mesh.
  """
  leading, inner = shape[:-2], shape[-2:]
  words = jax.random.bits(key, (2, *leading), jnp.uint32)
  words = jnp.expand_dims(words, range(1 + len(leading), 1 + len(shape)))
  place = jnp.uint32(0)
  for axis, size in zip(range(len(leading), len(shape)), inner):
    place = place * jnp.uint32(size)
    place += jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
  return _mix(_mix(place + words[0]) ^ words[1])


def _mix(x: UInt32[Array, '...']) -> UInt32[Array, '...']:
  """A bijection of 32 bits in which every bit in moves every bit out."""
  x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
  x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
  return x ^ (x >> 16)
