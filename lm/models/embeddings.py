"""Token and position embeddings, and the projection back to the vocabulary."""

import math

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from lm.models import positions as position_encodings
from lm.models.config import TransformerConfig
from lm.models.layers import place
from lm.types import Projection, UserError


class Embedding(nn.Module):
  """A token table that embeds inputs and scores outputs.

  Attributes:
    config: Config of the model.
    scale: Multiplies embedded tokens by sqrt(embed_dim), so that sinusoids of
      amplitude one do not drown them (Vaswani et al. 2017, 3.4).
    std: Initial standard deviation; None means the config's.
  """

  config: TransformerConfig
  scale: bool = False
  std: float | None = None

  def setup(self):
    cfg = self.config
    stds = (self.std, cfg.embedding_init_std, cfg.init_std)
    table = self.param(
      'embedding',
      _table_init(cfg, next(std for std in stds if std is not None)),
      (num_rows(cfg), cfg.embed_dim),
      cfg.param_dtype,
    )
    # Whole vectors: if D were sharded, each device would look up all tokens.
    self.table = place(table, 'V D')

  def __call__(self, tokens: Int[Array, 'B L']) -> Float[Array, 'B L D']:
    cfg = self.config
    x = jnp.take(self.table, tokens, axis=0).astype(cfg.dtype)
    return x * math.sqrt(cfg.embed_dim) if self.scale else x

  def project(
    self, x: Float[Array, 'B L D'], bias: Float[Array, 'V'] | None = None
  ) -> Projection:
    """Returns the projection of `x` to the vocabulary."""
    cfg = self.config
    return Projection(x, self.table, bias, cfg.vocab_size, cfg.vocab_blocks)


class Order(nn.Module):
  """Position embeddings, which are added to those of tokens.

  Attributes:
    config: Config of the model.
    init_std: Standard deviation of a learned table; None means the config's.
    offset: Rows of that table before the first position; RoBERTa has 2.
  """

  config: TransformerConfig
  init_std: float | None = None
  offset: int = 0

  @nn.compact
  def __call__(self, positions: Int[Array, '#B L']) -> Float[Array, '#B L D']:
    cfg = self.config
    if cfg.position == 'learned':
      if positions.shape[1] > cfg.max_len:  # Lookups out of range give NaN.
        raise UserError(
          f'A row has {positions.shape[1]} tokens, but this model has learned'
          f' {cfg.max_len} positions. Give it shorter rows, or train one with a'
          ' larger config.model.max_len.'
        )
      std = cfg.init_std if self.init_std is None else self.init_std
      table = self.param(
        'embedding',
        _table_init(cfg, std),
        (cfg.max_len + self.offset, cfg.embed_dim),
        cfg.param_dtype,
      )
      order = jnp.take(table, positions + self.offset, axis=0)
    elif cfg.position == 'sinusoidal':
      order = position_encodings.sinusoidal(positions, cfg.embed_dim)
    else:  # Rotary positions and relative biases are applied in attention.
      order = jnp.zeros((1, positions.shape[1], cfg.embed_dim))
    return order.astype(cfg.dtype)


def num_rows(cfg: TransformerConfig) -> int:
  """Returns the number of rows of the token table, padded rows included."""
  return -(-cfg.vocab_size // cfg.vocab_multiple) * cfg.vocab_multiple


def _table_init(cfg: TransformerConfig, std: float):
  if cfg.init == 'truncated_normal':
    return nn.initializers.truncated_normal(std)
  return nn.initializers.normal(std)
