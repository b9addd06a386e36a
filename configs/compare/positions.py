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
  variants = {
    'learned': {},
    # As in the Transformer of 2017 (section 3.4), tokens are embedded on the
    # scale of sinusoids; at a GPT's 0.02 they drown in these, and the model does
    # not begin to learn.
    'sinusoidal': {
      'scale_embeddings': True,
      'embedding_init_std': study.shared.model.embed_dim**-0.5,
    },
    'rotary': {},
    'relative': {},
  }
  study.variants = tuple(
    {
      'name': name,
      'config': 'configs/gpt.py:wikitext',
      'model': {'position': name, **fields},
    }
    for name, fields in variants.items()
  )
  return study
