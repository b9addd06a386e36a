"""The Transformer that all models share: attention, MLP, block and stack."""

import math

import jax
from flax import linen as nn, struct
from jaxtyping import Array, Float, Int

from lm.models import (
  kv_cache,
  layers,
  masks,
  positions as position_encodings,
)
from lm.models.attention import attend
from lm.models.config import TransformerConfig
from lm.models.layers import (
  ACTIVATIONS,
  Dropout,
  dense,
  end_scale,
  norm,
  place,
)
from lm.models.masks import Mask
from lm.models.positions import RelativeBias


@struct.dataclass
class Context:
  """Inputs that all layers of a stack share.

  Attributes:
    mask: The mask of self-attention, from `config.attention` and the tokens.
    positions: Of each token within its document; None if not yet known.
    slots: The cache slot of each token; None if not decoding.
    source: The encoded source of a decoder; None means the cached one.
    source_mask: The mask of attention to the source.
  """

  mask: Mask
  positions: Int[Array, '#B L'] | None
  slots: Int[Array, 'B L'] | None = None
  source: Float[Array, 'B S D'] | None = None
  source_mask: Mask = struct.field(default_factory=Mask)


class Reader(nn.Module):
  """The common part of self-attention and cross-attention."""

  config: TransformerConfig

  def read(self, query, key, value, mask, slots, bias=None):
    """Returns the combined output of the heads; arguments as for `attend`.

    This is a method so that tools can intercept its arguments.
    """
    cfg = self.config
    key, value = (place(x, 'B T H K') for x in (key, value))
    dropout = Dropout(cfg.attention_dropout, name='dropout')
    dropout = dropout if dropout.is_on else None
    # Any kernel will do to initialise parameters.
    kernel = None if self.is_initializing() else cfg.kernel
    read = attend(query, key, value, mask, slots, dropout, bias, kernel)
    out = dense(cfg, cfg.embed_dim, 'out', (-2, -1), end_scale(cfg))
    return out(place(read, 'B L H K'))


class Attention(Reader):
  """Multi-head self-attention."""

  @nn.compact
  def __call__(
    self,
    x: Float[Array, 'B L D'],
    mask: Mask,
    context: Context,
    bias: RelativeBias | None,
  ) -> Float[Array, 'B L D']:
    """Attends from each token to others."""
    cfg = self.config
    query = _query(cfg, x)
    key, value = _heads(cfg, x, 'key'), _heads(cfg, x, 'value')
    if cfg.position == 'rotary':
      query = position_encodings.rotate(query, context.positions)
      key = position_encodings.rotate(key, context.positions)
    slots = context.slots
    if slots is not None:
      key, value = kv_cache.append(self, key, value, slots, cfg.max_len)
    return self.read(query, key, value, mask, slots, bias)


class CrossAttention(Reader):
  """Multi-head attention from a decoder to its source."""

  @nn.compact
  def __call__(
    self, x: Float[Array, 'B L D'], context: Context
  ) -> Float[Array, 'B L D']:
    """Attends to the source, whose keys and values are cached in decoding."""
    cfg, source = self.config, context.source
    key, value = kv_cache.source(
      self,
      None
      if source is None
      else (_heads(cfg, source, 'key'), _heads(cfg, source, 'value')),
    )
    query, mask = _query(cfg, x), context.source_mask
    return self.read(query, key, value, mask, context.slots)


def _heads(cfg: TransformerConfig, x: Array, name: str, scale: float = 1.0):
  features = (cfg.num_heads, cfg.head_dim)
  return place(dense(cfg, features, name, scale=scale)(x), 'B L H K')


def _query(cfg: TransformerConfig, x: Array) -> Array:
  if cfg.scale_scores:
    return _heads(cfg, x, 'query') / math.sqrt(cfg.head_dim)
  # Unscaled scores need smaller initial weights (Raffel et al. 2020's code).
  by_width = cfg.init in ('fan_in', 'glorot')
  return _heads(cfg, x, 'query', cfg.head_dim**-0.5 if by_width else 1.0)


