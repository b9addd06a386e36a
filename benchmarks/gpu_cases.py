"""What `benchmarks.gpu` trains; known to both contenders, so it imports none."""

from typing import Any, NamedTuple


class Case(NamedTuple):
  """A model, and the shape of its batches.

  Attributes:
    family: gpt, bert or t5.
    preset: Of `lm.models`.
    batch: Rows.
    length: Tokens of a row, or of a source.
    made: Tokens that a decoder answers a source with.
    goal: How many times as fast as PyTorch ours is to be.
    share: Which share of the card's peak ours is to reach; 0: any.
    sizes: Fields of the model that differ from the preset's, of both.
  """

  family: str
  preset: str
  batch: int
  length: int
  made: int = 0
  goal: float = 1.1
  share: float = 0.0
  sizes: dict[str, Any] = {}  # noqa: RUF012 -- never changed.


# Tables of tokens have rows for a multiple of 128, in both.
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
WINDOW = 5  # Steps between two looks at the clock.
WARM_UP = 5  # Steps before the first of them, compilation included.
