"""GPT, BERT, RoBERTa and T5 of one size, of one text, under one budget.

  python -m experiments.compare --config=configs/compare/families.py \\
      --workdir=runs/families --data=DIR
      Each has 2 layers of 128 (T5: 2 and 2) and the FLOPs of about two minutes
      on 2 CPU cores; three learning rates are tried, three seeds trained. DIR
      has wikitext2/*.txt and blimp/BLiMP.zip.

  ... --config=configs/compare/families.py:embedded
      The same on the English prose that every Python has, and not scored: it
      needs no data.

Variants: wikitext (default), embedded, debug.
"""

from ml_collections import config_dict

VARIANTS = ('wikitext', 'embedded', 'debug')


def get_config(variant: str = 'wikitext') -> config_dict.ConfigDict:
  """Returns the study named `variant`."""
  variant = variant or 'wikitext'
  if variant not in VARIANTS:
    raise ValueError(
      f'There is no {variant!r}. There are {", ".join(VARIANTS)}.'
    )
  study = config_dict.ConfigDict()
  study.question = (
    'Which family makes most of a small budget: one that is asked for every'
    ' token, for masked ones, or for spans?'
  )
  study.budget = config_dict.create(flops=1.5e13)
  study.seeds = 3
  study.tuning = config_dict.create(
    learning_rates=(1e-3, 2e-3, 4e-3), share=0.3
  )
  data = {'source': 'wikitext', 'path': '{data}/wikitext2/*.txt'}
  if variant != 'wikitext':
    data = {'source': 'stdlib', 'path': ''}
  study.shared = {
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
    'optimizer': {
      'name': 'adamw',
      'schedule': 'cosine',
      'b2': 0.98,
      'eps': 1e-8,
      'clip_norm': 1.0,
      'weight_decay': 0.01,
    },
    'log': {'every': 20},
  }
  study.variants = tuple(
    {'name': family, 'config': f'configs/{family}.py:wikitext'}
    for family in ('gpt', 'bert', 'roberta', 't5')
  )
  study.scores = ()
  if variant == 'wikitext':
    study.scores = (
      {'name': 'blimp', 'task': 'blimp', 'data': 'blimp', 'limit': 50},
    )
  if variant == 'debug':
    study.budget = config_dict.create(tokens=8 * 32 * 4)
    study.seeds = 2
    study.evaluations = 2
    study.tuning = config_dict.create(learning_rates=(1e-3,))
    study.shared['batch_size'] = 8
    study.shared['model'].update(
      num_layers=1, num_heads=2, head_dim=8, embed_dim=16, mlp_dim=32
    )
    study.shared['data'].update(vocab_size=500, length=32)
    study.variants = study.variants[:2]
  return study
