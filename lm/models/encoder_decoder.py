"""T5 (Raffel et al. 2020), and the Transformer of Vaswani et al. (2017).

Both encode a source, and decode with cross-attention to it. The latter is a
config with sinusoidal positions, post-norm and biases.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Int

from lm import types
from lm.models import embeddings, heads, kv_cache, layers, masks, transformer
from lm.models.config import TransformerConfig


class EncoderDecoder(nn.Module):
  """Predicts each token of a text from the preceding ones and a source.

  Attributes:
    config: Settings shared by all architectures; `num_layers` is that of the
      encoder.
    num_decoder_layers: None means as many as the encoder has.
    scale_embeddings: Multiplies embedded tokens by sqrt(embed_dim).
    tie_embeddings: Scores tokens with the embedding table.
    scale_logits: Divides logits by sqrt(embed_dim), as a T5 with tied tables.
    heads: Heads to apply, see `lm.models.heads`; None means `tokens`. `tags`
      reads the encoder, all others read the decoder.
    num_labels: Number of classes of the heads `label` and `tags`.
    head_dropout: Rate on the inputs of `next_sentence`, `label` and `tags`.
  """

  config: TransformerConfig
  num_decoder_layers: int | None = None
  scale_embeddings: bool = False
  tie_embeddings: bool = True
  scale_logits: bool = False
  heads: tuple[str, ...] | None = None
  num_labels: int = 2
  head_dropout: float = 0.0

  @property
  def form(self) -> types.Form:
    """The form of its attention, which an objective has to fit."""
    return 'encoder_decoder'

  def __call__(self, *args: Any, **inputs: Any) -> Any:
    """Returns logits `[B, L, V]`, or predictions by term; see `answer`."""
    return types.logits(self.answer(*args, **inputs))

  @nn.compact
  def answer(
    self,
    source_tokens: Int[Array, 'B S'] | None = None,
    tokens: Int[Array, 'B L'] | None = None,
    source_valid: Bool[Array, 'B S'] | None = None,
    source_segment_ids: Int[Array, 'B S'] | None = None,
    source_positions: Int[Array, '#B S'] | None = None,
    valid: Bool[Array, 'B L'] | None = None,
    segment_ids: Int[Array, 'B L'] | None = None,
    positions: Int[Array, '#B L'] | None = None,
    predict_at: Int[Array, 'B P'] | None = None,
  ) -> dict[str, Any]:
    """Returns predictions by term; those of `tokens` as a `Projection`.

    Args:
      source_tokens: Input of the encoder; given only once while decoding.
      tokens: Input of the decoder: the targets, shifted right. None applies
        the heads to the encoder alone.
      source_valid: False on padding of the source, which is masked out.
      source_segment_ids: The packed document of each token; default one.
      source_positions: Positions within a document; default 0, 1, 2, ...
      valid: False on padding, on the right; needed to decode and for `label`.
      segment_ids: As for the source; a document sees only its own source.
      positions: As for the source.
      predict_at: Positions at which to predict `tokens`; all by default.
    """
    embedding = embeddings.Embedding(
      self.config, self.scale_embeddings, name='token'
    )
    source = None
    if source_tokens is not None:
      source = self._stack('encoder', embedding, source_tokens)(
        transformer.Context(
          masks.of_tokens(source_valid, source_segment_ids), source_positions
        )
      )
    if tokens is None:
      return self._answer(source, embedding, source, source_valid, predict_at)
    slots = kv_cache.take_slots(self, tokens, valid)
    if kv_cache.is_on(self):
      source_valid = self._remembered(source_tokens, source_valid)
    cross = masks.of_tokens(source_valid, None)
    if source_segment_ids is not None:
      cross &= masks.same_segment(source_segment_ids, segment_ids)
    x = self._stack('decoder', embedding, tokens)(
      transformer.Context(
        masks.of_tokens(None, segment_ids), positions, slots, source, cross
      )
    )
    return self._answer(x, embedding, source, valid, predict_at)

  def _stack(self, name, embedding, tokens):
    """Returns a function that applies the encoder or decoder to `tokens`."""
    cfg = self.config
    decodes = name == 'decoder'
    if decodes:
      depth = self.num_decoder_layers or cfg.num_layers
      cfg = dataclasses.replace(cfg, num_layers=depth, attention='causal')

    def apply(context):
      positions, slots = context.positions, context.slots
      if positions is None:
        length = jnp.arange(tokens.shape[1])[None]
        positions = length if slots is None else slots
      order = embeddings.Order(cfg, name=f'{name}_position')
      x = layers.place(embedding(tokens) + order(positions), 'B L D')
      x = layers.Dropout(cfg.embedding_dropout, name=f'{name}_in')(x)
      stack = transformer.Stack(cfg, cross=decodes, name=name)
      x = stack(x, context.replace(positions=positions))
      if cfg.norm_position == 'post':  # The last branch already has dropout.
        return x
      return layers.Dropout(cfg.residual_dropout, name=f'{name}_out')(x)

    return apply

  def _remembered(self, source_tokens, source_valid):
    """Returns which source tokens are valid, and keeps that in the cache."""
    if source_tokens is not None:
      if source_valid is None:
        source_valid = jnp.ones(source_tokens.shape, bool)
      self.put_variable('cache', 'source_valid', source_valid)
    return self.get_variable('cache', 'source_valid')

  def _answer(self, x, embedding, source, valid, predict_at):
    cfg = self.config
    wanted = ('tokens',) if self.heads is None else self.heads
    dropout = layers.Dropout(self.head_dropout, name='head_dropout')

    def project():
      read = heads.at(x, predict_at)
      if self.scale_logits:
        read = read * cfg.embed_dim**-0.5
      if self.tie_embeddings:
        return embedding.project(read)
      table = embeddings.Embedding(cfg, name='output', std=cfg.embed_dim**-0.5)
      return table.project(read)

    return heads.answer(
      cfg,
      wanted,
      self.num_labels,
      hidden=dropout(source) if 'tags' in wanted else x,
      tokens=project,
      text=lambda: dropout(
        heads.pool(cfg, dropout(heads.last_valid(x, valid)))
      ),
    )
