"""Four objectives for the same encoder and decoder.

  python -m experiments.compare --config=configs/compare/objectives.py \\
      --workdir=runs/objectives --data=DIR
      A T5 of 2 + 2 layers of 128 with each. DIR has wikitext2/*.txt and
      blimp/BLiMP.zip.

  ... --config=configs/compare/objectives.py:embedded
      The same on English prose that ships with Python; needs no data.

Variants: wikitext (default), embedded.
"""

from ml_collections import config_dict

from configs.compare import small


def get_config(variant: str = '') -> config_dict.ConfigDict:
  """Returns the study named `variant`."""
  study = small.study(variant)
  study.question = (
    'Which objective does the same encoder and decoder learn most from, for the'
    ' same FLOPs?'
  )
  study.budget = config_dict.create(flops=6e12)
  # A T5's embeddings are of size 1, beside which AdamW's steps are small.
  study.tuning.learning_rates = (1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2)
  study.shared['optimizer'] = {'name': 'adamw', 'schedule': 'cosine'}
  study.variants = tuple(
    {
      'name': objective,
      'config': 'configs/t5.py:wikitext',
      'objective': {'name': objective},
    }
    for objective in ('causal_lm', 'prefix_lm', 'span_corruption', 'ul2')
  )
  return study
