"""T5 (Raffel et al. 2020), and the Transformer of Vaswani et al. (2017).

Both read a source with an encoder, and write with a decoder that sees it. The
second is a config: waves for positions, norms after the branches, biases.
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
  """Predicts every next token of a text from those before it and a source.

  Attributes:
    config: What it shares with the other architectures; `num_layers` is of the
      encoder.
    num_decoder_layers: None: as many as the encoder has.
    scale_embeddings: Multiplies embedded tokens by sqrt(embed_dim).
    tie_embeddings: Scores tokens by the table that embeds them.
    scale_logits: Divides what is scored by sqrt(embed_dim): T5 where tied.
    heads: What is answered, see `lm.models.heads`; None: `tokens`. `tags` are
      read from the encoder, whatever else there is from the decoder.
    num_labels: Of the heads `label` and `tags`.
    head_dropout: Rate on what heads other than `tokens` read.
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
    """How it reads, as an objective asks."""
    return 'encoder_decoder'

  def __call__(self, *args: Any, **inputs: Any) -> Any:
    """Returns logits `[B, L, V]`, or answers by term; takes what `answer` does."""
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
    """Returns the answers by term; next-token scores not yet multiplied out.

    Args:
      source_tokens: What the encoder reads; while decoding, given once.
      tokens: What the decoder reads: the targets, shifted right. None: only
        the encoder answers.
      source_valid: False on padding of the source, which nobody sees.
      source_segment_ids: Which packed document each is of; by default one.
      source_positions: Within its document; by default 0, 1, 2, ...
      valid: False on padding, on the right; decoding and `label` need it.
      segment_ids: As of the source: a document sees its own source alone.
      positions: As of the source.
      predict_at: Where to answer `tokens`; by default everywhere.
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
    """Returns what applies the encoder or the decoder to `tokens`."""
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
      if cfg.norm_position == 'post':  # Its last branch has been dropped out.
        return x
      return layers.Dropout(cfg.residual_dropout, name=f'{name}_out')(x)

    return apply

  def _remembered(self, source_tokens, source_valid):
    """Returns which tokens of the source are valid, remembered in the cache."""
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
