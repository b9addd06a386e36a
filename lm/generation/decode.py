"""Autoregressive decoding from prompts.

Prompts, of any lengths, are read in one pass. Then a compiled loop generates a
chunk of tokens for every row, and the host looks at the result in between.

A model has a context window of `max_len` tokens. Longer prompts are truncated
on the left. A row whose window is full drops its older half: its last
`max_len // 2` tokens are read again in one pass, and decoding continues from
there. So a text can be longer than the window, but each token is conditioned on
between half of the window and all of it.

An encoder reads the prompts once, as sources. Its decoder has no window, and so
drops nothing, unless positions are learned.

The output of a row depends on its prompt, its place in the batch, the seed and
the settings, and on no other row.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from lm.generation import layers, steps
from lm.generation.prompts import (
  Tokens,
  begin,
  check_length,
  padded,
  size_for,
)
from lm.generation.sampling import GREEDY, Sampling
from lm.types import PyTree


class Piece(NamedTuple):
  """New tokens of a row.

  Attributes:
    tokens: The tokens, without the stop token.
    stopped_by: A stop token, or the maximum length; None if it continues.
  """

  tokens: Tokens
  stopped_by: Literal['stop', 'length'] | None


def generate(
  model: nn.Module,
  params: PyTree,
  prompts: Sequence[Tokens],
  **options: Any,
) -> list[Piece]:
  """Returns the continuation of each prompt; arguments as for `stream`."""
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
  start_token: int = 0,
  prefix_visible: bool = False,
) -> Iterator[list[Piece]]:
  """Yields the continuations of all prompts, one piece of each at a time.

  Args:
    model: A model that predicts the next token.
    params: Its parameters.
    prompts: Token ids, at least one each; sources, if it has an encoder.
    max_new_tokens: Maximum number of new tokens in a row.
    sampling: How tokens are chosen.
    stop_tokens: Ids that end a row.
    seed: Seed of the sampling.
    chunk: Maximum number of tokens in a piece.
    start_token: The start token of a decoder with an encoder.
    prefix_visible: Whether attention within a prompt is bidirectional, as in
      the training of a prefix LM.
  """
  check_length(max_new_tokens)
  texts, source, window = begin(model, prompts, start_token)
  longest = max(map(len, texts))
  request = steps.Request(
    sampling=sampling,
    max_new_tokens=max_new_tokens,
    stop_tokens=jnp.array(stop_tokens, jnp.int32),
    key=jax.random.key(seed),
    capacity=size_for(longest + max_new_tokens, window),
    prefix_visible=prefix_visible,
  )
  model, params = layers.apart(model, params)
  state = steps.start(model, params, len(texts), request.capacity, source)
  to_read, width = texts, size_for(longest, window)
  while True:
    if any(map(len, to_read)):
      tokens, lengths = padded(to_read, width)
      state, made = steps.read(
        model, params, state, tokens, lengths, request, source
      )
      source = None  # It is in the cache.
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
    width = max(1, request.capacity // 2)
    forgets = (used == request.capacity) & ~ended
    to_read = [
      text[-width:] if now else text[:0] for text, now in zip(texts, forgets)
    ]
