"""Measures how much of a task's evaluation data is also in its training data.

python -m experiments.overlap --config=configs/classification.py:chnsenticorp \\
    --config.data.train=train.tsv --config.data.validation=dev.tsv
"""

from absl import logging
from ml_collections import ConfigDict

from experiments import command
from lm import tasks
from lm.records import overlap
from lm.tasks import labelled
from lm.training import assembly
from lm.training.sections import SECTIONS
from lm.types import UserError


def main(config: ConfigDict, sizes: tuple[int, ...] = ()) -> None:
  """Prints a table, and the same as JSON.

  Args:
    config: FILE.py or FILE.py:VARIANT of a task; nothing is trained.
    sizes: The N of the N-grams of words to compare; by default 8 and 13.
  """
  resolved = config.to_dict()
  if not assembly.is_task(resolved):
    raise UserError(
      'This config has no task, so it has no records. Give one such as'
      ' --config=configs/classification.py.'
    )
  kind, section = tasks.kind_of(resolved['task']['name']), resolved['data']
  section |= {'tokenizer': 'bytes', 'vocab_size': None}  # Needs no training.
  data = labelled.build(kind, resolved['seed'], **section)
  train = texts(kind, data.read('train'))
  scored = ['validation', *(['test'] if section['test'] else [])]
  found = {
    split: overlap.overlap(train, texts(kind, data.read(split)), sizes)
    for split in scored
  }
  logging.info(
    'What is in the %d texts for training, too:\n%s',
    len(train),
    overlap.table(found),
  )
  command.report(
    {
      split: {'texts': one.texts, 'N': one.usual, **one.shares()}
      for split, one in found.items()
    }
  )


def texts(kind: str, rows: tuple[labelled.Record, ...]) -> list[str]:
  """Returns the texts of each record, joined."""
  return ['\n'.join(labelled.texts_of(kind, row)) for row in rows]


if __name__ == '__main__':
  command.run(main, SECTIONS)
