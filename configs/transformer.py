"""The Transformer of Vaswani et al. 2017: an encoder and a decoder.

  python -m experiments.train --config=configs/transformer.py:debug \\
      --workdir=runs/transformer
      2 + 2 layers of 32 on English prose that ships with Python.

  ... --config=configs/transformer.py:base --config.data.path='text/*.jsonl.gz'
      The paper's sizes, optimizer and label smoothing: 100k steps of about
      25,000 tokens (big: 300k), here of text whose beginning is the source and
      whose rest is the target, instead of a translation. Not run here.

Variants: base (default), big, debug.
"""

from ml_collections import config_dict


def get_config(variant: str = 'base') -> config_dict.ConfigDict:
  """Returns the run named `variant`."""
  variant = variant or 'base'
  big, debug = variant == 'big', variant == 'debug'
  config = config_dict.ConfigDict()
  config.num_steps = 300_000 if big else 100_000
  config.batch_size = 192
  config.model = config_dict.create(
    name='transformer', preset='base' if debug else variant, dtype='bfloat16'
  )
  config.objective = config_dict.create(name='prefix_lm', label_smoothing=0.1)
  config.data = config_dict.create(
    source='jsonl', path='', tokenizer='bpe', vocab_size=37_000, length=128
  )
  config.optimizer = config_dict.create(
    name='adamw',
    # The peak of D^-0.5 min(s^-0.5, s 4000^-1.5), at step s = 4000.
    learning_rate=((1024 if big else 512) * 4000) ** -0.5,
    schedule='inverse_sqrt',
    warmup_steps=4000,
    b2=0.98,
    eps=1e-9,
    clip_norm=0.0,
  )
  config.parallel = config_dict.create(kind='mesh')
  config.eval = config_dict.create(every=5000)
  config.checkpoint = config_dict.create(every=5000)
  config.log = config_dict.create(every=100)

  if debug:
    config.update(num_steps=20, batch_size=8)
    config.model.update(num_layers=2, num_heads=4, head_dim=8, embed_dim=32)
    config.model.update(mlp_dim=64, dtype='float32', vocab_size=None)
    config.model.embedding_init_std = 32**-0.5
    config.data.update(source='stdlib', vocab_size=1000, length=64)
    config.optimizer.update(learning_rate=1e-3, warmup_steps=5)
    config.eval.every = config.checkpoint.every = 10
    config.log.every = 10
  return config
