"""The models and batches of the training benchmarks."""

import types
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from lm import models, objectives
from lm.objectives import Objective
from lm.types import Batch, Vocabulary

TEXT_FROM = 200  # Ids from here on are text.


class Case(NamedTuple):
  """A model, and the size of its batches.

  Attributes:
    name: The name of the architecture.
    preset: The preset of its size.
    batch: The number of rows.
    length: The tokens of a row, or of the source if there is one.
    answers: The tokens of the target, if there is a source.
    steps: The number of steps of a turn.
    goals: The required speedup over the peer, eager and compiled.
    settings: Further settings of the model.
  """

  name: str
  preset: str
  batch: int
  length: int
  answers: int = 0
  steps: int = 1
  goals: tuple[float, float] = (0.0, 0.0)
  settings: Mapping[str, Any] = types.MappingProxyType({})

  @property
  def tokens(self) -> int:
    """The number of tokens of a step, source and target together."""
    return self.batch * (self.length + self.answers)


CASES = {
  'gpt_nano': Case(
    'gpt', 'nano', 12, 64, 0, 30, (1.35, 1.3), {'vocab_size': 65}
  ),
  'gpt_baby': Case(
    'gpt', 'baby', 8, 256, 0, 1, (1.1, 1.05), {'vocab_size': 65}
  ),
  'gpt2_256': Case('gpt', 'gpt2', 1, 256, 0, 1, (1.4, 1.35)),
  'gpt2_512': Case('gpt', 'gpt2', 1, 512, 0, 1, (1.4, 1.35)),
  'bert_base': Case('bert', 'base', 4, 128, 0, 1, (1.65, 1.65)),
  'bert_mini': Case('bert', 'mini', 16, 128, 0, 2, (3.0, 3.0)),
  't5_small': Case('t5', 'small', 4, 128, 64, 1, (1.55, 1.5)),
}
TINY = {
  'gpt_tiny': Case('gpt', 'nano', 2, 16, settings={'vocab_size': 256}),
  'bert_tiny': Case('bert', 'tiny', 2, 16),
}


def build(case: Case, dropout: float, dtype: str) -> tuple[Any, Objective]:
  """Returns the model and its objective, as built in a run."""
  rates = {name: dropout for name in models.fields(case.name, case.preset)}
  rates = {name: rate for name, rate in rates.items() if 'dropout' in name}
  model = models.build(
    case.name,
    case.preset,
    **{**case.settings, **rates, 'dtype': dtype},
  )
  objective = objectives.build(
    {'gpt': 'causal_lm', 'bert': 'masked_lm', 't5': 'span_corruption'}[
      case.name
    ],
    model.form,
    vocabulary(model.config.vocab_size),
  )
  return model.clone(heads=('tokens',)), objective


def vocabulary(size: int) -> Vocabulary:
  """Returns a vocabulary of random tokens with the roles objectives need."""
  special = {'pad_id': 0, 'eos_id': 1, 'mask_id': 2}
  return Vocabulary(
    size,
    frozenset(special.values()),
    sentinel_ids=tuple(range(size - 1, max(size - 101, 3), -1)),
    **special,
  )


def batch(case: Case, objective: Objective, vocab_size: int) -> Batch:
  """Returns a batch of random tokens, as prepared by the objective."""
  draw = np.random.default_rng(0)
  first = min(TEXT_FROM, vocab_size // 2)
  if case.name == 't5':  # Made here, so that both sides have round lengths.
    source, tokens, targets = (
      draw.integers(first, vocab_size, (case.batch, length), np.int32)
      for length in (case.length, case.answers, case.answers)
    )
    weights = np.ones(targets.shape, np.float32)
    return Batch(
      {'source_tokens': source, 'tokens': tokens},
      {'tokens': targets},
      {'tokens': weights},
    )
  shape = case.batch, objective.example_length(case.length)
  examples = {
    'tokens': draw.integers(first, vocab_size, shape, np.int32),
    'valid': np.ones(shape, bool),
    'bytes': np.ones(shape, np.int32),
  }
  made = objective.prepare(examples, np.arange(case.batch), 0)
  # A full row needs no mask, neither in our model nor in the peer.
  inputs = {k: v for k, v in made.inputs.items() if k != 'valid'}
  return made._replace(inputs=inputs)
