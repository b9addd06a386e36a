"""GPT: a causal decoder (Radford et al. 2018, 2019; Brown et al. 2020).

GPT-1 normalises after each branch, GPT-2 before it; GPT-3 is GPT-2 with every
second layer reading a local band only.
"""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Int

from lm import types
from lm.models import embeddings, heads, kv_cache, layers, masks, transformer
from lm.models.config import TransformerConfig


class GPT(nn.Module):
  """Predicts every next token.

  Attributes:
    config: What it shares with the other architectures.
    scale_embeddings: Multiplies embedded tokens by sqrt(embed_dim).
    position_init_std: Of the table of learned positions.
    local_window: How many tokens a query of every second layer sees, itself
      included; None: all (Brown et al. 2020, 2.1, without the width).
    heads: What is answered: `tokens`, and the terms of `lm.models.heads`, which
      read the last token for the whole text; None: `tokens`.
    num_labels: Of the heads `label` and `tags`.
    head_dropout: Rate on what heads other than `tokens` read.
  """

  config: TransformerConfig
  scale_embeddings: bool = False
  position_init_std: float = 0.02
  local_window: int | None = None
  heads: tuple[str, ...] | None = None
  num_labels: int = 2
  head_dropout: float = 0.1

  @property
  def form(self) -> types.Form:
    """How it reads, as an objective asks."""
    causal = self.config.attention == 'causal'
    return 'causal' if causal else 'bidirectional'

  def __call__(self, *args: Any, **inputs: Any) -> Any:
    """Returns next-token logits `[B, L, V]`; takes what `answer` takes."""
    return types.logits(self.answer(*args, **inputs))

  @nn.compact
  def answer(
    self,
    tokens: Int[Array, 'B L'],
    positions: Int[Array, '#B L'] | None = None,
    segment_ids: Int[Array, 'B L'] | None = None,
    valid: Bool[Array, 'B L'] | None = None,
    prefix: Bool[Array, 'B L'] | None = None,
    predict_at: Int[Array, 'B P'] | None = None,
  ) -> dict[str, Any]:
    """Returns the answers by term; next-token scores not yet multiplied out.

    Args:
      tokens: Token ids, padding on the right.
      positions: Of each token within its document; by default 0, 1, 2, ...,
        going on from the cache while decoding.
      segment_ids: Which packed document each token is of; by default one.
      valid: False on padding. A causal model needs it for decoding only: to
        nobody else can what stands to the right of a token make a difference.
      prefix: True where all of the document may see a token.
      predict_at: Where to answer `tokens`; by default everywhere.
    """
    cfg = self.config
    slots = kv_cache.take_slots(self, tokens, valid)
    if positions is None:
      positions = jnp.arange(tokens.shape[1])[None] if slots is None else slots
    mask = masks.of_tokens(
      None if self.form == 'causal' else valid, segment_ids
    )
    if prefix is not None:
      mask &= masks.prefix(prefix)

    embedding = embeddings.Embedding(cfg, self.scale_embeddings, name='token')
    order = embeddings.Order(cfg, self.position_init_std, name='position')
    x = layers.place(embedding(tokens) + order(positions), 'B L D')
    x = layers.Dropout(cfg.embedding_dropout, name='dropout')(x)
    x = transformer.Stack(cfg, name='decoder')(
      x, transformer.Context(mask, positions, slots), self._layer_mask()
    )
    return heads.answer(
      cfg,
      ('tokens',) if self.heads is None else self.heads,
      self.num_labels,
      hidden=layers.Dropout(self.head_dropout, name='head_dropout')(x),
      tokens=lambda: embedding.project(heads.at(x, predict_at)),
      text=lambda: heads.last_valid(x, valid),
      label_bias=False,
    )

  def _layer_mask(self):
    if self.local_window is None:
      return None
    layers = jnp.arange(self.config.num_layers)
    return masks.window(self.local_window, banded=layers % 2 == 1)
