"""The masking rate of a BERT (Wettig et al. 2023).

  python -m experiments.compare --config=configs/compare/masking_rate.py \\
      --workdir=runs/masking_rate --data=DIR
      A BERT of 2 layers of 128, with 15 to 40% of its tokens masked. DIR has
      wikitext2/*.txt and blimp/BLiMP.zip.

  ... --config=configs/compare/masking_rate.py:embedded
      The same on English prose that ships with Python; needs no data.

Variants: wikitext (default), embedded.
"""

from ml_collections import config_dict

from configs.compare import small


def get_config(variant: str = '') -> config_dict.ConfigDict:
  """Returns the study named `variant`."""
  study = small.study(variant)
  study.question = (
    'Does a BERT learn more if more of its tokens are masked, so that each has'
    ' less context?'
  )
  study.budget = config_dict.create(flops=6e12)
  study.tuning.learning_rates = small.OF_A_BERT
  study.variants = tuple(
    {
      'name': f'{100 * rate:.0f}_per_cent',
      'config': 'configs/bert.py:wikitext',
      'objective': {'mask_rate': rate},
    }
    for rate in (0.15, 0.2, 0.3, 0.4)
  )
  return study
