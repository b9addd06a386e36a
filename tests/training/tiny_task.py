"""A classification that a tiny model learns in seconds, from files."""

import pathlib
from typing import Any

import numpy as np

from experiments import config_file
from lm.training.sections import SECTIONS

ROOT = pathlib.Path(__file__).parents[2]
CONFIG = f'{ROOT}/configs/classification.py:debug'
WORDS = {'yes': ('fine', 'good', 'warm'), 'no': ('bad', 'cold', 'dull')}
FILLER = ('a', 'film', 'it', 'was', 'the', 'so')
SIZES = {
  'num_steps': 6,
  'batch_size': 8,
  'model.num_layers': 1,
  'model.num_heads': 2,
  'model.head_dim': 4,
  'model.embed_dim': 8,
  'model.mlp_dim': 16,
  'model.max_len': 32,
  'data.tokenizer': 'wordpiece',
  'data.vocab_size': 60,
  'data.length': 32,
  'data.buckets': (32,),
  'data.format': 'jsonl',
  'eval.every': 2,
  'eval.batch_size': 16,
  'checkpoint.every': 2,
  'log.every': 2,
  'log.boards': (),
  'optimizer.warmup_steps': 1,
}


def write(directory: pathlib.Path, rows: int = 40, labels: bool = True) -> str:
  """Returns the name of a file of records, made in `directory`."""
  rng = np.random.default_rng(rows)
  path = directory / f'{rows}{"" if labels else "-unknown"}.jsonl'
  with path.open('w') as file:
    for row in range(rows):
      label = ('no', 'yes')[row % 2]
      words = [*rng.choice(FILLER, 2), rng.choice(WORDS[label])]
      answer = f', "label": "{label}"' if labels else ''
      file.write(f'{{"text": "{" ".join(words)}"{answer}}}\n')
  return str(path)


def configure(directory: pathlib.Path, **overrides: Any) -> dict[str, Any]:
  """Returns a config; of `data.train`, unless it is given, 40 records."""
  named = {key.replace('__', '.'): value for key, value in overrides.items()}
  data = {
    'data.train': write(directory),
    'data.validation': write(directory, 16),
    'data.cache': str(directory / 'cache'),
  }
  return config_file.load(CONFIG, SIZES | data | named, SECTIONS).to_dict()
