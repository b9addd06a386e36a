"""GPT: pre-training with next-token prediction.

  python -m experiments.train --config=configs/gpt.py --workdir=runs/demo
      The demo: English prose that ships with Python. 4 minutes on 2 CPU cores.

  python -m experiments.train --config=configs/gpt.py:nano --workdir=runs/nano \\
      --config.data.path=tinyshakespeare/input.txt
      nanoGPT's CPU settings: 1.88 nats per character or less on the last tenth
      of the text after 2000 steps; 3 minutes on 2 CPU cores.

  ... --config=configs/gpt.py:gpt2 --config.data.path='openwebtext/*.jsonl.gz'
      GPT-2 124M with nanoGPT's settings: 600k steps of half a million tokens.
      Not run here; nanoGPT reports 2.85 nats on OpenWebText, 4 days, 8 A100.

  ... --config=configs/gpt.py:wikitext --config.data.path='wikitext2/*.txt'
      As large as configs/bert.py:wikitext, on as many tokens of the same text.

Variants: demo (default), debug, nano, baby, wikitext, article, and every size
of GPT-1, 2 and 3 by name, such as gpt2-xl or gpt3-1.3b.
"""

from ml_collections import config_dict


def get_config(variant: str = 'demo') -> config_dict.ConfigDict:
  """Returns the run named `variant`."""
  variant = variant or 'demo'
  small = {'demo': 'nano', 'debug': 'nano', 'nano': 'nano', 'baby': 'baby'}
  small |= {'wikitext': 'gpt2'}
  config = config_dict.ConfigDict()
  config.num_steps = 600_000
  config.batch_size = 480
  config.microbatches = 20  # 24 rows at once, on all devices.
  config.model = config_dict.create(
    name='gpt', preset=small.get(variant, variant), dtype='bfloat16'
  )
  config.objective = config_dict.create(name='causal_lm')
  config.data = config_dict.create(
    source='jsonl', path='', tokenizer='bpe', vocab_size=50_257, length=1024
  )
  config.optimizer = config_dict.create(
    name='adamw',
    learning_rate=6e-4,
    end_learning_rate=6e-5,
    warmup_steps=2000,
    b2=0.95,
    weight_decay=0.1,
  )
  config.parallel = config_dict.create(kind='mesh')
  config.eval = config_dict.create(every=1000, batches=200)  # Of gigabytes.
  config.checkpoint = config_dict.create(every=1000)
  config.log = config_dict.create(every=10)

  if variant == 'gpt1':
    config.data.update(vocab_size=40_478, length=512)
  if variant.startswith(('gpt2', 'gpt3')):  # As nanoGPT, for a single epoch.
    config.model.update(embedding_dropout=0.0, attention_dropout=0.0)
    config.model.update(residual_dropout=0.0)
  if variant in small or variant == 'article':
    config.model.dtype = 'float32'
    config.microbatches = 1
    config.eval.every = config.checkpoint.every = 250
    config.eval.batches = 0
  if variant in ('nano', 'baby'):
    config.update(num_steps=2000, batch_size=12)
    config.data.update(source='text', split='tail', tokenizer='characters')
    config.data.update(vocab_size=None, end_of_text=False, length=64)
    config.optimizer.update(learning_rate=1e-3, end_learning_rate=1e-4)
    config.optimizer.update(warmup_steps=100, b2=0.99)
  if variant == 'nano':
    # nanoGPT's own choices, no biases and scaled initialization of residual
    # projections, end 0.03 nats higher.
    config.model.update(use_bias=True, scale_residual_init=False)
  if variant == 'baby':
    config.update(num_steps=5000, batch_size=64)
    config.data.length = 256
  if variant in ('demo', 'debug'):
    config.update(num_steps=600, batch_size=16)
    config.data.update(source='stdlib', vocab_size=2048, length=128)
    config.model.max_len = 128
    config.optimizer.update(learning_rate=2e-3, end_learning_rate=2e-4)
    config.optimizer.update(warmup_steps=100, b2=0.99)
    config.log.update(sample_every=200)
  if variant == 'debug':
    config.update(num_steps=20, batch_size=8)
    config.data.update(source='dialogues', tokenizer='bytes')
    config.data.update(vocab_size=None, validation=0.2)
    config.eval.every = config.checkpoint.every = 10
    config.optimizer.warmup_steps = 5
  if variant == 'wikitext':
    config.update(num_steps=2000, batch_size=32)
    config.model.update(num_layers=4, num_heads=4, embed_dim=256)
    config.model.update(mlp_dim=1024, vocab_size=8192, max_len=128)
    config.data.update(source='wikitext', vocab_size=8192, length=64)
    config.optimizer.update(learning_rate=1e-3, end_learning_rate=1e-4)
    config.optimizer.update(warmup_steps=300, b2=0.99)
  if variant == 'article':
    config.update(num_steps=10_000, batch_size=32)
    config.data.update(source='stdlib', vocab_size=10_000, length=128)
    config.optimizer.update(learning_rate=1e-3, schedule='constant', b2=0.999)
    config.optimizer.update(weight_decay=0.0, end_learning_rate=0.0)
  return config
