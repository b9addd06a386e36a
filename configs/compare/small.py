"""The settings shared by the studies here: small models of WikiText-2.

Models have 2 layers of 128 and read rows of 64 tokens, 32 at a time, for
minutes on 2 CPU cores. Each study changes what it has to.
"""

from ml_collections import config_dict

VARIANTS = ('wikitext', 'embedded')
# With the optimizer of configs/bert.py and some thousand steps, most runs of a BERT
# with more than 1e-3 stay where it knows frequencies only.
OF_A_BERT = (2.5e-4, 5e-4, 1e-3, 2e-3)


def study(
  variant: str, variants: tuple[str, ...] = VARIANTS
) -> config_dict.ConfigDict:
  """Returns a study that still lacks its question, budget and variants.

  Args:
    variant: 'wikitext' (or '') uses text and minimal pairs of the folder of
      data; any other uses English prose that ships with Python, and no scores.
    variants: The known variants.
  """
  variant = variant or 'wikitext'
  if variant not in variants:
    raise ValueError(
      f'There is no {variant!r}. There are {", ".join(variants)}.'
    )
  found = config_dict.ConfigDict()
  found.evaluations = 5  # Each takes as long as 80 steps.
  # Trials of full length: after 300 steps a BERT has only learned unigram
  # frequencies, and the highest rate looks best, with which it never gets
  # further.
  found.tuning = config_dict.create(
    learning_rates=(1e-3, 2e-3, 4e-3), share=1.0
  )
  data = {'source': 'stdlib', 'path': ''}
  found.scores = ()
  if variant == 'wikitext':
    data = {'source': 'wikitext', 'path': '{data}/wikitext2/*.txt'}
    found.scores = (
      {'name': 'blimp', 'task': 'blimp', 'data': 'blimp', 'limit': 50},
    )
  found.shared = {
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
  return found
