"""Summarisation, with a pretrained T5 or from scratch.

  python -m experiments.train --config=configs/summarisation.py:cnn_dailymail \\
      --workdir=runs/cnn_dailymail --config.init_from=t5-small
  python -m experiments.evaluate --workdir=runs/cnn_dailymail --split=test
      As fine-tuned in Raffel et al. (2020, 3.1.2): 2^18 steps of 128 rows of 512
      tokens, a constant rate of 0.001; the best checkpoint on validation. Not
      run here; they report ROUGE-2 of 19.56 for T5 small.

  ... --config=configs/summarisation.py:mine \\
      --config.data.format=jsonl --config.data.train=mine.jsonl
      Lines such as {"source": "A long text.", "target": "A text."}.

Variants: mine (default), cnn_dailymail, xsum, debug.
"""

from ml_collections import config_dict

TFDS = {'cnn_dailymail': 'cnn_dailymail', 'xsum': 'xsum'}
VARIANTS = ('mine', *TFDS, 'debug')


def get_config(variant: str = 'mine') -> config_dict.ConfigDict:
  """Returns the run named `variant`."""
  variant = variant or 'mine'
  if variant not in VARIANTS:
    raise ValueError(
      f'There is no {variant!r}. There are {", ".join(VARIANTS)}.'
    )
  published = variant in TFDS
  config = config_dict.ConfigDict()
  config.num_steps = 262_144 if published else 5000
  config.batch_size = 128 if published else 16
  config.model = config_dict.create(
    name='t5',
    preset='small',
    dtype='bfloat16' if published else 'float32',
    vocab_size=None,
  )
  config.objective = config_dict.create(name='answers')
  config.task = config_dict.create(name='summarisation')
  config.data = config_dict.create(
    source='records',
    format='tfds' if published else 'jsonl',
    train=TFDS.get(variant, ''),
    validation='validation' if published else '',
    test='test' if published else '',
    tokenizer='unigram',
    vocab_size=32_000 if published else 8192,
    length=512,
    # T5 uses 512 for CNN / Daily Mail; summaries of XSum are one sentence.
    target_length=512 if variant == 'cnn_dailymail' else 128,
  )
  config.optimizer = config_dict.create(
    name='adafactor', learning_rate=1e-3, schedule='constant', clip_norm=0.0
  )
  config.parallel = config_dict.create(kind='mesh')
  config.eval = config_dict.create(every=5000 if published else 500)
  config.checkpoint = config_dict.create(
    every=config.eval.every, keep=1, best='rouge2'
  )
  config.log = config_dict.create(every=100)

  if variant == 'debug':
    config.update(num_steps=20, batch_size=8)
    config.model.update(num_layers=2, num_heads=4, embed_dim=32, mlp_dim=64)
    config.model.head_dim = 8
    config.data.update(vocab_size=300, length=64, target_length=32)
    config.eval.every = config.checkpoint.every = 10
  return config
