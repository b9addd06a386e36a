"""Going on from prompts, token by token.

The prompts, of whatever lengths, are read in one pass. Then a compiled loop
makes a chunk of tokens for every row, and the host looks at it in between.

A model reads a window of `max_len` tokens. A prompt that is longer is cut on
the left. A row whose window is full forgets its older half: its last
`max_len // 2` tokens are read again in one pass, and it goes on from there. So
a text can be longer than the window, but its tokens are chosen with between
half of the window and all of it in view.

What a row says depends on its prompt, its place in the batch, the seed and the
settings, and on no other row.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from flax import linen as nn
from jaxtyping import Int

from lm.generation import layers, steps
from lm.generation.sampling import GREEDY, Sampling
from lm.types import PyTree, UserError

Tokens = Int[np.ndarray, '_']


class Piece(NamedTuple):
  """Tokens that a row made.

  Attributes:
    tokens: Without the stop token.
    stopped_by: A stop token, or the length asked for; None: the row goes on.
  """

  tokens: Tokens
  stopped_by: Literal['stop', 'length'] | None


def generate(
  model: nn.Module,
  params: PyTree,
  prompts: Sequence[Tokens],
  **options: Any,
) -> list[Piece]:
  """Returns how each prompt goes on; the arguments are those of `stream`."""
  rows = zip(*stream(model, params, prompts, **options))
  return [
    Piece(np.concatenate([piece.tokens for piece in row]), row[-1].stopped_by)
    for row in rows
  ]


def stream(
  model: nn.Module,
  params: PyTree,
  prompts: Sequence[Tokens],
  *,
  max_new_tokens: int,
  sampling: Sampling = GREEDY,
  stop_tokens: Sequence[int] = (),
  seed: int = 0,
  chunk: int = 16,
) -> Iterator[list[Piece]]:
  """Yields how the prompts go on: again and again, the next piece of each.

  Args:
    model: Predicts every next token.
    params: Its parameters.
    prompts: Token ids, at least one each.
    max_new_tokens: How many tokens a row makes at most.
    sampling: How they are chosen.
    stop_tokens: Ids that end a row.
    seed: Decides what is drawn.
    chunk: How many tokens a piece has at most.
  """
  window = model.config.max_len
  _check(prompts, max_new_tokens, model.config.vocab_size)
  texts = [_cut(prompt, window) for prompt in prompts]
  longest = max(map(len, texts))
  request = steps.Request(
    sampling=sampling,
    max_new_tokens=max_new_tokens,
    stop_tokens=jnp.array(stop_tokens, jnp.int32),
    key=jax.random.key(seed),
    capacity=size_for(longest + max_new_tokens, window),
  )
  model, params = layers.apart(model, params)
  state = steps.start(model, params, len(texts), request.capacity)
  to_read, width = texts, size_for(longest, window)
  while True:
    if any(map(len, to_read)):
      tokens, lengths = _padded(to_read, width)
      state, made = steps.read(model, params, state, tokens, lengths, request)
    else:
      state, made = steps.make(model, params, state, request, chunk)
    made, ended, stopped, used = jax.device_get(
      (made, steps.ended(state, request), state.stopped, state.used)
    )
    pieces = [row[row != steps.NOTHING] for row in made]
    texts = [np.append(text, piece) for text, piece in zip(texts, pieces)]
    why = np.where(stopped, 'stop', np.where(ended, 'length', None))
    yield [Piece(*pair) for pair in zip(pieces, why.tolist())]
    if ended.all():
      return
    width = max(1, window // 2)
    forgets = (used == request.capacity) & ~ended
    to_read = [
      text[-width:] if now else text[:0] for text, now in zip(texts, forgets)
    ]


def size_for(length: int, limit: int) -> int:
  """Returns a size that holds `length`, if `limit` does: 16, 24, 32, 48, ...

  There are few, and each is compiled for once.
  """
  size = 16
  while size < length:
    power_of_two = size & (size - 1) == 0
    size = size * 3 // 2 if power_of_two else size * 4 // 3
  return min(size, limit)


def _padded(
  rows: Sequence[Tokens], width: int
) -> tuple[Int[np.ndarray, 'B L'], Int[np.ndarray, 'B']]:
  """Returns the rows padded on the right, and their lengths."""
  lengths = np.array([len(row) for row in rows], np.int32)
  tokens = np.zeros((len(rows), width), np.int32)
  for place, row in zip(tokens, rows):
    place[: len(row)] = row
  return tokens, lengths


def _cut(prompt: Tokens, window: int) -> Tokens:
  """Returns the end of a prompt that the window can hold."""
  if len(prompt) > window:
    logging.warning(
      'A prompt has %d tokens, and the model reads %d: its beginning is cut.',
      len(prompt),
      window,
    )
  return prompt[-window:].astype(np.int32)


def _check(
  prompts: Sequence[Tokens], max_new_tokens: int, vocab_size: int
) -> None:
  if max_new_tokens < 1:
    raise UserError(
      f'max_new_tokens is {max_new_tokens}, so there is nothing to do. Set it'
      ' to 1 or more.'
    )
  if not prompts or any(len(prompt) == 0 for prompt in prompts):
    raise UserError(
      'A prompt is empty, but a token is predicted from those before it. Give'
      ' at least one token, such as the one that ends a text.'
    )
  for prompt in prompts:
    if not 0 <= prompt.min() <= prompt.max() < vocab_size:
      raise UserError(
        f'A prompt has tokens from {prompt.min()} to {prompt.max()}, but the'
        f' model knows those from 0 to {vocab_size - 1}. Encode the prompt with'
        ' the tokenizer that the model was trained with.'
      )
