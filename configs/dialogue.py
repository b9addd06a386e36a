"""Dialogue and instructions: the loss is only on the replies.

  python -m experiments.train --config=configs/dialogue.py:dailydialog \\
      --workdir=runs/dialogue --config.data.train=dailydialog/train.zip \\
      --config.data.validation=dailydialog/validation.zip
  python -m experiments.chat --workdir=runs/dialogue
      A GPT of 4 layers of 256 reads the last turns, and writes the reply:
      75,000 replies. `unigram_loss` is the loss of a unigram model on them.

  ... --config=configs/dialogue.py:dailydialog,t5
      A T5 instead, whose encoder reads the turns; works for every variant.

  ... --config=configs/dialogue.py:kdconv \\
      --config.data.train='kdconv_zh/*.json'
      Chinese, with speakers marked 用户： and 助手：; a tenth is held out.

  ... --config=configs/dialogue.py:instructions \\
      --config.init_from=gpt2 --config.data.train=instruction-data.json
      Instructions and their answers, in Alpaca's format.

  ... --config=configs/dialogue.py:mine --config.data.train=mine.jsonl
      Lines such as {"turns": ["Hi.", "Hello!"]}.

Variants: mine (default), dailydialog, kdconv, chatterbot, instructions, debug;
each with ,t5.
"""

from ml_collections import config_dict

FORMATS = {
  'mine': 'jsonl',
  'dailydialog': 'dailydialog',
  'kdconv': 'kdconv',
  'chatterbot': 'chatterbot',
  'instructions': 'instructions',
  'debug': 'jsonl',
}
VARIANTS, FAMILIES = (*FORMATS,), ('t5',)
PEOPLE = ('dailydialog', 'kdconv')  # The turns of both speakers are targets.


def get_config(variant: str = 'mine') -> config_dict.ConfigDict:
  """Returns the run named `variant`."""
  name, _, family = (variant or 'mine').partition(',')
  if name not in VARIANTS or family not in ('', *FAMILIES):
    known = ', '.join(VARIANTS)
    raise ValueError(
      f'There is no {variant!r}. There are {known}, or with ,t5 after it.'
    )
  config = config_dict.ConfigDict()
  config.num_steps = 1500
  config.batch_size = 64
  config.model = config_dict.create(
    name='gpt', preset='gpt2', dtype='float32', max_len=128
  )
  if family == 't5':
    config.model.update(name='t5', preset='small')
  config.model.update(num_layers=4, num_heads=4, head_dim=64, embed_dim=256)
  config.model.update(mlp_dim=1024, vocab_size=None)
  config.objective = config_dict.create(name='answers')
  config.task = config_dict.create(
    name='dialogue', replies='every' if name in PEOPLE else 'second'
  )
  config.data = config_dict.create(
    source='records',
    format=FORMATS[name],
    train='',
    distinct=True,
    tokenizer='unigram' if family == 't5' else 'bpe',
    vocab_size=4096,
    length=80,
    target_length=48,
  )
  config.optimizer = config_dict.create(
    name='adamw',
    learning_rate=1e-3,
    schedule='cosine',
    warmup_steps=100,
    b2=0.99,
    weight_decay=0.1,
  )
  config.parallel = config_dict.create(kind='mesh')
  config.eval = config_dict.create(every=500)
  config.checkpoint = config_dict.create(every=500, keep=1, best='loss')
  config.log = config_dict.create(every=50)

  if name in PEOPLE:
    config.task.context_turns = 4
  if name == 'kdconv':
    config.task.update(speakers=('用户：', '助手：'), unit='characters')
  if name == 'chatterbot':
    config.update(num_steps=600, batch_size=32)
    config.data.vocab_size = 2048
  if name == 'instructions':
    config.update(num_steps=600, batch_size=16)
    config.model.max_len = 256
    config.data.update(vocab_size=2048, length=160, target_length=96)
  if name == 'debug':
    config.update(num_steps=20, batch_size=8)
    config.model.update(num_layers=2, head_dim=8, embed_dim=32, mlp_dim=64)
    config.data.vocab_size = 300
    config.eval.every = config.checkpoint.every = 10
    config.optimizer.warmup_steps = 5
  return config
