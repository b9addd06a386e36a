"""GPT: a causal decoder (Radford et al. 2018, 2019; Brown et al. 2020).

GPT-1 is post-norm and GPT-2 pre-norm; GPT-3 is GPT-2 with local attention in
every second layer.
"""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Int

from lm import types
from lm.models import embeddings, heads, kv_cache, layers, masks, transformer
from lm.models.config import TransformerConfig


class GPT(nn.Module):
  """Predicts each token from the preceding ones.

  Attributes:
    config: Settings shared by all architectures.
    scale_embeddings: Multiplies embedded tokens by sqrt(embed_dim).
    position_init_std: Standard deviation of the table of learned positions.
    local_window: Tokens that a query attends to in every second layer, itself
      included; None means all (Brown et al. 2020, 2.1, without the width).
    heads: Heads to apply, see `lm.models.heads`; those of a whole text read
      its last token. None means `tokens`.
    num_labels: Number of classes of the heads `label` and `tags`.
    head_dropout: Rate on the inputs of `tags`, `start` and `end`.
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
    """The form of its attention, which an objective has to fit."""
    causal = self.config.attention == 'causal'
    return 'causal' if causal else 'bidirectional'

  def __call__(self, *args: Any, **inputs: Any) -> Any:
    """Returns logits `[B, L, V]`, or predictions by term; see `answer`."""
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
    """Returns predictions by term; those of `tokens` as a `Projection`.

    Args:
      tokens: Token ids, padded on the right.
      positions: Position of each token in its document; default 0, 1, 2, ...,
        continued from the cache while decoding.
      segment_ids: The packed document of each token; a single one by default.
      valid: False on padding. A causal model needs it only to decode and for
        heads of a whole text: no token attends to padding on its right.
      prefix: True on tokens that are visible to their whole document.
      predict_at: Positions at which to predict `tokens`; all by default.
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
