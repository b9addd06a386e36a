"""The inputs of decoding: prompts to continue, or sources to answer.

A causal model reads a prompt and continues it. An encoder reads a prompt once,
as a source, and the decoder begins with a start token.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from absl import logging
from flax import linen as nn
from jaxtyping import Bool, Int

from lm.types import UserError

Tokens = Int[np.ndarray, '_']


class Beginning(NamedTuple):
  """The inputs of a model before it generates tokens.

  Attributes:
    texts: Inputs of the decoder, by row.
    source: Inputs of the encoder, by name, read once; None without an encoder.
    window: Maximum number of tokens in the decoder; None means no limit.
  """

  texts: list[Tokens]
  source: dict[str, Int[np.ndarray, 'B S'] | Bool[np.ndarray, 'B S']] | None
  window: int | None


def begin(
  model: nn.Module, prompts: Sequence[Tokens], start_token: int
) -> Beginning:
  """Returns the inputs of the model; see `decode.stream`.

  Raises:
    UserError: The model cannot generate text, or a prompt is empty or has
      tokens that it does not know.
  """
  _check_model(model)
  _check_prompts(prompts, model.config.vocab_size)
  longest = model.config.max_len
  if model.form == 'causal':
    return Beginning(
      [cut(p, longest, slice(-longest, None)) for p in prompts], None, longest
    )
  sources = [cut(p, longest, slice(longest)) for p in prompts]
  tokens, lengths = padded(sources, size_for(max(map(len, sources)), longest))
  valid = np.arange(tokens.shape[1]) < lengths[:, None]
  start = np.array([start_token], np.int32)
  return Beginning(
    [start] * len(prompts),
    {'source_tokens': tokens, 'source_valid': valid},
    longest if model.config.position == 'learned' else None,
  )


def cut(prompt: Tokens, longest: int, kept: slice) -> Tokens:
  """Returns the kept part of a prompt, and warns if the prompt is too long."""
  if len(prompt) > longest:
    logging.warning(
      'A prompt has %d tokens, and the model reads %d: its %s is cut.',
      len(prompt),
      longest,
      'end' if kept.start is None else 'beginning',
    )
  return prompt[kept].astype(np.int32)


def size_for(length: int, limit: int | None = None) -> int:
  """Returns a size for `length`, up to `limit`: 16, 24, 32, 48, ...

  There are few sizes, and each is compiled once.
  """
  size = 16
  while size < length:
    power_of_two = size & (size - 1) == 0
    size = size * 3 // 2 if power_of_two else size * 4 // 3
  return size if limit is None else min(size, limit)


def padded(
  rows: Sequence[Tokens], width: int
) -> tuple[Int[np.ndarray, 'B L'], Int[np.ndarray, 'B']]:
  """Returns the rows padded on the right, and their lengths."""
  lengths = np.array([len(row) for row in rows], np.int32)
  tokens = np.zeros((len(rows), width), np.int32)
  for place, row in zip(tokens, rows):
    place[: len(row)] = row
  return tokens, lengths


def check_length(max_new_tokens: int) -> None:
  """Raises UserError if no token is to be generated."""
  if max_new_tokens < 1:
    raise UserError(
      f'max_new_tokens is {max_new_tokens}, so there is nothing to do. Set it'
      ' to 1 or more.'
    )


def _check_model(model: nn.Module) -> None:
  if model.form not in ('causal', 'encoder_decoder'):
    raise UserError(
      'This model sees what follows a token, so it cannot go on from a text.'
      ' Let it fill masks, or use one whose config.model.attention is causal.'
    )
  if model.heads is not None and 'tokens' not in model.heads:
    raise UserError(
      f'This model answers {", ".join(model.heads) or "hidden states"} and no'
      ' tokens, so it writes no text. Use one that was trained to.'
    )


def _check_prompts(prompts: Sequence[Tokens], vocab_size: int) -> None:
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
