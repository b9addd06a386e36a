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

from configs.compare import small


def get_config(variant: str = '') -> config_dict.ConfigDict:
  """Returns the study named `variant`."""
  study = small.study(variant)
  study.question = (
    'Which optimizer makes most of the same tokens, its learning rate tuned'
    ' for it?'
  )
  study.budget = config_dict.create(tokens=1e6)
  study.tuning.share = 0.5  # A GPT learns from its first steps on.
  study.tuning.learning_rates = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
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
