"""RoBERTa: BERT trained for longer, with dynamic masking (Liu et al. 2019).

  python -m experiments.train --config=configs/roberta.py:wikitext \\
      --workdir=runs/roberta --config.data.path='wikitext2/*.txt'
      4 layers of 256 on WikiText-2, 7 minutes on 2 CPU cores; its losses are
      in benchmarks/curves/roberta.json.

  ... --config=configs/roberta.py:base --config.data.path='books/*.jsonl.gz' \\
      --config.data.tokenizer=roberta-base
      As published: 500k steps of 8192 rows of 512 tokens, full sentences, no
      next-sentence prediction. Not run here.

Variants: base (default), large, wikitext, debug.
"""

from ml_collections import config_dict


def get_config(variant: str = 'base') -> config_dict.ConfigDict:
  """Returns the run named `variant`."""
  variant = variant or 'base'
  large, small = variant == 'large', variant in ('wikitext', 'debug')
  config = config_dict.ConfigDict()
  config.num_steps = 500_000
  config.batch_size = 8192
  config.microbatches = 16
  config.model = config_dict.create(
    name='roberta', preset='base' if small else variant, dtype='bfloat16'
  )
  config.objective = config_dict.create(name='masked_lm', count='stochastic')
  config.data = config_dict.create(
    source='jsonl',
    path='',
    tokenizer='roberta',
    packing='sentences',
    length=512,
  )
  config.optimizer = config_dict.create(
    name='adamw',
    learning_rate=4e-4 if large else 6e-4,
    schedule='linear',
    warmup_steps=30_000 if large else 24_000,
    b2=0.98,
    eps=1e-6,
    weight_decay=0.01,
    clip_norm=0.0,
  )
  config.parallel = config_dict.create(kind='mesh')
  config.eval = config_dict.create(every=5000, batches=200)  # Of gigabytes.
  config.checkpoint = config_dict.create(every=5000)
  config.log = config_dict.create(every=100)

  if small:
    config.update(num_steps=2000, batch_size=32, microbatches=1)
    config.model.update(num_layers=4, num_heads=4, embed_dim=256, mlp_dim=1024)
    config.model.update(dtype='float32', vocab_size=8192, max_len=128)
    config.data.update(source='wikitext', vocab_size=8192, length=64)
    # With dropout it would not get below the unigram loss in so many steps.
    config.model.update(embedding_dropout=0.0, attention_dropout=0.0)
    config.model.update(residual_dropout=0.0)
    config.optimizer.update(learning_rate=1e-3, warmup_steps=300)
    config.eval.every = config.checkpoint.every = 250
    config.eval.batches = 0
  if variant == 'debug':
    config.update(num_steps=20, batch_size=8)
    config.model.update(num_layers=2, embed_dim=32, mlp_dim=64, head_dim=8)
    config.model.vocab_size = None
    config.data.update(source='stdlib', vocab_size=1000)
    config.eval.every = config.checkpoint.every = 10
    config.optimizer.warmup_steps = 5
    config.log.every = 10
  return config
