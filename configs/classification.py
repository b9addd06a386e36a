"""Classification of texts and pairs of texts: GLUE, and files of your own.

  python -m experiments.train --config=configs/classification.py:sst2 \\
      --workdir=runs/sst2 --config.data.train=SST-2/train.tsv \\
      --config.data.validation='' --config.data.test=SST-2/dev.tsv
      A BERT of 4 layers of 256, from scratch, in minutes on 2 CPU cores.

  ... --config.init_from=runs/bert
      The same from a run of your own, or from a Hugging Face directory: sizes
      and tokenizer are then those of that model.

  ... --config=configs/classification.py:mine \\
      --config.data.format=jsonl --config.data.train=mine.jsonl
      Lines such as {"text": "So be it.", "label": "yes"}.

  ... --config=configs/classification.py:sst2,roberta \\
      --config.init_from=DIR/roberta-base --config.seeds=5
      Fine-tuned as by its authors: bert, roberta, gpt (GPT-1) or t5 after the
      name of the data. Sizes and tokenizer are those of init_from; T5 writes
      the answer. docs/tasks.md says which settings are published.

Variants: mine (default), debug, chnsenticorp, and GLUE's cola, sst2, mrpc, qqp,
stsb, mnli, qnli, rte, wnli; each optionally followed by a comma and a family.
"""

from ml_collections import config_dict

GLUE = ('cola', 'sst2', 'mrpc', 'qqp', 'stsb', 'mnli', 'qnli', 'rte', 'wnli')
VARIANTS = ('mine', 'debug', 'chnsenticorp', *GLUE)
BEST = {'cola': 'matthews', 'stsb': 'spearman'}
FAMILIES = ('bert', 'roberta', 'gpt', 't5')

# The number of training examples, for published numbers of epochs.
EXAMPLES = {
  'cola': 8551,
  'sst2': 67_349,
  'mrpc': 3668,
  'qqp': 363_846,
  'stsb': 5749,
  'mnli': 392_702,
  'qnli': 104_743,
  'rte': 2490,
  'wnli': 635,
  'chnsenticorp': 9600,
}
# The learning rate, batch, warm-up and steps of fairseq's files for RoBERTa.
ROBERTA = {
  'mnli': (1e-5, 32, 7432, 123_873),
  'qnli': (1e-5, 32, 1986, 33_112),
  'qqp': (1e-5, 32, 28_318, 113_272),
  'rte': (2e-5, 16, 122, 2036),
  'sst2': (1e-5, 32, 1256, 20_935),
  'mrpc': (1e-5, 16, 137, 2296),
  'cola': (1e-5, 16, 320, 5336),
  'stsb': (2e-5, 16, 214, 3598),
}
# What T5 reads, and what it writes for the labels 0 and 1 (Raffel et al. 2020,
# appendix D); without these, it writes the label.
T5 = {
  'cola': ('cola sentence: {text}', 'unacceptable', 'acceptable'),
  'sst2': ('sst2 sentence: {text}', 'negative', 'positive'),
  'mrpc': (
    'mrpc sentence1: {text} sentence2: {text_pair}',
    'not_equivalent',
    'equivalent',
  ),
  'qqp': (
    'qqp question1: {text} question2: {text_pair}',
    'not_duplicate',
    'duplicate',
  ),
  'stsb': ('stsb sentence1: {text} sentence2: {text_pair}',),
  'mnli': ('mnli hypothesis: {text_pair} premise: {text}',),
  'qnli': ('qnli question: {text} sentence: {text_pair}',),
  'rte': ('rte sentence1: {text} sentence2: {text_pair}',),
  'wnli': (
    'wnli sentence1: {text} sentence2: {text_pair}',
    'not_entailment',
    'entailment',
  ),
}


