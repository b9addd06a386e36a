"""The direction of attention, with the masked objective and all else equal.

  python -m experiments.compare --config=configs/compare/direction.py \\
      --workdir=runs/direction --data=DIR
      A BERT of 2 layers of 128 whose heads attend to both sides, half of them
      to each side, or all only to what precedes. DIR has wikitext2/*.txt.

  ... --config=configs/compare/direction.py:embedded
      The same on English prose that ships with Python; needs no data.

Variants: wikitext (default), embedded.
"""

from ml_collections import config_dict

from configs.compare import small


def get_config(variant: str = '') -> config_dict.ConfigDict:
  """Returns the study named `variant`."""
  study = small.study(variant)
  study.question = (
    'How much of what a BERT learns is due to seeing both sides at once?'
  )
  study.budget = config_dict.create(tokens=2e6)
  study.tuning.learning_rates = small.OF_A_BERT
  study.variants = tuple(
    {
      'name': attention,
      'config': 'configs/bert.py:wikitext',
      'model': {'attention': attention},
    }
    for attention in ('bidirectional', 'forward_backward', 'causal')
  )
  study.scores = ()
  return study
