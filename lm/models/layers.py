"""Linear layers, norms and dropout, as a config defines them."""

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
  """Returns the initializer of kernels, with its std multiplied by `scale`."""
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
  """Returns a linear layer as `cfg` defines it."""
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
  """Calls `multiply`, with the signature that `nn.DenseGeneral` expects."""
  del precision  # The default is used.
  (axes, _), _ = dimension_numbers
  return multiply(len(axes), x, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def multiply(
  count: int, x: Float[Array, '...'], kernel: Float[Array, '...']
) -> Float[Array, '...']:
  """Contracts the last `count` axes of x with the first axes of the kernel.

  The kernel's gradient is a product over all rows, for which one factor is
  transposed. JAX transposes the gradient of the output, into which a CPU's
  compiler fuses its computation, such as the derivative of an activation: a
  quarter of a small model's step time. Here, the smaller one is transposed.
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
  """Returns `jnp.tensordot`, in the form that is fastest on the platform.

  A CPU's compiler uses the native bfloat16 matmul, which is twice as fast, only
  if the result is to be float32 (jax 0.10; see docs/speed.md).
  """
  narrow = jnp.result_type(x, y) == jnp.bfloat16
  if not narrow or jax.default_backend() != 'cpu':
    return jnp.tensordot(x, y, axes)
  whole = jnp.tensordot(x, y, axes, preferred_element_type=jnp.float32)
  return whole.astype(jnp.bfloat16)


multiply.defvjp(_multiply_forward, _multiply_backward)


def norm(cfg: TransformerConfig, name: str) -> nn.Module:
  """Returns a norm with statistics in float32, whatever its output dtype."""
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
  """Returns the scale of the initial weights in the last layer of a branch."""
  return (2 * cfg.num_layers) ** -0.5 if cfg.scale_residual_init else 1.0


def remat(
  module: type[nn.Module], policy: str, prevent_cse: bool
) -> type[nn.Module]:
  """Returns a module that rematerialises what `policy` does not save.

  Args:
    module: The module to wrap.
    policy: A value of `TransformerConfig.remat`.
    prevent_cse: Keeps the compiler from merging this with the forward pass.
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
  """Constrains the sharding of an activation; a no-op without a mesh."""
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
  """Returns 32 random bits for each element of an array, at little cost.

  JAX's generator takes longer than computing the activations to drop. Here, it
  only supplies two words for each matrix of the last two axes. Within a matrix,
  an element's bits are these words and its index, mixed in two rounds of a
  32-bit finalizer (lowbias32 of Wellons, 2018): a few integer operations that
  XLA fuses with their consumer. Like JAX's, they are the same on every mesh.
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
  """A 32-bit bijection in which every input bit affects every output bit."""
  x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
  x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
  return x ^ (x >> 16)
