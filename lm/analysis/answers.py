"""What a model answers to each target, beside what was right."""

import functools
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from lm.objectives import cross_entropy
from lm.objectives.cross_entropy import Scored
from lm.types import Batch, PyTree, UserError


class Asked(NamedTuple):
  """All tokens that some batches ask for, and what was answered.

  Attributes:
    tokens: What is right.
    shown: What the model read at the place where it was asked.
    best: Its best guess.
    nats: What it loses by what is right.
    positions: How many tokens of the same document stand before it.
    repeated: Whether it stands among these already.
  """

  tokens: Int[np.ndarray, 'M']
  shown: Int[np.ndarray, 'M']
  best: Int[np.ndarray, 'M']
  nats: Float[np.ndarray, 'M']
  positions: Int[np.ndarray, 'M']
  repeated: Bool[np.ndarray, 'M']


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


def of_batches(
  model: nn.Module, params: PyTree, batches: Iterable[Batch]
) -> Asked:
  """Returns what was asked for in batches of text, one token after another.

  Args:
    model: Any of `lm.models` that scores tokens.
    params: Of the model.
    batches: As an objective has prepared them, which asks each token for the
      next one, or places of `predict_at` for what was hidden there.
  """
  columns = []
  for batch in batches:
    targets = batch.targets['tokens']
    said = of_tokens(model, params, batch.inputs, targets)
    rows, slots = np.nonzero(batch.weights['tokens'] > 0)
    places, positions, repeated = _text(batch)
    shown = np.asarray(batch.inputs['tokens'])[rows, places[rows, slots]]
    columns.append(
      (
        np.asarray(targets)[rows, slots],
        shown,
        np.asarray(said.best)[rows, slots],
        np.asarray(said.nats)[rows, slots],
        positions[rows, slots],
        repeated[rows, slots],
      )
    )
  return Asked(*(np.concatenate(column) for column in zip(*columns)))


def _text(batch: Batch) -> tuple[np.ndarray, ...]:
  """Returns where each target is asked for, its position, if it is repeated."""
  tokens = np.asarray(batch.inputs['tokens'])
  targets = np.asarray(batch.targets['tokens'])
  every = np.broadcast_to(np.arange(tokens.shape[1]), tokens.shape)
  documents = np.asarray(batch.inputs.get('segment_ids', 0 * tokens))
  positions = np.broadcast_to(
    np.asarray(batch.inputs.get('positions', every)), tokens.shape
  )
  if 'predict_at' in batch.inputs:
    places, ahead = np.asarray(batch.inputs['predict_at']), 0
    rows, slots = np.nonzero(batch.weights['tokens'] > 0)
    tokens = tokens.copy()  # As they were before they were hidden.
    tokens[rows, places[rows, slots]] = targets[rows, slots]
  else:
    places, ahead = every, 1
  at = lambda x: np.take_along_axis(x, places, axis=1)
  same = (tokens[:, None] == targets[:, :, None]) & (
    documents[:, None] == at(documents)[:, :, None]
  )
  before = every[:, None] < places[:, :, None] + ahead
  return places, at(positions) + ahead, (same & before).any(axis=-1)


@functools.partial(jax.jit, static_argnums=0)
def _scored(model, params, inputs, targets):
  answers = model.apply({'params': params}, **inputs, method='answer')
  if 'tokens' not in answers:
    raise UserError(
      f'The model answers {", ".join(answers)} and no tokens, so none has a'
      " loss. Load one whose config.model.heads have 'tokens'."
    )
  return cross_entropy.score(answers['tokens'], targets)
