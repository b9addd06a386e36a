"""The Transformer every model here is made of: attention, MLP, block, stack."""

import dataclasses
import functools
import math
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from lm.models import kv_cache, positions as position_encodings
from lm.models.attention import attend
from lm.models.masks import Mask
from lm.types import Projection, UserError

Activation = Literal['gelu', 'gelu_tanh', 'relu']
ACTIVATIONS = {
  'gelu': functools.partial(jax.nn.gelu, approximate=False),
  'gelu_tanh': functools.partial(jax.nn.gelu, approximate=True),
  'relu': jax.nn.relu,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransformerConfig:
  """Sizes, and the few choices in which the published models differ.

  Attributes:
    vocab_size: How many tokens there are.
    vocab_multiple: The token table is padded to a multiple of this, so that it
      can be split over devices; padded rows are never an answer.
    max_len: The most tokens a row holds.
    norm_position: 'pre' normalises what a branch reads, and the end of the
      stack; 'post' what the residual sum gives (Xiong et al. 2020).
    position: How order is told: a table, waves added, or pairs rotated.
    embedding_dropout: Rate on the embedded tokens.
    attention_dropout: Rate on the attention weights.
    residual_dropout: Rate on what each branch adds.
    init_std: Standard deviation of the initial weights.
    scale_residual_init: Divides it by sqrt(2 num_layers) where a branch ends
      (Radford et al. 2019, 2.3).
    dtype: Of the computation; scores, norms, logits and loss are in float32.
    unroll: Layers compiled one after another for each turn of the loop over
      layers; None: all of them on a CPU, where a loop costs 10 to 40%, else 1.
  """

  vocab_size: int
  max_len: int
  num_layers: int
  num_heads: int
  head_dim: int
  embed_dim: int
  mlp_dim: int
  vocab_multiple: int = 1
  norm_position: Literal['pre', 'post'] = 'pre'
  norm_eps: float = 1e-5
  activation: Activation = 'gelu_tanh'
  use_bias: bool = True
  position: Literal['learned', 'sinusoidal', 'rotary'] = 'learned'
  embedding_dropout: float = 0.0
  attention_dropout: float = 0.0
  residual_dropout: float = 0.0
  init_std: float = 0.02
  scale_residual_init: bool = True
  dtype: Literal['float32', 'bfloat16'] = 'float32'
  param_dtype: Literal['float32', 'bfloat16'] = 'float32'
  unroll: int | None = None

  def __post_init__(self):
    for field in dataclasses.fields(self):
      value, choices = getattr(self, field.name), get_args(field.type)
      if isinstance(choices and choices[0], str) and value not in choices:
        raise UserError(
          f'{field.name} is {value!r}, which is unknown. Set'
          f' config.model.{field.name} to one of {sorted(choices)}.'
        )
      if field.name.endswith('dropout') and not 0 <= value < 1:
        raise UserError(
          f'{field.name} is {value}, but it is a share. Set'
          f' config.model.{field.name} to at least 0 and under 1.'
        )

  @property
  def branch_std(self) -> float:
    """The initial standard deviation of the kernels that end a branch."""
    depth = math.sqrt(2 * self.num_layers)
    return self.init_std / depth if self.scale_residual_init else self.init_std


def dense(cfg: TransformerConfig, features, name: str, axis=-1, std=None):
  """A linear layer as `cfg` has them."""
  return nn.DenseGeneral(
    features,
    axis=axis,
    use_bias=cfg.use_bias,
    dtype=cfg.dtype,
    param_dtype=cfg.param_dtype,
    kernel_init=nn.initializers.normal(cfg.init_std if std is None else std),
    name=name,
  )


def norm(cfg: TransformerConfig, name: str) -> nn.Module:
  """A norm whose statistics are in float32, whatever it returns."""
  return nn.LayerNorm(
    epsilon=cfg.norm_eps,
    use_bias=cfg.use_bias,
    dtype=cfg.dtype,
    param_dtype=cfg.param_dtype,
    name=name,
  )


def place(x: Array, axes: str) -> Array:
  """Says which axes an activation has, for the mesh in force; else nothing."""
  return nn.with_logical_constraint(x, tuple(axes.split()))


class Dropout(nn.Module):
  """Dropout, on exactly when the caller supplies a 'dropout' PRNG key."""

  rate: float

  @nn.compact
  def __call__(self, x: Array) -> Array:
    return nn.Dropout(self.rate)(x, deterministic=not self.has_rng('dropout'))


class Attention(nn.Module):
  """Multi-head self-attention."""

  config: TransformerConfig

  @nn.compact
  def __call__(
    self,
    x: Float[Array, 'B L D'],
    mask: Mask,
    positions: Int[Array, '#B L'],
    slots: Int[Array, 'B L'] | None,
  ) -> Float[Array, 'B L D']:
    """Lets each token read others; `slots` are given only while decoding."""
    cfg = self.config
    heads = (cfg.num_heads, cfg.head_dim)
    query = place(dense(cfg, heads, 'query')(x), 'B L H K')
    key = place(dense(cfg, heads, 'key')(x), 'B L H K')
    value = place(dense(cfg, heads, 'value')(x), 'B L H K')
    if cfg.position == 'rotary':
      query = position_encodings.rotate(query, positions)
      key = position_encodings.rotate(key, positions)
    if slots is not None:
      key, value = kv_cache.append(self, key, value, slots, cfg.max_len)
    else:
      slots = jnp.arange(x.shape[1])[None]
    query = query / math.sqrt(cfg.head_dim)
    dropout = Dropout(cfg.attention_dropout, name='dropout')
    read = attend(query, key, value, mask, slots, dropout)
    out = dense(cfg, cfg.embed_dim, 'out', (-2, -1), cfg.branch_std)
    return out(place(read, 'B L H K'))


class Mlp(nn.Module):
  """The position-wise feed-forward network."""

  config: TransformerConfig

  @nn.compact
  def __call__(self, x: Float[Array, 'B L D']) -> Float[Array, 'B L D']:
    cfg = self.config
    hidden = place(dense(cfg, cfg.mlp_dim, 'up')(x), 'B L F')
    hidden = ACTIVATIONS[cfg.activation](hidden)
    return dense(cfg, cfg.embed_dim, 'down', std=cfg.branch_std)(hidden)


class Block(nn.Module):
  """Attention, then the MLP, each added to what it read."""

  config: TransformerConfig

  @nn.compact
  def __call__(
    self,
    x: Float[Array, 'B L D'],
    layer_mask: Mask | None,
    mask: Mask,
    positions: Int[Array, '#B L'],
    slots: Int[Array, 'B L'] | None,
  ) -> tuple[Float[Array, 'B L D'], None]:
    """Returns the new `x`, and the None that a scan collects."""
    cfg = self.config
    mask = mask if layer_mask is None else mask & layer_mask

    def residual(name, x, branch):
      normalize = norm(cfg, f'{name}_norm')
      dropout = Dropout(cfg.residual_dropout, name=f'{name}_dropout')
      if cfg.norm_position == 'pre':
        return place(x + dropout(branch(normalize(x))), 'B L D')
      return place(normalize(x + dropout(branch(x))), 'B L D')

    attention = Attention(cfg, name='attention')
    x = residual('attention', x, lambda x: attention(x, mask, positions, slots))
    return residual('mlp', x, Mlp(cfg, name='mlp')), None


class Stack(nn.Module):
  """Blocks one after another, their parameters stacked on a leading axis."""

  config: TransformerConfig

  @nn.compact
  def __call__(
    self,
    x: Float[Array, 'B L D'],
    mask: Mask,
    positions: Int[Array, '#B L'],
    slots: Int[Array, 'B L'] | None = None,
    layer_mask: Mask | None = None,
  ) -> Float[Array, 'B L D']:
    """Applies the blocks; `layer_mask` has a leading axis, one for each."""
    cfg = self.config
    unroll = cfg.unroll
    if unroll is None:
      unroll = cfg.num_layers if jax.default_backend() == 'cpu' else 1
    blocks = nn.scan(
      Block,
      variable_axes={'params': 0, 'cache': 0, 'intermediates': 0},
      split_rngs={'params': True, 'dropout': True},
      in_axes=(0, nn.broadcast, nn.broadcast, nn.broadcast),
      length=cfg.num_layers,
      # Parameters are made once: the loop compiles faster.
      unroll=1 if self.is_initializing() else unroll,
    )(cfg, name='block')
    x, _ = blocks(x, layer_mask, mask, positions, slots)
    return norm(cfg, 'final_norm')(x) if cfg.norm_position == 'pre' else x


class Embedding(nn.Module):
  """A token table that embeds on the way in and scores on the way out."""

  config: TransformerConfig

  def setup(self):
    cfg = self.config
    rows = -(-cfg.vocab_size // cfg.vocab_multiple) * cfg.vocab_multiple
    self.table = self.param(
      'embedding',
      nn.initializers.normal(cfg.init_std),
      (rows, cfg.embed_dim),
      cfg.param_dtype,
    )

  def __call__(self, tokens: Int[Array, 'B L']) -> Float[Array, 'B L D']:
    return jnp.take(self.table, tokens, axis=0).astype(self.config.dtype)

  def project(self, x: Float[Array, 'B L D']) -> Projection:
    """Returns the answer that scores every token of the vocabulary."""
    return Projection(x, self.table, vocab_size=self.config.vocab_size)
