"""A model's prediction for each target, and its loss."""

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
  """All target tokens of some batches, and the model's predictions.

  Attributes:
    tokens: The correct tokens.
    shown: The input token at the position of each prediction.
    best: The model's best guess.
    nats: Its loss on the correct token.
    positions: The number of tokens before it in the same document.
    repeated: Whether it already occurs among these.
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
  """Returns the loss on each target in nats, and the model's best guess.

  Args:
    model: Any of `lm.models` that predicts tokens.
    params: The parameters of the model.
    inputs: Its keyword arguments.
    targets: The correct token at each position, as from an objective.

  Raises:
    UserError: The model does not predict tokens.
  """
  return _scored(model, params, dict(inputs), targets)


def of_batches(
  model: nn.Module, params: PyTree, batches: Iterable[Batch]
) -> Asked:
  """Returns the targets of batches of text, concatenated.

  Args:
    model: Any of `lm.models` that predicts tokens.
    params: The parameters of the model.
    batches: As prepared by an objective, whose targets are the next tokens, or
      the tokens hidden at `predict_at`.
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
  """Returns where each target is predicted, its position, if it is repeated."""
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
    tokens = tokens.copy()  # To restore the tokens that were hidden.
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
