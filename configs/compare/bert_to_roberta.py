"""From BERT to RoBERTa, one step at a time (Liu et al. 2019, section 4).

  python -m experiments.compare --config=configs/compare/bert_to_roberta.py \\
      --workdir=runs/bert_to_roberta --data=DIR
      A BERT of 2 layers of 128; each variant adds to the changes of those
      before it. DIR has wikitext2/*.txt and blimp/BLiMP.zip. In rows as short as
      these, whole sentences leave a quarter of the places to padding, which costs
      FLOPs as well; pairs leave next to nothing.

  ... --config=configs/compare/bert_to_roberta.py:embedded
      The same on English prose that ships with Python; needs no data.

Variants: wikitext (default), embedded.
"""

from ml_collections import config_dict

from configs.compare import small


def get_config(variant: str = '') -> config_dict.ConfigDict:
  """Returns the study named `variant`."""
  study = small.study(variant)
  study.question = (
    'Which of the steps from BERT to RoBERTa helps a small model on small text?'
  )
  study.budget = config_dict.create(flops=1.2e13)
  study.tuning.learning_rates = small.OF_A_BERT
  study.tuning.share = 0.3  # Of this budget, enough to tell rates apart.
  fields = {
    'objective.next_sentence': True,
    # One mask per row, so that masks repeat: in the two epochs of a run, ten
    # would not.
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
  return study
