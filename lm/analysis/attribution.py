"""Attributes a model's answer to its input tokens."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.tree_util import Partial
from jaxtyping import Array, Float, Int

from lm.analysis import capture, logit_lens
from lm.types import PyTree

Scores = dict[str, Float[Array, 'B L']]
# Maps the model's answer to one number for each row.
Score = Callable[[Any], Float[Array, 'B']]


class Attribution(NamedTuple):
  """The contribution of each token to the score of its row.

  Attributes:
    scores: By input of the model: `tokens`, `source_tokens`.
    gap: The score's difference from the baseline's less the sum of `scores`,
      which is the error of taking a finite number of steps.
  """

  scores: Scores
  gap: Float[Array, 'B']


def token_score(
  position: int | Int[Array, 'B'], token: int | Int[Array, 'B']
) -> Score:
  """Returns a score: the log-probability of a token at a position.

  Args:
    position: The position in every row, or one for each row.
    token: The id of the token, or one for each row.
  """
  # The numbers are arguments, so that another token does not recompile.
  return Partial(_log_probs, jnp.asarray(position), jnp.asarray(token))


def gradient_x_input(
  model: nn.Module, params: PyTree, inputs: Mapping[str, Any], score: Score
) -> Scores:
  """Returns each embedded token times the score's gradient with respect to it.

  If the score were linear, it would change by this much without the token
  (Shrikumar et al. 2016; Denil et al. 2014).

  Args:
    model: Any of `lm.models`.
    params: The parameters of the model.
    inputs: Its keyword arguments.
    score: The score to explain; that of a row may depend on that row only.
  """
  return _slopes(model, params, dict(inputs), Partial(score))


def integrated_gradients(
  model: nn.Module,
  params: PyTree,
  inputs: Mapping[str, Any],
  score: Score,
  baseline: Mapping[str, Any] | None = None,
  steps: int = 64,
) -> Attribution:
  """Returns the contribution of each token on the path from a baseline.

  The gradient is integrated along the straight line between the embedded tokens
  of both (Sundararajan et al. 2017, 3), by Gauss-Legendre quadrature, which
  needs fewer points than equal steps.

  Args:
    model: Any of `lm.models`.
    params: The parameters of the model.
    inputs: Its keyword arguments.
    score: The score to explain; that of a row may depend on that row only.
    baseline: Inputs that differ, such as `tokens` that are all padding or
      masks; None means vectors of zeros, near which norms change so fast that
      few steps cannot follow them, and for a T5's no number can.
    steps: Points on the path; more make `Attribution.gap` smaller.
  """
  start = None if baseline is None else {**inputs, **baseline}
  return _integrated(model, steps, params, dict(inputs), Partial(score), start)


@functools.partial(jax.jit, static_argnums=0)
def _slopes(model, params, inputs, score):
  places = _places(model, inputs)
  vectors = _embedded(model, params, inputs, places)
  grads = jax.grad(_summed(model, params, inputs, score))(vectors)
  return {
    name: jnp.sum(vectors[place] * grads[place], axis=-1)
    for name, place in places.items()
  }


@functools.partial(jax.jit, static_argnums=(0, 1))
def _integrated(model, steps, params, inputs, score, baseline):
  places = _places(model, inputs)
  vectors = _embedded(model, params, inputs, places)
  if baseline is None:
    start = jax.tree.map(jnp.zeros_like, vectors)
  else:
    start = _embedded(model, params, baseline, places)
  way = jax.tree.map(jnp.subtract, vectors, start)
  total = _summed(model, params, inputs, score)

  def step(mean, point):
    share, weight = point
    here = jax.tree.map(lambda a, b: a + share * b, start, way)
    grads = jax.grad(total)(here)
    return jax.tree.map(lambda m, g: m + weight * g, mean, grads), None

  points, weights = np.polynomial.legendre.leggauss(steps)  # From -1 to 1.
  points = jnp.asarray([(points + 1) / 2, weights / 2], jnp.float32).T
  mean, _ = jax.lax.scan(step, jax.tree.map(jnp.zeros_like, way), points)
  scores = {
    name: jnp.sum(way[place] * mean[place], axis=-1)
    for name, place in places.items()
  }
  ends = [
    score(capture.patch(model, params, inputs, end)) for end in (vectors, start)
  ]
  added = sum(jnp.sum(array, axis=-1) for array in scores.values())
  return Attribution(scores, ends[0] - ends[1] - added)


def _log_probs(position, token, answers):
  logits = answers['tokens'] if isinstance(answers, Mapping) else answers
  rows = jnp.arange(logits.shape[0])
  return jax.nn.log_softmax(logits[rows, position])[rows, token]


def _places(model: nn.Module, inputs: Mapping[str, Any]) -> dict[str, str]:
  """Returns the names of the embedded tokens, by the name of the input."""
  stacks = {'source_tokens': 'encoder', 'tokens': 'decoder'}
  return {
    name: logit_lens.embedded(model, stack)
    for name, stack in stacks.items()
    if inputs.get(name) is not None
  }


def _embedded(model, params, inputs, places):
  return capture.capture(model, params, inputs, tuple(places.values()))


def _summed(model, params, inputs, score):
  """Returns the sum of the rows' scores as a function of embedded tokens."""
  return lambda vectors: jnp.sum(
    score(capture.patch(model, params, inputs, vectors))
  )
