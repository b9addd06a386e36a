"""Extractive question answering: SQuAD, or your own files like it.

  python -m experiments.train --config=configs/question_answering.py:squad \\
      --workdir=runs/squad --config.init_from=bert-base-uncased \\
      --config.data.train=train-v1.1.json --config.data.validation=dev-v1.1.json
      Devlin et al. (2019, 4.2): from a Hugging Face directory, or a workdir.
      Not run here; they report an F1 of 88.5 for BERT base. With squad2, set
      config.task.null_threshold to the score `best_f1_thresh`.

  ... --config=configs/question_answering.py:newwiki \\
      --config.data.train=squadshifts_newwiki/new_wiki_v1.0.json
      A small BERT from scratch; a tenth of the articles is held out. Minutes on
      2 CPU cores.

  ... --config=configs/question_answering.py:xquad \\
      --config.data.train=xquad/xquad.zh.json
      Chinese, by characters; for German set --config.task.version=1.1.

  ... --config.model.name=t5 --config.objective.name=answers
      A T5 that writes the answers, or a gpt; with objective span both have the
      heads of a BERT.

Variants: mine (default; files like SQuAD's), debug, squad, squad2, newwiki,
xquad.
"""

from ml_collections import config_dict

VARIANTS = ('mine', 'debug', 'squad', 'squad2', 'newwiki', 'xquad')
# Two epochs of 87,599 and 130,319 questions in batches of 24.
STEPS = {'squad': 7299, 'squad2': 10_859}
VERSIONS = {'squad2': '2.0', 'xquad': 'cmrc'}


def get_config(variant: str = 'mine') -> config_dict.ConfigDict:
  """Returns the run named `variant`."""
  variant = variant or 'mine'
  if variant not in VARIANTS:
    raise ValueError(
      f'There is no {variant!r}. There are {", ".join(VARIANTS)}.'
    )
  config = config_dict.ConfigDict()
  config.num_steps = 3000
  config.batch_size = 32
  config.model = config_dict.create(
    name='bert', preset='mini', dtype='float32', max_len=384
  )
  config.objective = config_dict.create(name='span')
  config.task = config_dict.create(
    name='question_answering', version=VERSIONS.get(variant, '1.1')
  )
  config.data = config_dict.create(
    source='records',
    format='squad',
    tokenizer='wordpiece',
    vocab_size=8192,
    end_of_text=False,
    length=384,
  )
  config.optimizer = config_dict.create(
    name='adamw',
    learning_rate=3e-4,
    schedule='linear',
    warmup_steps=300,
    weight_decay=0.01,
  )
  config.parallel = config_dict.create(kind='mesh')
  config.eval = config_dict.create(every=500, batch_size=64)
  config.checkpoint = config_dict.create(every=500, keep=1, best='f1')
  config.log = config_dict.create(every=50)
  if variant in STEPS:  # The settings of BERT's code.
    config.update(num_steps=STEPS[variant], batch_size=24)
    config.model.update(preset='base', dtype='bfloat16', max_len=512)
    config.optimizer.update(
      learning_rate=3e-5, warmup_steps=STEPS[variant] // 10
    )
    config.data.vocab_size = 30_522
    config.eval.every = config.checkpoint.every = 1000
  if variant in ('newwiki', 'xquad'):
    config.data.length = 256
    config.task.update(stride=64, max_question=32)
  if variant == 'debug':
    config.update(num_steps=20, batch_size=8)
    config.model.update(num_layers=2, embed_dim=32, mlp_dim=64, head_dim=8)
    config.data.update(vocab_size=500, length=64)
    config.task.update(stride=16, max_question=16)
    config.eval.every = config.checkpoint.every = 10
    config.optimizer.warmup_steps = 5
  return config
