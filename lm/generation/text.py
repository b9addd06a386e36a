"""Text generation from text, shown as it grows.

Tokens are not characters: a character may take several, and the text of a token
may depend on the one before it. So what is shown is the text of all tokens so
far, without an end that may change: an incomplete character, or what may turn
out to be the beginning of a stop text.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from flax import linen as nn
from jaxtyping import Int

from lm.data.tokenizers import Tokenizer
from lm.generation import beam, decode, fill
from lm.objectives.objective import GOES_ON, PromptForm
from lm.types import PyTree, UserError

HALF = '\ufffd'  # What an incomplete character decodes to.


class Reply(NamedTuple):
  """A reply so far.

  Attributes:
    text: The continuation, without the prompt; all of the text if the model
      does not continue prompts.
    num_tokens: Number of tokens generated, those of a stop text included.
    stopped_by: `stop`, `length`, or None while it continues.
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
  prompt_form: PromptForm = GOES_ON,
  **options: Any,
) -> Iterator[list[Reply]]:
  """Yields the replies to all prompts as they grow, until all have ended.

  A GPT continues a prompt. A T5, or a GPT that was trained like one, answers
  it or, if it has sentinels, returns it with these filled. A BERT returns it
  with its masks filled.

  Args:
    model: The model.
    params: Its parameters.
    tokenizer: Its tokenizer, whose end token, if it has one, ends a reply.
    prompts: Texts; for a GPT, an empty one means to begin after an end token.
    stop: Texts that end a reply, and are omitted from it.
    prompt_form: Prompt form of the objective that the model was trained with.
    **options: Options of `decode.stream`.
  """
  if model.form == 'bidirectional':
    filled = fill.masks(model, params, tokenizer, prompts)
    yield [Reply(one.text, len(one.masks), 'stop') for one in filled]
    return
  starts = encode(model, tokenizer, prompts, prompt_form)
  answer = answers(model, prompt_form)
  options = _beginning(model, tokenizer, prompt_form) | options
  made = [np.zeros(0, np.int32) for _ in starts]
  replies = [Reply('', 0, None) for _ in starts]
  for pieces in decode.stream(
    model, params, starts, stop_tokens=ends_of(tokenizer), **options
  ):
    for row, piece in enumerate(pieces):
      if replies[row].stopped_by is None:
        made[row] = np.append(made[row], piece.tokens)
        text = read(tokenizer, starts[row], made[row], piece.stopped_by, answer)
        text, why = shown(text, stop, piece.stopped_by)
        replies[row] = Reply(text, len(made[row]), why)
    yield list(replies)
    if all(reply.stopped_by for reply in replies):
      return


class Best(NamedTuple):
  """A reply that beam search found, and its score."""

  text: str
  score: float


def search(
  model: nn.Module,
  params: PyTree,
  tokenizer: Tokenizer,
  prompts: Sequence[str],
  prompt_form: PromptForm = GOES_ON,
  **options: Any,
) -> list[list[Best]]:
  """Returns the best replies to each prompt that beam search finds.

  Args:
    model: A causal model or an encoder-decoder.
    params: Its parameters.
    tokenizer: Its tokenizer.
    prompts: Texts, as for `stream`.
    prompt_form: As for `stream`.
    **options: Options of `beam.search`.
  """
  if model.form == 'bidirectional':
    raise UserError(
      'This model fills masks in one pass, so there is nothing for beams to'
      ' search. Omit --beams.'
    )
  starts = encode(model, tokenizer, prompts, prompt_form)
  answer = answers(model, prompt_form)
  options = _beginning(model, tokenizer, prompt_form) | options
  found = beam.search(
    model, params, starts, stop_tokens=ends_of(tokenizer), **options
  )
  return [
    [
      Best(read(tokenizer, start, one.tokens, 'stop', answer), one.score)
      for one in hypotheses
    ]
    for start, hypotheses in zip(starts, found)
  ]


def encode(
  model: nn.Module,
  tokenizer: Tokenizer,
  prompts: Sequence[str],
  prompt_form: PromptForm = GOES_ON,
) -> list[Int[np.ndarray, '_']]:
  """Returns the tokens of prompts, for an encoder with its special tokens."""
  if prompt_form.ends:  # As its objective does, with no other special tokens.
    end = np.array([tokenizer.end_id], np.int32)
    return [np.append(tokenizer.encode(prompt), end) for prompt in prompts]
  if model.form == 'encoder_decoder':
    return [tokenizer.encode(prompt, special_tokens=True) for prompt in prompts]
  return [_encode(tokenizer, prompt) for prompt in prompts]


def answers(model: nn.Module, prompt_form: PromptForm) -> bool:
  """Whether the output of a model is an answer, not a continuation."""
  return model.form != 'causal' or prompt_form.ends


def ends_of(tokenizer: Tokenizer) -> tuple[int, ...]:
  """Returns the tokens that end a reply."""
  return () if tokenizer.end_id is None else (tokenizer.end_id,)


def read(
  tokenizer: Tokenizer,
  start: Int[np.ndarray, '_'],
  made: Int[np.ndarray, '_'],
  stopped_by: str | None,
  answer: bool,
) -> str:
  """Returns the text of the tokens that were generated for a prompt.

  Args:
    tokenizer: The tokenizer of both.
    start: The prompt.
    made: The generated tokens.
    stopped_by: What ended them, or None while they continue.
    answer: Whether they are an answer, not a continuation; see `answers`.
  """
  if not answer:
    return _decode(tokenizer, start, made)
  made = made[~np.isin(made, ends_of(tokenizer))]
  vocabulary = tokenizer.vocabulary
  if np.isin(start, vocabulary.sentinel_ids).any():
    if stopped_by is None:
      return ''  # What replaces a sentinel is not yet known.
    made = fill.put_back(start, made, vocabulary)
  return tokenizer.decode(made, special_tokens=False)


def shown(
  text: str, stop: Sequence[str], stopped_by: str | None
) -> tuple[str, str | None]:
  """Returns the part of `text` that will not change, and why it ended.

  Examples:
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


def _beginning(
  model: nn.Module, tokenizer: Tokenizer, prompt_form: PromptForm
) -> dict[str, Any]:
  """Returns the options for the beginning of decoding."""
  if model.form == 'encoder_decoder':
    return {'start_token': tokenizer.vocabulary.start_id}
  return {'prefix_visible': prompt_form.visible}


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
