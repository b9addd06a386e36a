"""ELECTRA, which detects replaced tokens (Clark et al. 2020)."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Int

from lm import types
from lm.models import bert, embeddings, heads, layers, masks, transformer
from lm.models.config import TransformerConfig


class ELECTRA(nn.Module):
  """A small generator fills masks, and a discriminator detects replacements.

  They share the embeddings. The discriminator is the one to fine-tune.

  Attributes:
    config: Config of the discriminator.
    generator_size: Width of the generator, relative to the discriminator.
    num_token_types: Number of token types: 2 tell the texts of a pair apart.
    heads: `tokens` from the generator, `replaced` from the discriminator.
  """

  config: TransformerConfig
  generator_size: float = 0.25
  num_token_types: int = 2
  heads: tuple[str, ...] | None = None

  @property
  def form(self) -> types.Form:
    """The form of its attention, which an objective has to fit."""
    return 'generator_discriminator'

  def __call__(self, *args: Any, **inputs: Any) -> Any:
    """Returns predictions by term; see `answer`."""
    return types.logits(self.answer(*args, **inputs))

  @nn.compact
  def answer(
    self,
    tokens: Int[Array, 'B L'],
    positions: Int[Array, '#B L'] | None = None,
    segment_ids: Int[Array, 'B L'] | None = None,
    valid: Bool[Array, 'B L'] | None = None,
    token_types: Int[Array, 'B L'] | None = None,
    masked: Bool[Array, 'B L'] | None = None,
    predict_at: Int[Array, 'B P'] | None = None,
  ) -> dict[str, Any]:
    """Returns predictions by term.

    `tokens` are the generator's logits at `predict_at`; `corrupted` is the
    input with `masked` tokens sampled from them (with a 'sample' key);
    `replaced` scores each of its tokens for not being the original. Without
    `masked`, the discriminator reads `tokens` unchanged.

    Args:
      tokens: Token ids.
      positions: Position of each token in its document; default 0, 1, 2, ...
      segment_ids: The packed document of each token; a single one by default.
      valid: False on padding, which is masked out.
      token_types: Which of two texts a token belongs to; by default the first.
      masked: Which tokens are masked; all of them are at `predict_at`.
      predict_at: Ascending positions for the generator, padded with 0.
    """
    cfg = self.config
    if positions is None:
      positions = jnp.arange(tokens.shape[1])[None]
    if token_types is None:
      token_types = jnp.zeros_like(tokens)
    context = transformer.Context(
      masks.of_tokens(valid, segment_ids), positions
    )
    embedding = embeddings.Embedding(cfg, name='token')
    embed = bert.embedder(self, embedding, self.num_token_types)
    answers, corrupted = {}, tokens
    if masked is not None or self.is_initializing():
      small = smaller(cfg, self.generator_size)
      x = embed(tokens, positions, token_types)
      x = layers.dense(small, small.embed_dim, 'generator_in')(x)
      x = transformer.Stack(small, name='generator')(x, context)
      scores = bert.project(self, embedding, heads.at(x, predict_at))
      answers['tokens'] = scores
      if masked is not None and predict_at is not None:
        corrupted = self._draw(scores, tokens, masked, predict_at)
    x = embed(corrupted, positions, token_types)
    x = transformer.Stack(cfg, name='encoder')(x, context)
    x = layers.dense(cfg, cfg.embed_dim, 'replaced_transform')(x)
    x = layers.ACTIVATIONS[cfg.activation](x)
    scores = layers.dense(cfg, 1, 'replaced')(x)[..., 0]
    answers['replaced'] = scores.astype(jnp.float32)
    return answers | {'corrupted': corrupted}

  def _draw(
    self,
    scores: types.Projection,
    tokens: Int[Array, 'B L'],
    masked: Bool[Array, 'B L'],
    predict_at: Int[Array, 'B P'],
  ) -> Int[Array, 'B L']:
    """Returns the tokens with masks filled by samples, without gradients."""
    logits = jax.lax.stop_gradient(scores.logits())
    drawn = jax.random.categorical(self.make_rng('sample'), logits)
    rows = jnp.arange(tokens.shape[0])[:, None]
    # Positions ascend, so a 0 after the first is padding.
    unused = (predict_at == 0) & (jnp.arange(predict_at.shape[1]) > 0)[None]
    places = jnp.where(unused, tokens.shape[1], predict_at)
    filled = tokens.at[rows, places].set(
      drawn.astype(tokens.dtype), mode='drop'
    )
    return jnp.where(masked, filled, tokens)


def smaller(cfg: TransformerConfig, share: float) -> TransformerConfig:
  """Returns a config with `share` of the width, rounded to whole heads."""
  num_heads = max(1, round(cfg.num_heads * share))
  return dataclasses.replace(
    cfg,
    num_heads=num_heads,
    embed_dim=num_heads * cfg.head_dim,
    mlp_dim=max(1, round(cfg.mlp_dim * share)),
  )
