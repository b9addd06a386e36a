"""Position encodings of a GPT.

  python -m experiments.compare --config=configs/compare/positions.py \\
      --workdir=runs/positions --data=DIR
      A GPT of 2 layers of 128 with each of four. DIR has wikitext2/*.txt and
      blimp/BLiMP.zip.

  ... --config=configs/compare/positions.py:embedded
      The same on English prose that ships with Python; needs no data.

Variants: wikitext (default), embedded.
"""

from ml_collections import config_dict

from configs.compare import small


def get_config(variant: str = '') -> config_dict.ConfigDict:
  """Returns the study named `variant`."""
  study = small.study(variant)
  study.question = (
    'With which of four kinds of positions does a causal model learn most?'
  )
  study.budget = config_dict.create(tokens=1.2e6)
  study.tuning.share = 0.5  # A GPT learns from the first steps.
  study.variants = tuple(
    {
      'name': position,
      'config': 'configs/gpt.py:wikitext',
      'model': {'position': position},
    }
    for position in ('learned', 'sinusoidal', 'rotary', 'relative')
  )
  return study
