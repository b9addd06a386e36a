"""A ladder of five sizes, to which a scaling exponent is fitted.

  python -m experiments.compare --config=configs/compare/scaling.py \\
      --workdir=runs/scaling --data=DIR
      GPTs of 1 to 5 layers, whose width grows with their depth. DIR has
      wikitext2/*.txt.

  ... --config=configs/compare/scaling.py:embedded
      The same on English prose that ships with Python; needs no data.

Variants: wikitext (default), embedded.
"""

from ml_collections import config_dict

from configs.compare import small


def get_config(variant: str = '') -> config_dict.ConfigDict:
  """Returns the study named `variant`."""
  study = small.study(variant)
  study.question = (
    'By which power of its parameters does the loss of a GPT fall, if each size'
    ' is trained on the same number of tokens?'
  )
  study.budget = config_dict.create(tokens=1.5e6)
  study.tuning.share = 0.5  # A GPT learns from the first steps.
  study.ladder = True
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
  study.scores = ()
  return study
