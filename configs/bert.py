"""BERT: pretraining with masked tokens and next sentences (Devlin et al. 2019).

  python -m experiments.train --config=configs/bert.py --workdir=runs/bert
      The demo: a BERT of 4 layers on English prose that ships with Python.

  python -m experiments.train --config=configs/bert.py:wikitext \\
      --workdir=runs/bert --config.data.path='wikitext2/*.txt'
      4 layers of 256 on WikiText-2, 7 minutes on 2 CPU cores; its losses are
      in benchmarks/curves/bert.json.

  ... --config=configs/bert.py:base --config.data.path='wikipedia/*.jsonl.gz' \\
      --config.data.tokenizer=bert-base-uncased/vocab.txt
      As published: a million steps of 256 rows, of 128 tokens and, for the last
      tenth, of 512; ten static masks per row. Not run here.

Variants: demo (default), debug, wikitext, and every published size by name,
such as base, large-cased or base-chinese.
"""

from ml_collections import config_dict


def get_config(variant: str = 'demo') -> config_dict.ConfigDict:
  """Returns the run named `variant`."""
  variant = variant or 'demo'
  small = variant in ('demo', 'debug', 'wikitext')
  config = config_dict.ConfigDict()
  config.num_steps = 1_000_000
  config.batch_size = 256
  config.short_steps = 900_000
  config.model = config_dict.create(
    name='bert', preset='mini' if small else variant, dtype='bfloat16'
  )
  config.objective = config_dict.create(name='masked_lm', next_sentence=True)
  config.data = config_dict.create(
    source='jsonl',
    path='',
    tokenizer='wordpiece',
    packing='pairs',
    end_of_text=False,
    length=512,
    duplicates=10,
  )
  config.optimizer = config_dict.create(
    name='bert_adam',
    learning_rate=1e-4,
    schedule='linear',
    warmup_steps=10_000,
    weight_decay=0.01,
  )
  config.parallel = config_dict.create(kind='mesh')
  config.eval = config_dict.create(every=10_000, batches=200)  # Of gigabytes.
  config.checkpoint = config_dict.create(every=10_000)
  config.log = config_dict.create(every=100)

  if small:
    config.update(num_steps=2000, batch_size=32, short_steps=0)
    config.model.update(dtype='float32', vocab_size=8192, max_len=128)
    config.objective.next_sentence = False
    config.data.update(source='wikitext', packing='sentences', length=64)
    config.data.update(vocab_size=8192, duplicates=0)
    # With dropout it would not get below the unigram loss in so many steps.
    config.model.update(embedding_dropout=0.0, attention_dropout=0.0)
    config.model.update(residual_dropout=0.0)
    config.optimizer.update(learning_rate=5e-4, warmup_steps=300)
    config.eval.every = config.checkpoint.every = 250
    config.eval.batches = 0
  if variant in ('demo', 'debug'):
    config.num_steps = 1000
    config.data.update(source='stdlib', vocab_size=4096)
    config.model.vocab_size = None
    config.optimizer.warmup_steps = 100
    config.log.every = 10
  if variant == 'debug':
    config.update(num_steps=20, batch_size=8)
    config.model.update(num_layers=2, embed_dim=32, mlp_dim=64, head_dim=8)
    config.data.update(packing='pairs', vocab_size=1000)
    config.objective.next_sentence = True
    config.eval.every = config.checkpoint.every = 10
    config.optimizer.warmup_steps = 5
  return config
