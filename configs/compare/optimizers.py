"""Which optimizer a small GPT learns fastest with.

  python -m experiments.compare --config=configs/compare/optimizers.py \\
      --workdir=runs/optimizers --data=DIR
      A GPT of 2 layers of 128; of each optimizer the rate
      is tuned, and no decay and no other number. DIR has wikitext2/*.txt.

  ... --config=configs/compare/optimizers.py:embedded
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
    'Which optimizer makes most of the same tokens, its learning rate tuned'
    ' for it?'
  )
  study.budget = config_dict.create(tokens=2e6)
  study.tuning = config_dict.create(
    learning_rates=(1e-4, 3e-4, 1e-3, 3e-3, 1e-2), share=0.3
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
      'name': name,
      'config': 'configs/gpt.py:wikitext',
      'optimizer': {'name': name},
    }
    for name in ('adamw', 'adafactor', 'lion', 'lamb', 'muon')
  )
  return study
