"""GPT, BERT, RoBERTa and T5 of one size, on one text, under one budget.

  python -m experiments.compare --config=configs/compare/families.py \\
      --workdir=runs/families --data=DIR
      Each has 2 layers of 128 (T5: 2 and 2) and the FLOPs of about two minutes
      on 2 CPU cores; three learning rates are tried, three seeds trained. DIR
      has wikitext2/*.txt, blimp/BLiMP.zip, sst2/train.tsv and sst2/dev.tsv.

  ... --config=configs/compare/families.py:embedded
      The same on English prose that ships with Python, without scores; needs no
      data.

Variants: wikitext (default), embedded, debug.
"""

from ml_collections import config_dict

from configs.compare import small

VARIANTS = (*small.VARIANTS, 'debug')
# A head on each, T5's on its decoder. Adafactor's updates are relative to the
# scale of parameters: with AdamW, one rate moves a BERT's embeddings (of 0.02)
# far, and a T5's (of 1) hardly. The rate is that of Raffel et al. (2020).
SST2 = {
  'name': 'sst2',
  'config': 'configs/classification.py:sst2',
  'metric': 'accuracy',
  'overrides': {
    'num_steps': 600,
    'data.train': '{data}/sst2/train.tsv',
    'data.test': '{data}/sst2/dev.tsv',
    'data.distinct': True,
    'data.held_out': 0.03,
    'data.length': 64,
    'optimizer.name': 'adafactor',
    'optimizer.learning_rate': 1e-2,
    'optimizer.warmup_steps': 60,
    'eval.every': 200,
    'checkpoint.every': 200,
  },
}


def get_config(variant: str = '') -> config_dict.ConfigDict:
  """Returns the study named `variant`."""
  study = small.study(variant, VARIANTS)
  study.question = (
    'Which family makes the most of a small budget: one trained to predict every'
    ' token, masked tokens, or spans?'
  )
  study.budget = config_dict.create(flops=1.2e13)
  # Of this budget, enough to tell rates apart; all of it takes an hour at most.
  study.tuning.share = 0.3
  # What the config of each family would set differently.
  study.shared.optimizer = {
    'name': 'adamw',
    'schedule': 'cosine',
    'b2': 0.98,
    'eps': 1e-8,
    'clip_norm': 1.0,
    'weight_decay': 0.01,
  }
  study.variants = tuple(
    {'name': family, 'config': f'configs/{family}.py:wikitext'}
    for family in ('gpt', 'bert', 'roberta', 't5')
  )
  if variant in ('', 'wikitext'):
    study.tasks = (SST2,)
    study.scores = tuple({**each, 'curve': True} for each in study.scores)
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
