"""What a model answers to each target, beside what was right."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Int

from lm.objectives import cross_entropy
from lm.objectives.cross_entropy import Scored
from lm.types import PyTree, UserError


def of_tokens(
  model: nn.Module,
  params: PyTree,
  inputs: Mapping[str, Any],
  targets: Int[Array, 'B L'] | Int[np.ndarray, 'B L'],
) -> Scored:
  """Returns the nats of each target, and the token that was the best guess.

  Args:
    model: Any of `lm.models` that scores tokens.
    params: Of the model.
    inputs: Its keyword arguments.
    targets: What is to be answered at each place, as an objective has them.

  Raises:
    UserError: The model scores no tokens.
  """
  return _scored(model, params, dict(inputs), targets)


@functools.partial(jax.jit, static_argnums=0)
def _scored(model, params, inputs, targets):
  answers = model.apply({'params': params}, **inputs, method='answer')
  if 'tokens' not in answers:
    raise UserError(
      f'The model answers {", ".join(answers)} and no tokens, so none has a'
      " loss. Load one whose config.model.heads have 'tokens'."
    )
  return cross_entropy.score(answers['tokens'], targets)
