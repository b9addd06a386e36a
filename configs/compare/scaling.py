"""A ladder of five sizes, and the exponent that is fitted to it.

  python -m experiments.compare --config=configs/compare/scaling.py \\
      --workdir=runs/scaling --data=DIR
      GPTs of 1 to 5 layers, which grow in width with their depth. DIR has
      wikitext2/*.txt.

  ... --config=configs/compare/scaling.py:embedded
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
    'By which power of its parameters does the loss of a GPT fall, each'
    ' trained on as many tokens?'
  )
  study.budget = config_dict.create(tokens=3e6)
  study.ladder = True
  study.tuning = config_dict.create(
    learning_rates=(1e-3, 2e-3, 4e-3), share=0.3
  )
  study.shared = {
    'batch_size': 32,
    'model': {
      'head_dim': 32,
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
      'name': f'{layers}x{32 * heads}',
      'config': 'configs/gpt.py:wikitext',
      'model': {
        'num_layers': layers,
        'num_heads': heads,
        'embed_dim': 32 * heads,
        'mlp_dim': 128 * heads,
      },
    }
    for layers, heads in ((1, 1), (2, 2), (3, 3), (4, 4), (5, 6))
  )
  return study