def get_config(variant: str = 'mine') -> config_dict.ConfigDict:
  """Returns the run named `variant`."""
  variant, _, family = (variant or 'mine').partition(',')
  if variant not in VARIANTS:
    raise ValueError(
      f'There is no {variant!r}. There are {", ".join(VARIANTS)}.'
    )
  if family not in ('', *FAMILIES):
    raise ValueError(
      f'There is no family {family!r}. There are {", ".join(FAMILIES)}.'
    )
  config = config_dict.ConfigDict()
  config.num_steps = 3000
  config.batch_size = 32
  config.model = config_dict.create(
    name='bert', preset='mini', dtype='float32', max_len=128
  )
  config.objective = config_dict.create(name='label')
  config.task = config_dict.create(
    name='classification', glue=variant if variant in GLUE else ''
  )
  config.data = config_dict.create(
    source='records',
    format='glue' if variant in GLUE else 'tsv',
    tokenizer='wordpiece',
    vocab_size=8192,
    end_of_text=False,
    length=128,
  )
  if variant == 'chnsenticorp':
    config.num_steps = 1000
    config.model.vocab_size = None
    config.data.vocab_size = 6000  # 4,700 characters, plus other tokens.
  if variant == 'stsb':
    config.objective.regression = True
  config.optimizer = config_dict.create(
    name='adamw',
    learning_rate=3e-4,
    schedule='linear',
    warmup_steps=300,
    weight_decay=0.01,
  )
  config.parallel = config_dict.create(kind='mesh')
  config.eval = config_dict.create(every=250, batch_size=64)
  config.checkpoint = config_dict.create(
    every=250, keep=1, best=BEST.get(variant, 'accuracy')
  )
  config.log = config_dict.create(every=50)
  if variant == 'debug':
    config.update(num_steps=20, batch_size=8)
    config.model.update(num_layers=2, embed_dim=32, mlp_dim=64, head_dim=8)
    config.data.update(vocab_size=500, length=32)
    config.eval.every = config.checkpoint.every = 10
    config.optimizer.warmup_steps = 5
  if family:
    fine_tune(config, variant, family)
  return config


def fine_tune(config: config_dict.ConfigDict, data: str, family: str) -> None:
  """Applies the fine-tuning settings that a model's authors published."""
  epochs, warmup = {
    'bert': (3, 0.1),  # Devlin et al. 2019, A.3; run_classifier.py.
    'roberta': (10, 0.06),  # Liu et al. 2019, table 10.
    'gpt': (3, 0.002),  # Radford et al. 2018, 4.1.
    't5': (0, 0.0),  # Raffel et al. 2020, 3.1.
  }[family]
  batch, steps = 32, config.num_steps
  if data in EXAMPLES:
    steps = EXAMPLES[data] * epochs // batch
  warmup_steps = round(steps * warmup)
  optimizer = {
    'bert': {'name': 'bert_adam', 'learning_rate': 2e-5, 'weight_decay': 0.01},
    'roberta': {
      'name': 'adamw',
      'learning_rate': 1e-5,
      'b2': 0.98,
      'eps': 1e-6,
      'weight_decay': 0.1,
      'clip_norm': 0.0,
    },
    'gpt': {'name': 'adamw', 'learning_rate': 6.25e-5, 'weight_decay': 0.01},
    't5': {
      'name': 'adafactor',
      'learning_rate': 1e-3,
      'schedule': 'constant',
      'weight_decay': 0.0,
      'clip_norm': 0.0,
    },
  }[family]
  if family == 'roberta' and data in ROBERTA:
    optimizer['learning_rate'], batch, warmup_steps, steps = ROBERTA[data]
  if family == 't5':
    batch, steps = 128, 262_144
    config.objective = config_dict.create(name='answers')
    config.data.target_length = 84
    template, *names = T5.get(data, ('{text}',))
    config.task.template = template
    if names:
      config.task.update(labels=('0', '1'), names=tuple(names))
  config.update(num_steps=steps, batch_size=batch)
  optimizer = {'schedule': 'linear', 'warmup_steps': warmup_steps} | optimizer
  config.optimizer = config_dict.create(**optimizer)
  preset, tokenizer = {
    'bert': ('base', 'wordpiece'),
    'roberta': ('base', 'bpe'),
    'gpt': ('gpt1', 'bpe'),
    't5': ('base', 'unigram'),
  }[family]
  config.model = config_dict.create(name=family, preset=preset)
  length = 128 if family == 'bert' else 512
  config.data.update(
    tokenizer=tokenizer,
    end_of_text=family in ('gpt', 't5'),
    length=length,
  )
  config.eval.every = config.checkpoint.every = max(steps // 10, 1)
