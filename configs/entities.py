"""Named entity recognition: words with tags, of CoNLL or your own files.

  python -m experiments.train --config=configs/entities.py:resume \\
      --workdir=runs/resume --config.data.train=train.char.bmes \\
      --config.data.validation=dev.char.bmes --config.data.test=test.char.bmes
      Chinese, by characters: a BERT of 4 layers of 128 from scratch, with
      relative positions. Test F1 is 91.2 (3 seeds, 90.8 to 91.6), each 3
      minutes of processor time. The step is chosen on the development set, and
      so were the settings, after test scores of two earlier ones had been seen.

  python -m experiments.train --config=configs/entities.py:conll2003 \\
      --workdir=runs/conll2003 --config.init_from=bert-base-cased
      Devlin et al. (2019, 5.3): from a Hugging Face directory, or a workdir.
      Not run here; they report an F1 of 92.4 for BERT base, with the document
      context of each sentence, which is not read here.

  ... --config=configs/entities.py:wnut17 \\
      --config.data.train=wnut17train.conll \\
      --config.data.validation=emerging.dev.conll \\
      --config.data.test=emerging.test.annotated

  ... --config=configs/entities.py:mine --config.data.train=mine.conll
      A word and its tag per line, a blank line after each sentence; or with
      --config.data.format=jsonl {"words": ["Ann", "sang"], "tags": ["B-person",
      "O"]}.

  ... --config.model.name=t5 --config.model.preset=small \\
      --config.objective.name=answers --config.data.tokenizer=bpe \\
      --config.data.end_of_text=True
      A T5 that writes `person: Ann; location: Paris`; a gpt can do so too. With
      objective tags both have the head of a BERT.

Variants: mine (default), debug, conll2003, wnut17, resume.
"""

from ml_collections import config_dict

VARIANTS = ('mine', 'debug', 'conll2003', 'wnut17', 'resume')


def get_config(variant: str = 'mine') -> config_dict.ConfigDict:
  """Returns the run named `variant`."""
  variant = variant or 'mine'
  if variant not in VARIANTS:
    raise ValueError(
      f'There is no {variant!r}. There are {", ".join(VARIANTS)}.'
    )
  config = config_dict.ConfigDict()
  config.num_steps = 2000
  config.batch_size = 32
  config.model = config_dict.create(
    name='bert', preset='mini', dtype='float32', max_len=128
  )
  config.objective = config_dict.create(name='tags')
  config.task = config_dict.create(name='entities')
  config.data = config_dict.create(
    source='records',
    format='conll',
    tokenizer='wordpiece',
    vocab_size=8192,
    end_of_text=False,
    length=128,
  )
  config.optimizer = config_dict.create(
    name='adamw',
    learning_rate=5e-4,
    schedule='linear',
    warmup_steps=200,
    weight_decay=0.01,
  )
  config.parallel = config_dict.create(kind='mesh')
  config.eval = config_dict.create(every=200, batch_size=64)
  config.checkpoint = config_dict.create(every=200, keep=1, best='f1')
  config.log = config_dict.create(every=50)
  if variant == 'conll2003':  # 3 epochs of 14,041 sentences.
    config.update(num_steps=1317)
    config.model.update(preset='base', dtype='bfloat16', max_len=512)
    config.data.update(
      format='tfds', train='conll2003', validation='dev', test='test'
    )
    config.data.vocab_size = 28_996
    config.optimizer.update(learning_rate=5e-5, warmup_steps=132)
  if variant == 'resume':
    config.ema_decay = 0.99
    config.model.update(vocab_size=None, embed_dim=128, mlp_dim=512)
    config.model.update(head_dim=32, position='relative', norm_position='pre')
    config.model.update(embedding_dropout=0.2, residual_dropout=0.2)
    config.model.attention_dropout = 0.0
    # Each character is a token; 4 sentences end within an entity. There are few
    # bucket widths, lest long sentences, batched together, count for less. The
    # settings were not ablated one by one.
    config.data.update(
      vocab_size=1796, on_error='skip', length=64, buckets=(32,)
    )
    config.optimizer.update(learning_rate=2e-3, weight_decay=0.1)
  if variant == 'debug':
    config.update(num_steps=20, batch_size=8)
    config.model.update(num_layers=2, embed_dim=32, mlp_dim=64, head_dim=8)
    config.data.update(vocab_size=500, length=32)
    config.eval.every = config.checkpoint.every = 10
    config.optimizer.warmup_steps = 5
  return config
