"""How much each token has to do with what the model answers."""

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
# From what the model answers to one number for each row.
Score = Callable[[Any], Float[Array, 'B']]


class Attribution(NamedTuple):
  """What each token adds to the score of its row.

  Attributes:
    scores: By what the model reads: `tokens`, `source_tokens`.
    gap: By how much they miss the score's difference from the baseline's, which
      is what they add up to but for the steps taken.
  """

  scores: Scores
  gap: Float[Array, 'B']


def token_score(
  position: int | Int[Array, 'B'], token: int | Int[Array, 'B']
) -> Score:
  """Returns what takes the log probability of a token at a position.

  Args:
    position: Of the row, or one for each.
    token: Its id, or one for each row.
  """
  # Its numbers are arguments: another token is no other program.
  return Partial(_log_probs, jnp.asarray(position), jnp.asarray(token))


def gradient_x_input(
  model: nn.Module, params: PyTree, inputs: Mapping[str, Any], score: Score
) -> Scores:
  """Returns each embedded token times the score's gradient by it.

  This is how the score would change without the token if it were linear
  (Shrikumar et al. 2016; Denil et al. 2014).

  Args:
    model: Any of `lm.models`.
    params: Of the model.
    inputs: Its keyword arguments.
    score: What is explained; a row's may depend on that row alone.
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
  """Returns what each token adds on the way from a baseline to the row.

  The gradient is taken at points of the straight line between the embedded
  tokens of both (Sundararajan et al. 2017, 3), those of Gauss and Legendre,
  which need fewer than equal steps.

  Args:
    model: Any of `lm.models`.
    params: Of the model.
    inputs: Its keyword arguments.
    score: What is explained; a row's may depend on that row alone.
    baseline: Inputs that differ, such as `tokens` that are all padding or
      masks; None: vectors of zeros, near which norms change so fast that few
      steps do not follow, and those of a T5 none at all.
    steps: Points on the way; more make `Attribution.gap` smaller.
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
  """Returns where tokens have been embedded, by the name of the input."""
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
