"""Which way attention sees, all else being the masked objective.

  python -m experiments.compare --config=configs/compare/direction.py \\
      --workdir=runs/direction --data=DIR
      A BERT of 2 layers of 128 that sees both sides in every head, one side
      in each half of them, or what precedes alone. DIR has wikitext2/*.txt.

  ... --config=configs/compare/direction.py:embedded
      The same on the English prose that every Python has; it needs no data.

Variants: wikitext (default), embedded.
"""

from ml_collections import config_dict

VARIANTS = ('wikitext', 'embedded')


def get_config(variant: str = 'wikitext') -> config_dict.ConfigDict:
  """Returns the study named `variant`."""
  variant = variant or 'wikitext'
  if variant not in VARIANTS:
    raise ValueError(
      f'There is no {variant!r}. There are {", ".join(VARIANTS)}.'
    )
  data = {'source': 'wikitext', 'path': '{data}/wikitext2/*.txt'}
  if variant == 'embedded':
    data = {'source': 'stdlib', 'path': ''}
  study = config_dict.ConfigDict()
  study.question = (
    'How much of what a BERT learns is due to seeing both sides at once?'
  )
  study.budget = config_dict.create(tokens=4e6)
  study.tuning = config_dict.create(
    learning_rates=(1e-3, 2e-3, 4e-3), share=0.3
  )
  study.shared = {
    'batch_size': 32,
    'model': {
      'num_layers': 2,
      'num_heads': 4,
      'head_dim': 32,
      'embed_dim': 128,
      'mlp_dim': 512,
      'max_len': 128,
      'vocab_size': None,
      'embedding_dropout': 0.0,
      'attention_dropout': 0.0,
      'residual_dropout': 0.0,
    },
    'data': {**data, 'vocab_size': 4096, 'length': 64},
    'log': {'every': 20},
  }
  study.variants = tuple(
    {
      'name': attention,
      'config': 'configs/bert.py:wikitext',
      'model': {'attention': attention},
    }
    for attention in ('bidirectional', 'forward_backward', 'causal')
  )
  return study
