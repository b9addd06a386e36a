"""The models of `benchmarks.gpu`; imports neither contender's library."""

from typing import Any, NamedTuple


class Case(NamedTuple):
  """A model, and the shape of its batches.

  Attributes:
    family: gpt, bert or t5.
    preset: A preset of `lm.models`.
    batch: The number of rows.
    length: The tokens of a row, or of the source.
    made: The tokens of the target, if there is a source.
    goal: The required speedup over PyTorch.
    share: The required model FLOPs utilization of ours; 0 means none.
    sizes: Fields in which both models differ from the preset.
  """

  family: str
  preset: str
  batch: int
  length: int
  made: int = 0
  goal: float = 1.1
  share: float = 0.0
  sizes: dict[str, Any] = {}  # noqa: RUF012 -- never changed.


# Vocabularies are padded to a multiple of 128, in both.
CASES = {
  'gpt2-124m': Case('gpt', 'gpt2', 32, 1024),
  'gpt2-355m': Case('gpt', 'gpt2-medium', 16, 1024, share=0.5),
  'gpt2-1.5b': Case('gpt', 'gpt2-xl', 8, 1024, share=0.5),
  'bert-large': Case('bert', 'large', 32, 512),
  't5-base': Case('t5', 'base', 32, 512, made=128),
}
SMALL = {
  'num_layers': 2,
  'num_heads': 2,
  'head_dim': 16,
  'embed_dim': 32,
  'mlp_dim': 128,
  'vocab_size': 384,
  'max_len': 32,
}
TINY = {
  'gpt': {'length': 32, 'sizes': SMALL},
  'bert': {'length': 32, 'sizes': SMALL},
  't5': {'length': 32, 'made': 16, 'sizes': SMALL},
}
WINDOW = 5  # Steps between two readings of the clock.
WARM_UP = 5  # Steps before the first reading, compilation included.