class Mlp(nn.Module):
  """The position-wise feed-forward network."""

  config: TransformerConfig

  @nn.compact
  def __call__(self, x: Float[Array, 'B L D']) -> Float[Array, 'B L D']:
    cfg = self.config
    hidden = place(dense(cfg, cfg.mlp_dim, 'up')(x), 'B L F')
    if cfg.gated_mlp:
      gate = place(dense(cfg, cfg.mlp_dim, 'gate')(x), 'B L F')
      hidden = ACTIVATIONS[cfg.activation](gate) * hidden
    else:
      hidden = ACTIVATIONS[cfg.activation](hidden)
    hidden = Dropout(cfg.mlp_dropout, name='dropout')(hidden)
    return dense(cfg, cfg.embed_dim, 'down', scale=end_scale(cfg))(hidden)


class Block(nn.Module):
  """Self-attention, cross-attention if `cross`, and MLP, each added to x."""

  config: TransformerConfig
  cross: bool = False

  @nn.compact
  def __call__(
    self,
    x: Float[Array, 'B L D'],
    layer_mask: Mask | None,
    context: Context,
    bias: RelativeBias | None,
  ) -> tuple[Float[Array, 'B L D'], None]:
    """Returns the new `x`, and None as the output that a scan collects."""
    cfg = self.config
    mask = context.mask if layer_mask is None else context.mask & layer_mask

    def residual(name, x, branch):
      normalize = norm(cfg, f'{name}_norm')
      dropout = Dropout(cfg.residual_dropout, name=f'{name}_dropout')
      if cfg.norm_position == 'pre':
        return place(x + dropout(branch(normalize(x))), 'B L D')
      return place(normalize(x + dropout(branch(x))), 'B L D')

    attention = Attention(cfg, name='attention')
    x = residual('attention', x, lambda x: attention(x, mask, context, bias))
    if self.cross:
      cross = CrossAttention(cfg, name='cross')
      x = residual('cross', x, lambda x: cross(x, context))
    return residual('mlp', x, Mlp(cfg, name='mlp')), None


class Stack(nn.Module):
  """A sequence of blocks, with parameters stacked on a leading axis."""

  config: TransformerConfig
  cross: bool = False

  @nn.compact
  def __call__(
    self,
    x: Float[Array, 'B L D'],
    context: Context,
    layer_mask: Mask | None = None,
  ) -> Float[Array, 'B L D']:
    """Applies the blocks; `layer_mask` has a leading axis of blocks."""
    cfg = self.config
    direction = masks.direction(cfg.attention, cfg.num_heads)
    context = context.replace(mask=context.mask & direction)
    unroll = cfg.unroll
    if unroll is None:
      whole = jax.default_backend() == 'cpu' and cfg.remat == 'none'
      unroll = cfg.num_layers if whole else 1
    # In a loop, the recomputation cannot be merged with the forward pass.
    block = layers.remat(Block, cfg.remat, prevent_cse=unroll > 1)
    blocks = nn.scan(
      block,
      variable_axes={'params': 0, 'cache': 0, 'intermediates': 0},
      split_rngs={'params': True, 'dropout': True},
      in_axes=(0, nn.broadcast, nn.broadcast),
      length=cfg.num_layers,
      # Initialisation runs once, and a loop compiles faster.
      unroll=1 if self.is_initializing() else unroll,
    )(cfg, self.cross, name='block')
    x, _ = blocks(x, layer_mask, context, self._bias())
    return norm(cfg, 'final_norm')(x) if cfg.norm_position == 'pre' else x

  def _bias(self) -> RelativeBias | None:
    """Returns the relative position bias, which all layers share."""
    cfg = self.config
    if cfg.position != 'relative':
      return None
    table = self.param(
      'relative_bias',
      nn.initializers.normal(cfg.embed_dim**-0.5),
      (cfg.relative_buckets, cfg.num_heads),
      cfg.param_dtype,
    )
    return RelativeBias(
      table, cfg.attention != 'causal', cfg.relative_max_distance
    )
