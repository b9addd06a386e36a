"""Filling the masks or sentinels of a text.

A BERT predicts all masks in one pass, independently of each other. A T5 writes
the text of each sentinel, `<extra_id_0> blue <extra_id_1> ...`, which is then
put in its place.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Int

from lm.data.tokenizers import Tokenizer
from lm.generation.prompts import size_for
from lm.types import PyTree, UserError, Vocabulary


class Candidate(NamedTuple):
  """A token that could replace a mask, and its probability."""

  token: str
  probability: float


class Filled(NamedTuple):
  """A text whose masks are filled.

  Attributes:
    text: The text with the best token in place of each mask.
    masks: The best tokens for each mask, best first.
  """

  text: str
  masks: list[list[Candidate]]


def masks(
  model: nn.Module,
  params: PyTree,
  tokenizer: Tokenizer,
  prompts: Sequence[str],
  top_k: int = 5,
) -> list[Filled]:
  """Returns each prompt with its masks filled.

  Args:
    model: A model that predicts masked tokens.
    params: Its parameters.
    tokenizer: Its tokenizer, whose special tokens are added to each prompt.
    prompts: Texts with at least one mask, as the tokenizer writes it.
    top_k: Number of candidates for each mask.

  Raises:
    UserError: A prompt has no mask, or is longer than the model reads.
  """
  texts = [tokenizer.encode(prompt, special_tokens=True) for prompt in prompts]
  places = [np.flatnonzero(text == tokenizer.mask_id) for text in texts]
  for prompt, text, found in zip(prompts, texts, places):
    _check(prompt, text, found, tokenizer, model.config.max_len)
  longest = max(map(len, texts))
  width = size_for(longest, model.config.max_len)
  tokens = np.zeros((len(texts), width), np.int32)
  predict_at = np.zeros((len(texts), max(map(len, places))), np.int32)
  for row, (text, found) in enumerate(zip(texts, places)):
    tokens[row, : len(text)] = text
    predict_at[row, : len(found)] = found
  lengths = np.array(list(map(len, texts)), np.int32)
  shares, ids = jax.device_get(
    _best(model, params, tokens, lengths, predict_at, top_k)
  )
  filled = []
  for row, (text, found) in enumerate(zip(texts, places)):
    text = text.copy()
    text[found] = ids[row, : len(found), 0]
    filled.append(
      Filled(
        tokenizer.decode(text, special_tokens=False),
        [
          [
            Candidate(tokenizer.decode([int(id)]), float(share))
            for id, share in zip(ids[row, slot], shares[row, slot])
          ]
          for slot in range(len(found))
        ],
      )
    )
  return filled


@functools.partial(jax.jit, static_argnames=('model', 'top_k'))
def _best(
  model: nn.Module,
  params: PyTree,
  tokens: Int[Array, 'B L'],
  lengths: Int[Array, 'B'],
  predict_at: Int[Array, 'B P'],
  top_k: int,
) -> tuple[Float[Array, 'B P C'], Int[Array, 'B P C']]:
  """Returns probabilities and ids of the best tokens at `predict_at`."""
  valid = jnp.arange(tokens.shape[1])[None] < lengths[:, None]
  answers = model.apply(
    {'params': params},
    tokens=tokens,
    valid=valid,
    predict_at=predict_at,
    method='answer',
  )
  shares = jax.nn.softmax(answers['tokens'].logits(), axis=-1)
  return tuple(jax.lax.top_k(shares, top_k))


def put_back(
  source: Int[np.ndarray, '_'],
  made: Int[np.ndarray, '_'],
  vocabulary: Vocabulary,
) -> Int[np.ndarray, '_']:
  """Returns a source with its sentinels replaced by what a T5 wrote for them.

      source  The <0> sat <1> .      made  <0> big cat <1> down <2>
      gives   The big cat sat down .

  Args:
    source: Tokens with sentinels.
    made: Sentinels, each followed by what replaces it.
    vocabulary: Vocabulary with the sentinels.
  """
  sentinels = np.array(vocabulary.sentinel_ids)
  starts = np.flatnonzero(np.isin(made, sentinels))
  ends = [*starts[1:], len(made)]
  meant = {
    int(made[start]): made[start + 1 : end]
    for start, end in reversed([*zip(starts, ends)])  # The first one wins.
  }
  nothing = made[:0]
  parts = [
    meant.get(int(id), nothing) if id in sentinels else np.array([id])
    for id in source
  ]
  return np.concatenate([nothing, *parts]).astype(np.int32)


def _check(prompt, text, found, tokenizer, max_len) -> None:
  if not len(found):
    mark = '[MASK]'
    if tokenizer.mask_id is not None:
      mark = tokenizer.pipeline.id_to_token(tokenizer.mask_id)
    raise UserError(
      f'The prompt {prompt!r} has nothing to be filled, and this model does not'
      f' go on from a text. Write {mark} where a word is missing.'
    )
  if len(text) > max_len:
    raise UserError(
      f'The prompt has {len(text)} tokens, and the model reads {max_len}. Give'
      ' a shorter one.'
    )
