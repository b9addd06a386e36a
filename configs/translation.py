"""Translation, from scratch or with a pretrained model.

  python -m experiments.train --config=configs/translation.py:multi30k \\
      --workdir=runs/multi30k --config.data.train='multi30k/train.{en,de}.gz' \\
      --config.data.validation='multi30k/val.{en,de}.gz' \\
      --config.data.test='multi30k/test_2016_flickr.{en,de}.gz'
  python -m experiments.evaluate --workdir=runs/multi30k --split=test
      A Transformer of 3 + 3 layers of 256, 29,000 captions, English to German.

  ... --config=configs/translation.py:wmt14
      The base model of Vaswani et al. (2017) with its settings: 100k steps of
      about 25,000 tokens of each side. Not run here; published: 27.3 BLEU.

  ... --config=configs/translation.py:t5 --config.init_from=t5-base
      T5's own form of the same data: 'translate English to German: ...'.

  ... --config=configs/translation.py:mine \\
      --config.data.train=mine.tsv --config.task.target_language=fr
      Lines of two texts separated by a tab; data.format has other formats.

Variants: mine (default), multi30k, tatoeba, wmt14, t5, debug.
"""

from ml_collections import config_dict

VARIANTS = ('mine', 'multi30k', 'tatoeba', 'wmt14', 't5', 'debug')


def get_config(variant: str = 'mine') -> config_dict.ConfigDict:
  """Returns the run named `variant`."""
  variant = variant or 'mine'
  if variant not in VARIANTS:
    raise ValueError(
      f'There is no {variant!r}. There are {", ".join(VARIANTS)}.'
    )
  config = config_dict.ConfigDict()
  config.num_steps = 4000
  config.batch_size = 128
  config.model = config_dict.create(
    name='transformer', preset='base', dtype='float32', vocab_size=None
  )
  config.model.update(num_layers=3, num_heads=4, embed_dim=256, mlp_dim=1024)
  config.model.update(embedding_init_std=256**-0.5, max_len=128)
  config.objective = config_dict.create(name='answers', label_smoothing=0.1)
  config.task = config_dict.create(name='translation', target_language='de')
  config.data = config_dict.create(
    source='records',
    format='tsv',
    train='',
    tokenizer='bpe',
    vocab_size=8000,
    length=64,
    target_length=64,
    buckets=(16, 24, 32, 64),
  )
  config.optimizer = config_dict.create(
    name='adamw',
    learning_rate=1e-3,
    schedule='inverse_sqrt',
    warmup_steps=500,
    b2=0.98,
    eps=1e-9,
    clip_norm=0.0,
  )
  config.parallel = config_dict.create(kind='mesh')
  config.eval = config_dict.create(every=500, batch_size=64)
  config.checkpoint = config_dict.create(every=500, keep=1, best='bleu')
  config.log = config_dict.create(every=50)

  if variant == 'multi30k':
    config.num_steps = 3000
    config.data.format = 'parallel'
  if variant == 'tatoeba':
    config.task.target_language = 'zh'
  if variant in ('wmt14', 't5'):
    config.data.update(format='tfds', train='wmt14_translate/de-en')
    config.data.update(validation='validation', test='test')
    config.data.columns = ('source=en', 'target=de')
    config.eval.every = config.checkpoint.every = 5000
    config.model = config_dict.create(dtype='bfloat16')
  if variant == 'wmt14':
    config.update(num_steps=100_000, batch_size=192)
    config.model.update(name='transformer', preset='base')
    config.data.update(vocab_size=37_000, length=128, target_length=128)
    config.data.buckets = ()
    # The peak of D^-0.5 min(s^-0.5, s 4000^-1.5), at step s = 4000.
    config.optimizer.update(learning_rate=(512 * 4000) ** -0.5)
    config.optimizer.warmup_steps = 4000
  if variant == 't5':  # As fine-tuned in Raffel et al. 2020, 3.1.2.
    config.update(num_steps=262_144, batch_size=128)
    config.model.update(name='t5', preset='small')
    config.objective.label_smoothing = 0.0
    config.task.template = 'translate English to German: {source}'
    config.data.update(tokenizer='unigram', vocab_size=32_000, buckets=())
    config.data.update(length=512, target_length=512)
    config.optimizer = config_dict.create(
      name='adafactor', learning_rate=1e-3, schedule='constant', clip_norm=0.0
    )
  if variant == 'debug':
    config.update(num_steps=20, batch_size=8)
    config.model.update(num_layers=2, num_heads=4, head_dim=8, embed_dim=32)
    config.model.update(mlp_dim=64, embedding_init_std=32**-0.5)
    config.data.update(tokenizer='bytes', vocab_size=None, buckets=())
    config.eval.every = config.checkpoint.every = 10
    config.optimizer.warmup_steps = 5
  return config
