"""The loss of a unigram model on the tokens that a run is scored on.

  python -m benchmarks.unigram --workdir=runs/bert

This is the cross-entropy, in nats per token, of the token frequencies of the
training text on the same validation targets as the model's, except special
tokens, which no text has. A model that has learned to use context is below it.
"""

import argparse
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from lm.training import run_config
from lm.training.assembly import assemble, feed

BATCH = 64


def cross_entropy(config: Mapping[str, Any]) -> dict[str, float]:
  """Returns the nats per token, and the number of tokens measured."""
  parts = assemble(config)
  vocabulary = parts.dataset.tokenizer.vocabulary
  is_text = np.ones(vocabulary.size, bool)
  is_text[list(vocabulary.special_ids)] = False
  counts = sum(
    np.bincount(store.tokens, minlength=vocabulary.size)
    for store in parts.dataset.train
  )
  counts = (counts + 1.0) * is_text  # Add-one smoothing.
  with np.errstate(divide='ignore'):
    nats = -np.log(counts / counts.sum())
  batch_at, count = feed(parts, 'validation', BATCH)
  total = weight = 0.0
  for batch in map(batch_at, range(count)):
    targets = batch.targets['tokens']
    asked = batch.weights['tokens'] * is_text[targets]
    total += float(np.sum(np.where(asked > 0, nats[targets], 0) * asked))
    weight += float(asked.sum())
  return {'unigram_loss': total / weight, 'tokens': weight}


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--workdir', required=True)
  workdir = pathlib.Path(parser.parse_args().workdir)
  config = run_config.read(workdir / 'config.json')
  print(json.dumps(cross_entropy(config)))


if __name__ == '__main__':
  main()
