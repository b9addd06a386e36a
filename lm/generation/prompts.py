"""What decoding begins with: prompts to go on from, or sources to answer.

A causal model reads a prompt and goes on from it. An encoder reads a prompt as
a source, once, and the decoder begins with a token that says nothing.
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
  """What a model is given before it makes a token.

  Attributes:
    texts: What the decoder reads, by row.
    source: What its encoder reads, once, by name; None: it has none.
    window: How many tokens the decoder can hold; None: any number.
  """

  texts: list[Tokens]
  source: dict[str, Int[np.ndarray, 'B S'] | Bool[np.ndarray, 'B S']] | None
  window: int | None


def begin(
  model: nn.Module, prompts: Sequence[Tokens], start_token: int
) -> Beginning:
  """Returns what the model is given; see `decode.stream`.

  Raises:
    UserError: The model answers no tokens, or does not know those of a prompt.
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
  """Returns what is kept of a prompt, all of it unless it is too long."""
  if len(prompt) > longest:
    logging.warning(
      'A prompt has %d tokens, and the model reads %d: its %s is cut.',
      len(prompt),
      longest,
      'end' if kept.start is None else 'beginning',
    )
  return prompt[kept].astype(np.int32)


def size_for(length: int, limit: int | None = None) -> int:
  """Returns a size that holds `length`, if `limit` does: 16, 24, 32, 48, ...

  There are few, and each is compiled for once.
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
  """Raises UserError if nothing is to be made."""
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
