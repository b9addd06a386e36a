"""Text that goes on from text, shown as it grows.

Tokens are not characters: a character may take several, and what a token reads
as may depend on the one before it. So what is shown is the text of all tokens
so far without what is still open: half a character, or what may turn out to be
the beginning of a stop text.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from flax import linen as nn
from jaxtyping import Int

from lm.data.tokenizers import Tokenizer
from lm.generation import decode
from lm.types import PyTree, UserError

HALF = '\ufffd'  # What bytes read as that are no whole character.


class Reply(NamedTuple):
  """How far a text is.

  Attributes:
    text: What a prompt goes on with, without the prompt.
    num_tokens: How many tokens were made for it, those of a stop text included.
    stopped_by: `stop`, `length`, or None while it goes on.
  """

  text: str
  num_tokens: int
  stopped_by: str | None


def stream(
  model: nn.Module,
  params: PyTree,
  tokenizer: Tokenizer,
  prompts: Sequence[str],
  *,
  stop: Sequence[str] = (),
  **options: Any,
) -> Iterator[list[Reply]]:
  """Yields how far the text of each prompt is, and ends when all have ended.

  The token that ends a text, if the tokenizer has one, ends a reply.

  Args:
    model: Predicts every next token.
    params: Its parameters.
    tokenizer: What it was trained with.
    prompts: Texts; an empty one begins where a text has ended.
    stop: Texts that end a reply, and are left away.
    **options: Of `decode.stream`.
  """
  starts = [_encode(tokenizer, prompt) for prompt in prompts]
  ends = () if tokenizer.eos_id is None else (tokenizer.eos_id,)
  made = [np.zeros(0, np.int32) for _ in starts]
  replies = [Reply('', 0, None) for _ in starts]
  for pieces in decode.stream(
    model, params, starts, stop_tokens=ends, **options
  ):
    for row, piece in enumerate(pieces):
      if replies[row].stopped_by is None:
        made[row] = np.append(made[row], piece.tokens)
        text = _decode(tokenizer, starts[row], made[row])
        text, why = shown(text, stop, piece.stopped_by)
        replies[row] = Reply(text, len(made[row]), why)
    yield list(replies)
    if all(reply.stopped_by for reply in replies):
      return


def shown(
  text: str, stop: Sequence[str], stopped_by: str | None
) -> tuple[str, str | None]:
  """Returns what of `text` will stay whatever follows, and why it ended.

  >>> shown('One. Tw', ['Two'], None)
  ('One. ', None)
  >>> shown('One. Two', ['Two'], None)
  ('One. ', 'stop')
  """
  found = [text.index(end) for end in stop if end in text]
  if found:
    return text[: min(found)], 'stop'
  if stopped_by is not None:
    return text, stopped_by
  text = text.rstrip(HALF)
  open_at = [
    at
    for end in stop
    for at in range(max(0, len(text) - len(end) + 1), len(text))
    if end.startswith(text[at:])
  ]
  return text[: min(open_at, default=len(text))], None


def _encode(tokenizer: Tokenizer, prompt: str) -> Int[np.ndarray, '_']:
  if prompt:
    return tokenizer.encode(prompt)
  if tokenizer.eos_id is None:
    raise UserError(
      'The prompt is empty, and the tokenizer has no token that ends a text to'
      ' begin after. Give a prompt, such as --prompt=The.'
    )
  return np.array([tokenizer.eos_id], np.int32)


def _decode(
  tokenizer: Tokenizer,
  start: Int[np.ndarray, '_'],
  made: Int[np.ndarray, '_'],
) -> str:
  """Returns the text of `made`, as it reads after `start`."""
  whole = tokenizer.decode(np.append(start, made))
  return whole[len(tokenizer.decode(start)) :]
