"""How many tokens a BERT is asked for (Wettig et al. 2023).

  python -m experiments.compare --config=configs/compare/masking_rate.py \\
      --workdir=runs/masking_rate --data=DIR
      A BERT of 2 layers of 128, which hides 15 to 40% of its tokens. DIR has
      wikitext2/*.txt and blimp/BLiMP.zip.

  ... --config=configs/compare/masking_rate.py:embedded
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
    'Does a BERT learn more if it is asked for more of its tokens, of which'
    ' each then has less around it?'
  )
  study.budget = config_dict.create(flops=1.5e13)
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
      'name': f'{100 * rate:.0f}_per_cent',
      'config': 'configs/bert.py:wikitext',
      'objective': {'mask_rate': rate},
    }
    for rate in (0.15, 0.2, 0.3, 0.4)
  )
  if variant == 'wikitext':
    study.scores = (
      {'name': 'blimp', 'task': 'blimp', 'data': 'blimp', 'limit': 50},
    )
  return study
