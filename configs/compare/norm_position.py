"""Pre-LN against post-LN: norms before or after branches (Xiong et al. 2020).

  python -m experiments.compare --config=configs/compare/norm_position.py \\
      --workdir=runs/norm_position --data=DIR
      A GPT of 6 layers of 128 with both. DIR has wikitext2/*.txt and
      blimp/BLiMP.zip.

  ... --config=configs/compare/norm_position.py:embedded
      The same on English prose that ships with Python; needs no data.

Variants: wikitext (default), embedded.
"""

from ml_collections import config_dict

from configs.compare import small


def get_config(variant: str = '') -> config_dict.ConfigDict:
  """Returns the study named `variant`."""
  study = small.study(variant)
  study.question = (
    'Does a small GPT learn more with pre-LN or with post-LN, each at its own'
    ' learning rate?'
  )
  study.budget = config_dict.create(tokens=1e6)
  study.tuning.share = 0.5  # A GPT learns from the first steps.
  study.tuning.learning_rates = (1.25e-4, 2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3)
  study.shared.model.num_layers = 6
  study.variants = tuple(
    {
      'name': position,
      'config': 'configs/gpt.py:wikitext',
      'model': {'norm_position': position},
    }
    for position in ('pre', 'post')
  )
  return study
