"""T5: pre-training with span corruption (Raffel et al. 2020).

  python -m experiments.train --config=configs/t5.py:wikitext \\
      --workdir=runs/t5 --config.data.path='wikitext2/*.txt'
      4 + 4 layers of 256 on WikiText-2, 7 minutes on 2 CPU cores; its losses
      are in benchmarks/curves/t5.json.

  ... --config=configs/t5.py:base --config.data.path='c4/*.jsonl.gz' \\
      --config.data.tokenizer=t5-base/spiece.model
      As in the paper's section 3.1: 2^19 steps of 128 rows of 512 tokens, of
      which 15% are noise in spans of 3. Not run here.

Variants: small (default), every size of version 1.0 and 1.1 by name, such as
base, 3b or v1.1-xl; wikitext, debug.
"""

from ml_collections import config_dict


def get_config(variant: str = 'small') -> config_dict.ConfigDict:
  """Returns the run named `variant`."""
  variant = variant or 'small'
  small = variant in ('wikitext', 'debug')
  config = config_dict.ConfigDict()
  config.num_steps = 524_288
  config.batch_size = 128
  config.model = config_dict.create(
    name='t5', preset='small' if small else variant, dtype='bfloat16'
  )
  config.objective = config_dict.create(name='span_corruption', z_loss=1e-4)
  config.data = config_dict.create(
    source='jsonl', path='', tokenizer='unigram', end_of_text=False, length=512
  )
  config.optimizer = config_dict.create(
    name='adafactor',
    learning_rate=0.01,
    schedule='rsqrt',
    warmup_steps=10_000,
    clip_norm=0.0,
  )
  config.parallel = config_dict.create(kind='mesh')
  config.eval = config_dict.create(every=10_000, batches=200)  # Of gigabytes.
  config.checkpoint = config_dict.create(every=10_000)
  config.log = config_dict.create(every=100)

  if small:
    config.update(num_steps=1500, batch_size=32)
    config.model.update(num_layers=4, num_heads=4, embed_dim=256, mlp_dim=1024)
    config.model.update(dtype='float32', vocab_size=8192)
    config.model.update(embedding_dropout=0.0, attention_dropout=0.0)
    config.model.update(residual_dropout=0.0, mlp_dropout=0.0)
    config.data.update(source='wikitext', vocab_size=8192, length=64)
    config.optimizer.warmup_steps = 500
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
