"""BERT (Devlin et al. 2019), of which RoBERTa (Liu et al. 2019) is a config."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from lm import types
from lm.models import embeddings, heads, layers, masks, transformer
from lm.models.config import Activation, TransformerConfig


class BERT(nn.Module):
  """Recovers masked tokens from all that stands around them.

  Attributes:
    config: What it shares with the other architectures.
    num_token_types: Which of two texts a token is of; RoBERTa tells one.
    position_offset: Rows of the position table that no token uses: RoBERTa
      counts from 2.
    heads: What is answered, see `lm.models.heads`; None: `tokens`; none at
      all: the hidden states.
    num_labels: Of the heads `label` and `tags`.
    head_dropout: Rate on what heads other than `tokens` read.
    pooler: Keeps the pooler where no head reads it, as published encoders do.
    drop_before_pooler: Whether the first token is dropped out, too (RoBERTa).
    transform_activation: Before tokens are scored; None: that of the layers.
  """

  config: TransformerConfig
  num_token_types: int = 2
  position_offset: int = 0
  heads: tuple[str, ...] | None = None
  num_labels: int = 2
  head_dropout: float = 0.1
  pooler: bool = False
  drop_before_pooler: bool = False
  transform_activation: Activation | None = None

  @property
  def form(self) -> types.Form:
    """How it reads, as an objective asks."""
    causal = self.config.attention == 'causal'
    return 'causal' if causal else 'bidirectional'

  def __call__(self, *args: Any, **inputs: Any) -> Any:
    """Returns logits `[B, L, V]`, or answers by term; takes what `answer` does."""
    return types.logits(self.answer(*args, **inputs))

  @nn.compact
  def answer(
    self,
    tokens: Int[Array, 'B L'],
    positions: Int[Array, '#B L'] | None = None,
    segment_ids: Int[Array, 'B L'] | None = None,
    valid: Bool[Array, 'B L'] | None = None,
    token_types: Int[Array, 'B L'] | None = None,
    prefix: Bool[Array, 'B L'] | None = None,
    predict_at: Int[Array, 'B P'] | None = None,
  ) -> dict[str, Any]:
    """Returns the answers by term; token scores not yet multiplied out.

    Args:
      tokens: Token ids.
      positions: Of each token within its document; by default 0, 1, 2, ...
      segment_ids: Which packed document each token is of; by default one.
      valid: False on padding, which nobody sees.
      token_types: Which of two texts each token is of; by default the first.
      prefix: Of a causal model: what all of the document may see.
      predict_at: Where to answer `tokens`; by default everywhere.
    """
    cfg = self.config
    if positions is None:
      positions = jnp.arange(tokens.shape[1])[None]
    if token_types is None:
      token_types = jnp.zeros_like(tokens)
    mask = masks.of_tokens(valid, segment_ids)
    if prefix is not None:
      mask &= masks.prefix(prefix)

    embedding = embeddings.Embedding(cfg, name='token')
    embed = embedder(self, embedding, self.num_token_types)
    x = embed(tokens, positions, token_types)
    x = transformer.Stack(cfg, name='encoder')(
      x, transformer.Context(mask, positions)
    )
    dropout = layers.Dropout(self.head_dropout, name='head_dropout')

    def pooled():
      first = dropout(x[:, 0]) if self.drop_before_pooler else x[:, 0]
      return heads.pool(cfg, first)

    wanted = ('tokens',) if self.heads is None else self.heads
    if self.pooler and not set(wanted) & set(heads.OF_TEXT):
      pooled()  # Nobody reads it.
    return heads.answer(
      cfg,
      wanted,
      self.num_labels,
      hidden=dropout(x) if 'tags' in wanted else x,
      tokens=lambda: project(self, embedding, heads.at(x, predict_at)),
      text=lambda: dropout(pooled()),
    )


def embedder(
  module: nn.Module, embedding: embeddings.Embedding, num_token_types: int
) -> Callable[..., Float[Array, 'B L D']]:
  """Returns what turns tokens, their positions and types into vectors.

  Its parameters are made once in `module`, however often it is called.
  """
  cfg = module.config
  offset = getattr(module, 'position_offset', 0)
  order = embeddings.Order(cfg, offset=offset, name='position')
  kind = module.param(
    'token_type',
    layers.initializer(cfg),
    (num_token_types, cfg.embed_dim),
    cfg.param_dtype,
  ).astype(cfg.dtype)
  normalize = layers.norm(cfg, 'embedding_norm')
  dropout = layers.Dropout(cfg.embedding_dropout, name='dropout')

  def embed(tokens, positions, token_types):
    x = embedding(tokens) + order(positions) + kind[token_types]
    return dropout(layers.place(normalize(x), 'B L D'))

  return embed


def project(
  module: nn.Module,
  embedding: embeddings.Embedding,
  x: Float[Array, 'B P D'],
) -> types.Projection:
  """Scores tokens by the table that embeds them, after one more layer."""
  cfg = module.config
  x = layers.dense(cfg, cfg.embed_dim, 'transform')(x)
  activation = getattr(module, 'transform_activation', None) or cfg.activation
  x = layers.ACTIVATIONS[activation](x)
  x = layers.norm(cfg, 'transform_norm')(x)
  bias = module.param(
    'output_bias',
    nn.initializers.zeros,
    (embeddings.num_rows(cfg),),
    cfg.param_dtype,
  )
  return embedding.project(x, bias)
