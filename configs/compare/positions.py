"""How a GPT is told the order of its tokens.

  python -m experiments.compare --config=configs/compare/positions.py \\
      --workdir=runs/positions --data=DIR
      A GPT of 2 layers of 128 with each of four. DIR has wikitext2/*.txt and
      blimp/BLiMP.zip.

  ... --config=configs/compare/positions.py:embedded
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
    'Which of four ways to tell a token its place does a causal model learn'
    ' most with?'
  )
  study.budget = config_dict.create(tokens=2.5e6)
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
      'name': position,
      'config': 'configs/gpt.py:wikitext',
      'model': {'position': position},
    }
    for position in ('learned', 'sinusoidal', 'rotary', 'relative')
  )
  if variant == 'wikitext':
    study.scores = (
      {'name': 'blimp', 'task': 'blimp', 'data': 'blimp', 'limit': 50},
    )
  return study
