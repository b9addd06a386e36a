"""Optimizers for a small GPT.

  python -m experiments.compare --config=configs/compare/optimizers.py \\
      --workdir=runs/optimizers --data=DIR
      A GPT of 2 layers of 128; only the learning rate of each optimizer is
      tuned, not its decay or anything else. DIR has wikitext2/*.txt.

  ... --config=configs/compare/optimizers.py:embedded
      The same on English prose that ships with Python; needs no data.

Variants: wikitext (default), embedded.
"""

from ml_collections import config_dict

from configs.compare import small


def get_config(variant: str = '') -> config_dict.ConfigDict:
  """Returns the study named `variant`."""
  study = small.study(variant)
  study.question = (
    'Which optimizer learns most from the same tokens, each with its own'
    ' learning rate?'
  )
  study.budget = config_dict.create(tokens=1e6)
  study.tuning.share = 0.5  # A GPT learns from the first steps.
  # Adafactor's and LAMB's are relative to the size of the parameters.
  study.tuning.learning_rates = (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3)
  study.variants = tuple(
    {
      'name': name,
      'config': 'configs/gpt.py:wikitext',
      'optimizer': {'name': name},
    }
    for name in ('adamw', 'adafactor', 'lion', 'lamb', 'muon')
  )
  study.scores = ()
  return study
