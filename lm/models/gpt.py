"""GPT: a causal decoder (Radford et al. 2018, 2019; Brown et al. 2020).

GPT-1 normalises after each branch, GPT-2 before it; GPT-3 is GPT-2 with every
second layer reading a local band only.
"""

import math

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from lm import types
from lm.models import (
  kv_cache,
  masks,
  positions as position_encodings,
  transformer,
)


class GPT(nn.Module):
  """Predicts every next token.

  Attributes:
    config: What it shares with the other architectures.
    scale_embeddings: Multiplies embedded tokens by sqrt(embed_dim), so that
      waves of size one do not drown them (Vaswani et al. 2017, 3.4).
    position_init_std: Of the table of learned positions.
    local_window: How many tokens a query of every second layer sees, itself
      included; None: all (Brown et al. 2020, 2.1, without the width).
  """

  config: transformer.TransformerConfig
  scale_embeddings: bool = False
  position_init_std: float = 0.02
  local_window: int | None = None

  def __call__(
    self,
    tokens: Int[Array, 'B L'],
    positions: Int[Array, '#B L'] | None = None,
    segment_ids: Int[Array, 'B L'] | None = None,
    valid: Bool[Array, 'B L'] | None = None,
    predict_at: Int[Array, 'B P'] | None = None,
  ) -> Float[Array, 'B P V'] | Float[Array, 'B L V']:
    """Returns next-token logits; the arguments are those of `answer`."""
    return types.logits(
      self.answer(tokens, positions, segment_ids, valid, predict_at)
    )

  @nn.compact
  def answer(
    self,
    tokens: Int[Array, 'B L'],
    positions: Int[Array, '#B L'] | None = None,
    segment_ids: Int[Array, 'B L'] | None = None,
    valid: Bool[Array, 'B L'] | None = None,
    predict_at: Int[Array, 'B P'] | None = None,
  ) -> dict[str, types.Projection]:
    """Returns the next-token scores under `tokens`, not yet multiplied out.

    Args:
      tokens: Token ids, padding on the right.
      positions: Of each token within its document; by default 0, 1, 2, ...,
        going on from the cache while decoding.
      segment_ids: Which packed document each token is of; by default one.
      valid: False on padding. Only decoding needs it: to nobody else can what
        stands to the right of a token make a difference.
      predict_at: Where to answer; by default everywhere.
    """
    cfg = self.config
    slots = kv_cache.take_slots(self, tokens, valid)
    if positions is None:
      positions = jnp.arange(tokens.shape[1])[None] if slots is None else slots
    mask = masks.causal()
    if segment_ids is not None:
      mask &= masks.same_segment(segment_ids)

    embedding = transformer.Embedding(cfg, name='token')
    x = embedding(tokens)
    if self.scale_embeddings:
      x = x * math.sqrt(cfg.embed_dim)
    x = transformer.place(x + self._order(positions).astype(x.dtype), 'B L D')
    x = transformer.Dropout(cfg.embedding_dropout, name='dropout')(x)
    x = transformer.Stack(cfg, name='decoder')(
      x, mask, positions, slots, self._layer_mask()
    )
    if predict_at is not None:
      x = jnp.take_along_axis(x, predict_at[:, :, None], axis=1)
    return {'tokens': embedding.project(x)}

  def _order(self, positions):
    """What is added to the tokens to tell their order: [#B, L, D]."""
    cfg = self.config
    if cfg.position == 'learned':
      if positions.shape[1] > cfg.max_len:  # What is not in the table is NaN.
        raise types.UserError(
          f'A row has {positions.shape[1]} tokens, but this model has learned'
          f' {cfg.max_len} positions. Give it shorter rows, or train one with a'
          ' larger config.model.max_len.'
        )
      table = self.param(
        'position',
        nn.initializers.normal(self.position_init_std),
        (cfg.max_len, cfg.embed_dim),
        cfg.param_dtype,
      )
      return jnp.take(table, positions, axis=0)
    if cfg.position == 'sinusoidal':
      return position_encodings.sinusoidal(positions, cfg.embed_dim)
    return jnp.zeros((1, 1, cfg.embed_dim))  # Rotated in the attention.

  def _layer_mask(self):
    if self.local_window is None:
      return None
    layers = jnp.arange(self.config.num_layers)
    banded = layers % 2 == 1
    return masks.window(
      jnp.where(banded, self.local_window, self.config.max_len)
    )
