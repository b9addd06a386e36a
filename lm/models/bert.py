"""BERT (Devlin et al. 2019); RoBERTa (Liu et al. 2019) is a config of it."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from lm import types
from lm.models import embeddings, heads, layers, masks, transformer
from lm.models.config import Activation, TransformerConfig


class BERT(nn.Module):
  """An encoder that predicts masked tokens from their context.

  Attributes:
    config: Settings shared by all architectures.
    num_token_types: Number of token types: 2 tell the texts of a pair apart;
      RoBERTa has 1.
    position_offset: Unused first rows of the position table; RoBERTa has 2.
    heads: Heads to apply, see `lm.models.heads`; None means `tokens`, and ()
      the hidden states.
    num_labels: Number of classes of the heads `label` and `tags`.
    head_dropout: Rate on the inputs of `next_sentence`, `label` and `tags`.
    pooler: Keeps the pooler even if no head uses it, as published encoders do.
    drop_before_pooler: Applies dropout to the pooler's input, too (RoBERTa).
    transform_activation: Activation of the head `tokens`; None means
      `config.activation`.
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
    token_types: Int[Array, 'B L'] | None = None,
    prefix: Bool[Array, 'B L'] | None = None,
    predict_at: Int[Array, 'B P'] | None = None,
  ) -> dict[str, Any]:
    """Returns predictions by term; those of `tokens` as a `Projection`.

    Args:
      tokens: Token ids.
      positions: Position of each token in its document; default 0, 1, 2, ...
      segment_ids: The packed document of each token; a single one by default.
      valid: False on padding, which is masked out.
      token_types: Which of two texts a token belongs to; by default the first.
      prefix: In a causal model, the tokens visible to their whole document.
      predict_at: Positions at which to predict `tokens`; all by default.
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
      pooled()  # Creates its parameters; the output is unused.
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
  """Returns a function that embeds tokens, positions and token types.

  Its parameters are created once in `module`, however often it is called.
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
  """Scores tokens with the embedding table, after one more layer."""
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
