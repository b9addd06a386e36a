"""From BERT to RoBERTa, one step at a time (Liu et al. 2019, section 4).

  python -m experiments.compare --config=configs/compare/bert_to_roberta.py \\
      --workdir=runs/bert_to_roberta --data=DIR
      A BERT of 2 layers of 128; each variant has the changes of those before
      it. DIR has wikitext2/*.txt and blimp/BLiMP.zip.

  ... --config=configs/compare/bert_to_roberta.py:embedded
      The same on the English prose that every Python has; it needs no data.

Variants: wikitext (default), embedded.
"""

from ml_collections import config_dict

VARIANTS = ('wikitext', 'embedded')


def get_config(variant: str = 'wikitext') -> config_dict.ConfigDict:
  """Returns the study named `variant`."""
  variant = variant or 'wikitext'
  if variant not in VARIANTS:
    raise ValueError(
      f'There is no {variant!r}. There are {", ".join(VARIANTS)}.'
    )
  data = {'source': 'wikitext', 'path': '{data}/wikitext2/*.txt'}
  if variant == 'embedded':
    data = {'source': 'stdlib', 'path': ''}
  study = config_dict.ConfigDict()
  study.question = (
    'Which of the steps from BERT to RoBERTa helps a small model on small text?'
  )
  study.budget = config_dict.create(flops=1.5e13)
  study.tuning = config_dict.create(
    learning_rates=(1e-3, 2e-3, 4e-3), share=0.3
  )
  study.shared = {
    'batch_size': 32,
    'model': {
      'num_layers': 2,
      'num_heads': 4,
      'head_dim': 32,
      'embed_dim': 128,
      'mlp_dim': 512,
      'max_len': 128,
      'vocab_size': None,
      'embedding_dropout': 0.0,
      'attention_dropout': 0.0,
      'residual_dropout': 0.0,
    },
    'data': {**data, 'vocab_size': 4096, 'length': 64},
    'log': {'every': 20},
  }
  fields = {
    'objective.next_sentence': True,
    # As many as make a difference: in the two epochs of a run, ten masks of a
    # row would not come again either.
    'data.duplicates': 1,
    'data.packing': 'pairs',
    'data.tokenizer': 'wordpiece',
  }
  steps = (
    ('bert', {}),
    ('no_next_sentence', {'objective.next_sentence': False}),
    ('dynamic_masks', {'data.duplicates': 0}),
    ('full_sentences', {'data.packing': 'sentences'}),
    ('larger_batch', {'batch_size': 64}),
    ('byte_level_bpe', {'data.tokenizer': 'roberta'}),
  )
  study.variants = ()
  for name, change in steps:
    fields |= change
    study.variants += (
      {'name': name, 'config': 'configs/bert.py:wikitext', **fields},
    )
  if variant == 'wikitext':
    study.scores = (
      {'name': 'blimp', 'task': 'blimp', 'data': 'blimp', 'limit': 50},
    )
  return study
