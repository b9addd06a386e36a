"""The logit lens: what a model would predict after each of its layers."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from lm.analysis import capture
from lm.models import layers
from lm.types import PyTree, UserError


def logit_lens(
  model: nn.Module, params: PyTree, inputs: Mapping[str, Any]
) -> Float[Array, 'M B L V']:
  """Returns the scores of the vocabulary after 0, 1, ... and all N layers.

  The residual stream after each layer replaces the output of the stack, after
  its final norm, and the model's own head decodes it (nostalgebraist 2020,
  "interpreting GPT: the logit lens"). The last scores are the model's own.

  Args:
    model: Any of `lm.models` that predicts tokens.
    params: The parameters of the model.
    inputs: Its keyword arguments; with `predict_at`, only those positions.

  Raises:
    UserError: The model does not predict tokens.
  """
  return _lens(model, params, dict(inputs))


def answering_stack(params: PyTree) -> str:
  """Returns the name of the stack that predicts tokens."""
  stacks = ('generator', 'decoder', 'encoder')
  return next(name for name in stacks if name in params)


def embedded(model: nn.Module, stack: str) -> str:
  """Returns the name of the activation that the stack reads, the embeddings."""
  apart = model.form == 'encoder_decoder' or stack == 'generator'
  return f'{stack}_in' if apart else 'dropout'


@functools.partial(jax.jit, static_argnums=0)
def _lens(model, params, inputs):
  stack = answering_stack(params)
  first, block = embedded(model, stack), f'{stack}/block'
  _, found = capture.observe(model, (first, block), params, inputs, {})
  hidden = jnp.concatenate([found[first][None], found[block]])
  if model.config.norm_position == 'pre':
    own = {'params': params[stack]['final_norm']}
    hidden = layers.norm(model.config, 'final_norm').apply(own, hidden)

  def answer(hidden):
    # Nothing before `stack` is computed, since nothing uses it.
    answers, _ = capture.observe(model, (), params, inputs, {stack: hidden})
    if 'tokens' not in answers:
      raise UserError(
        'The model scores no tokens, so no layer has a say in them. Load one'
        " whose config.model.heads have 'tokens'."
      )
    return answers['tokens'].logits()

  return jax.vmap(answer)(hidden)
