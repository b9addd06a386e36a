"""Scores rows of tokens in batches of few shapes, whatever their lengths."""

import collections
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Float64, Int

from lm.generation.prompts import padded, size_for
from lm.objectives import cross_entropy
from lm.types import PyTree, UserError

Tokens = Int[np.ndarray, '_']

TOKENS = 4096  # Tokens of a batch; on a CPU, more are no faster.
MOST = 2**27  # The most logits of a batch: 512 MiB.
FINE = 32  # Up to here, widths are multiples of 4: most sentences are short.
LOGGED = 100_000  # Rows between progress messages.
AHEAD = 2  # Batches queued on the device while the host makes the next.


class Row(NamedTuple):
  """A sequence that a model reads at once, and the tokens to score.

  Attributes:
    owner: The index of the total that its scores are added to.
    tokens: The input of the model, or of its decoder if it has an encoder.
    predict_at: The positions to predict at.
    targets: The tokens whose log-probabilities are wanted there.
    source: The input of its encoder.
  """

  owner: int
  tokens: Tokens
  predict_at: Tokens
  targets: Tokens
  source: Tokens | None = None


class Totals(NamedTuple):
  """The sums of the scores.

  Attributes:
    log_probs: Sums over the targets of each owner, in nats.
    greedy: Whether all these targets were the likeliest tokens at their
      positions; all False unless requested.
  """

  log_probs: Float64[np.ndarray, 'N']
  greedy: Bool[np.ndarray, 'N']


class _Shape(NamedTuple):
  width: int
  asked: int
  source: int


def total(
  model: nn.Module,
  params: PyTree,
  rows: Iterable[Row],
  size: int,
  *,
  batch_tokens: int = TOKENS,
  greedy: bool = False,
) -> Totals:
  """Returns the sum of the scores of the rows of each owner.

  Rows of similar lengths are batched together, in a few shapes: a program is
  compiled once for each, with a full batch of rows. The last batches are padded
  with empty rows.

  Args:
    model: A model that predicts tokens.
    params: Its parameters.
    rows: The rows; consumed lazily, so that few are in memory at once.
    size: The number of owners.
    batch_tokens: The most tokens of a batch, if a row fits in it.
    greedy: Whether to find out if targets are the likeliest, which is slower.
  """
  model = answering(model)
  log_probs, best = np.zeros(size), np.full(size, greedy)
  waiting: dict[_Shape, list[Row]] = collections.defaultdict(list)
  running, compiled = collections.deque(), set()

  def collect(most: int) -> None:
    while len(running) > most:
      batch, answers = running.popleft()
      values, first = jax.device_get(answers)
      for row, value, is_first in zip(batch, values, first):
        count = len(row.targets)
        log_probs[row.owner] += value[:count].sum(dtype=np.float64)
        best[row.owner] &= is_first[:count].all()

  def run(shape: _Shape, batch: Sequence[Row], rows: int) -> None:
    inputs, targets = _arrays(shape, batch, rows)
    running.append((batch, _answer(model, params, inputs, targets, greedy)))
    compiled.add(shape)
    collect(AHEAD)

  for number, row in enumerate(rows, start=1):
    if number % LOGGED == 0:
      logging.info('%d rows are read.', number)
    shape = _shape(row, model.config.max_len)
    waiting[shape].append(row)
    most = _most(shape, batch_tokens, model.config.vocab_size)
    if len(waiting[shape]) == most:
      run(shape, waiting.pop(shape), most)
  for shape, left in waiting.items():
    most = _most(shape, batch_tokens, model.config.vocab_size)
    few = min(most, 1 << (len(left) - 1).bit_length())
    run(shape, left, most if shape in compiled else few)
  collect(0)
  return Totals(log_probs, best)


def answering(model: nn.Module) -> nn.Module:
  """Returns the model with only the head for tokens.

  Raises:
    UserError: It has none.
  """
  heads = getattr(model, 'heads', None)
  if heads is not None and 'tokens' not in heads:
    raise UserError(
      f'This model answers {", ".join(heads) or "hidden states"} and no tokens,'
      ' so no text is likely or unlikely to it. Use one that predicts tokens.'
    )
  return model.clone(heads=('tokens',))


def width_for(length: int, limit: int | None = None) -> int:
  """Returns a width that fits `length`: 4, 8, ... 32, 48, 64, 96, ..."""
  if length > FINE:
    return size_for(length, limit)
  width = -(-length // 4) * 4
  return width if limit is None else min(width, limit)


def _shape(row: Row, max_len: int) -> _Shape:
  width = width_for(len(row.tokens), max_len)
  asked = len(row.predict_at)
  if asked > width // 2:
    asked = width  # Predicting a few more costs less than compiling again.
  elif asked > 1:
    asked = width_for(asked, max_len)
  source = 0 if row.source is None else width_for(len(row.source), max_len)
  return _Shape(width, asked, source)


def _most(shape: _Shape, batch_tokens: int, vocab_size: int) -> int:
  """Returns the number of rows of a batch of this shape."""
  of_tokens = batch_tokens // (shape.width + shape.source)
  return max(1, min(of_tokens, MOST // (shape.asked * vocab_size)))


def _arrays(
  shape: _Shape, batch: Sequence[Row], rows: int
) -> tuple[dict[str, np.ndarray], Int[np.ndarray, 'B P']]:
  """Returns the inputs of a batch and its targets, padded with empty rows.

  An empty row has one valid token, since attention needs at least one.
  """
  nothing = np.zeros(1, np.int32)
  spare = [nothing] * (rows - len(batch))
  tokens, lengths = padded([*(r.tokens for r in batch), *spare], shape.width)
  inputs = {'tokens': tokens, 'lengths': lengths}
  if shape.source:
    sources = [*(row.source for row in batch), *spare]
    inputs['source_tokens'], inputs['source_lengths'] = padded(
      sources, shape.source
    )
  places = [*(row.predict_at for row in batch), *spare]
  inputs['predict_at'], _ = padded(places, shape.asked)
  targets, _ = padded([*(r.targets for r in batch), *spare], shape.asked)
  return inputs, targets


@functools.partial(jax.jit, static_argnames=('model', 'greedy'))
def _answer(
  model: nn.Module,
  params: PyTree,
  inputs: Mapping[str, Array],
  targets: Int[Array, 'B P'],
  greedy: bool,
) -> tuple[Float[Array, 'B P'], Bool[Array, 'B P']]:
  """Returns log-probabilities of the targets, and which are the likeliest."""
  given = {
    'tokens': inputs['tokens'],
    'predict_at': inputs['predict_at'],
  }
  if model.form == 'bidirectional':
    given['valid'] = _within(inputs['tokens'], inputs['lengths'])
  if 'source_tokens' in inputs:
    given['source_tokens'] = inputs['source_tokens']
    given['source_valid'] = _within(
      inputs['source_tokens'], inputs['source_lengths']
    )
  answers = model.apply({'params': params}, **given, method='answer')
  scored = cross_entropy.score(answers['tokens'], targets)
  first = scored.best == targets if greedy else jnp.zeros(targets.shape, bool)
  return -scored.nats, first


def _within(
  tokens: Int[Array, 'B L'], lengths: Int[Array, 'B']
) -> Bool[Array, 'B L']:
  return jnp.arange(tokens.shape[1])[None] < lengths[:, None]
