"""Texts without text: tokens that are all different, and a vocabulary for them."""

from typing import Any

import numpy as np

from lm import objectives
from lm.types import Batch, Vocabulary

PAD, UNK, EOS, CLS, SEP, MASK = range(6)
FIRST = 10  # The first token that is text.
SENTINELS = tuple(range(1199, 1099, -1))
VOCABULARY = Vocabulary(
  size=1200,
  special_ids=frozenset(range(6)),
  eos_id=EOS,
  pad_id=PAD,
  unk_id=UNK,
  mask_id=MASK,
  cls_id=CLS,
  sep_id=SEP,
  sentinel_ids=SENTINELS,
)
FORMS = (
  'causal',
  'bidirectional',
  'encoder_decoder',
  'generator_discriminator',
)


def examples(*sizes: int, length: int = 0, seed: int = 0) -> dict[str, Any]:
  """Texts of so many tokens, on the left of rows of `length`."""
  rng = np.random.default_rng(seed)
  shape = (len(sizes), length or max(sizes))
  valid = np.arange(shape[1]) < np.array(sizes)[:, None]
  tokens = rng.permuted(
    np.broadcast_to(np.arange(FIRST, FIRST + 1050), (len(sizes), 1050)), axis=1
  )[:, : shape[1]]
  return {
    'tokens': np.where(valid, tokens, PAD).astype(np.int32),
    'valid': valid,
    'bytes': valid.astype(np.int32),
    'word_starts': valid & (rng.random(shape) < 0.6),
  }


def build(name: str, form: str = 'encoder_decoder', **settings: Any):
  return objectives.build(name, form, VOCABULARY, **settings)


def prepare(objective, given: dict[str, Any], seed: int = 0, start: int = 0):
  return objective.prepare(given, start + np.arange(len(given['tokens'])), seed)


def pairs(batch: Batch) -> list[tuple[list[int], list[int]]]:
  """The source and the target of each row, without padding."""
  inputs, weights = batch.inputs, batch.weights['tokens'] > 0
  if 'source_tokens' in inputs:
    sources = zip(inputs['source_tokens'], inputs['source_valid'])
  else:
    sources = zip(inputs['tokens'], inputs['prefix'])
  targets = zip(batch.targets['tokens'], weights)
  return [
    (source[here].tolist(), target[there].tolist())
    for (source, here), (target, there) in zip(sources, targets)
  ]
