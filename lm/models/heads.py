"""Output heads, beside that of tokens, for any backbone.

A head and its parameters are named after the term that it predicts:
`next_sentence`, `label`, `tags`, `start`, `end`.
"""

import dataclasses
from collections.abc import Callable, Collection
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lm.models import layers
from lm.models.config import TransformerConfig
from lm.types import Projection, UserError

OF_TEXT = ('next_sentence', 'label')  # These read one vector per text.
OF_TOKENS = ('tags', 'start', 'end')  # These read every token.
TERMS = ('tokens', *OF_TEXT, *OF_TOKENS)


def answer(
  cfg: TransformerConfig,
  wanted: Collection[str],
  num_labels: int,
  *,
  hidden: Float[Array, 'B L D'],
  tokens: Callable[[], Projection],
  text: Callable[[], Float[Array, 'B D']],
  label_bias: bool = True,
) -> dict[str, Any]:
  """Returns predictions by term, or the hidden states if none is wanted.

  Args:
    cfg: Config of the model.
    wanted: Terms to predict.
    num_labels: Number of classes of `label` and `tags`.
    hidden: Input of the heads that read every token.
    tokens: Returns the predictions of `tokens`.
    text: Returns the input of the heads that read one vector per text.
    label_bias: Whether the head `label` has a bias.
  """
  for term in wanted:
    if term not in TERMS:
      raise UserError(
        f'There is no head {term!r} on this model. Set config.model.heads to'
        f' some of {", ".join(TERMS)}, or choose a model and an objective that'
        ' go together (docs/objectives.md).'
      )
  answers = {'tokens': tokens()} if 'tokens' in wanted else {}
  sizes = {'next_sentence': 2, 'label': num_labels, 'tags': num_labels}

  def scores(term, x):
    bias = label_bias or term != 'label'
    settings = dataclasses.replace(cfg, use_bias=bias)
    linear = layers.dense(settings, sizes.get(term, 1), term)
    return linear(x).astype(jnp.float32)

  if of_text := [term for term in OF_TEXT if term in wanted]:
    summary = text()
    answers |= {term: scores(term, summary) for term in of_text}
  for term in OF_TOKENS:
    if term in wanted:
      answers[term] = scores(term, hidden)
      if term not in sizes:  # One score for each token.
        answers[term] = answers[term][..., 0]
  return answers or {'hidden': hidden}


def pool(
  cfg: TransformerConfig, summary: Float[Array, 'B D']
) -> Float[Array, 'B D']:
  """Applies a dense layer and tanh to the vector of a text (BERT, T5)."""
  cfg = dataclasses.replace(cfg, use_bias=True)
  return jnp.tanh(layers.dense(cfg, cfg.embed_dim, 'pooler')(summary))


def last_valid(
  x: Float[Array, 'B L D'], valid: Bool[Array, 'B L'] | None
) -> Float[Array, 'B D']:
  """Returns the vector of the last token of each row, padding excluded."""
  if valid is None:
    return x[:, -1]
  last = x.shape[1] - 1 - jnp.argmax(valid[:, ::-1], axis=1)
  return jnp.take_along_axis(x, last[:, None, None], axis=1)[:, 0]


def at(
  x: Float[Array, 'B L D'], positions: Int[Array, 'B P'] | None
) -> Float[Array, 'B P D'] | Float[Array, 'B L D']:
  """Returns the vectors at `positions`; None means all."""
  if positions is None:
    return x
  return jnp.take_along_axis(x, positions[:, :, None], axis=1)
