"""Small models of each family, and their answers to one row at a time."""

import functools
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from lm.data import tokenizers
from lm.types import PyTree
from tests.models import tiny

TEXT = 'The cat sat on the mat. A dog ran to the man, and the manly man ran.'
SENTENCES = (
  'The cat ran to the mat.',
  'A manly dog sat.',
  'the man',
  'A catly manly dog and the mat and the dog sat on the man.',
)
FAMILIES = {
  # The tokenizer and its size, and what divides words by it.
  'gpt': ('gpt2', 'bpe', 280),
  'bert': ('base', 'wordpiece', 42),
  'roberta': ('base', 'roberta', 270),
  't5': ('small', 'unigram', 129),
}


class Trained(NamedTuple):
  """What scores text; its numbers are random."""

  model: nn.Module
  params: PyTree
  tokenizer: tokenizers.Tokenizer


@functools.cache
def trained(
  name: str, max_len: int = 48, end: bool = True, **changes: int
) -> Trained:
  preset, kind, size = FAMILIES[name]
  if not end:
    size -= 1
  tokenizer = tokenizers.train(kind, [TEXT] * 4, size, end_of_text=end)
  sizes = {'vocab_size': tokenizer.vocab_size, 'max_len': max_len, **changes}
  model = tiny.build(name, preset, **sizes)
  inputs = {'tokens': jnp.zeros((1, 2), jnp.int32)}
  if model.form == 'encoder_decoder':
    inputs['source_tokens'] = inputs['tokens']
  return Trained(model, tiny.params_for(model, **inputs), tokenizer)


def log_probs(one: Trained, tokens, source=None) -> np.ndarray:
  """Returns what the model says of every next token, of one row alone."""
  inputs = {'tokens': np.array([tokens], np.int32)}
  if source is not None:
    inputs['source_tokens'] = np.array([source], np.int32)
  logits = tiny.apply(one.model, one.params, **inputs)
  logits = np.asarray(logits, np.float64)[0]
  high = logits.max(-1, keepdims=True)
  return logits - high - np.log(np.exp(logits - high).sum(-1, keepdims=True))


def left_to_right(one: Trained, context, tokens) -> float:
  """Returns the log-probability of tokens after some others, one by one."""
  read, total = list(context), 0.0
  for token in tokens:
    total += log_probs(one, read)[-1, token]
    read.append(token)
  return total
