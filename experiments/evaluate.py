"""Scores a checkpoint on the whole validation set of its run, or on a file.

python -m experiments.evaluate --workdir=runs/demo
python -m experiments.evaluate --workdir=runs/demo --step=500 --data=my.txt
python -m experiments.evaluate --workdir=huggingface/gpt2 --data=my.txt
python -m experiments.evaluate --workdir=runs/sst2 --split=test
"""

import pathlib
from typing import Any

from experiments import command, config_file
from lm import pretrained
from lm.pretrained import Pretrained
from lm.training import evaluation, remote_run
from lm.training.sections import SECTIONS
from lm.types import UserError

# The objective and the packing for a published model, by its form.
ASKED = {
  'causal': ('causal_lm', 'windows'),
  'bidirectional': ('masked_lm', 'sentences'),
  'encoder_decoder': ('span_corruption', 'windows'),
}


def main(
  workdir: str,
  step: int | None = None,
  data: str = '',
  split: str = 'validation',
) -> None:
  """Prints loss (nats per token), bits per byte and accuracy as JSON.

  For a task, prints its own metrics.

  Args:
    workdir: The workdir of a run, or a Hugging Face directory; or the URL of
      either.
    step: The checkpoint; by default the best, by config.checkpoint.best, or
      else the newest.
    data: A text file or JSON lines with a text each, a glob or a URL, to score
      all of instead; for a task, records in the format of its config.
    split: For a task: validation or test, for the records of
      config.data.validation or config.data.test.
  """
  directory = remote_run.local_run(workdir, step).absolute()
  found = pretrained.read(directory, step)
  config = {**found.config}
  if 'data' not in config:
    if not data:
      raise UserError(
        f'{workdir} holds a model that was not trained here, so it has no'
        ' validation set. Give --data=FILE, a text to score.'
      )
    config = asked(found)
  saved = directory / 'tokenizer'
  tokenizer = saved if saved.exists() else directory
  config['data'] = {**config['data'], 'tokenizer': str(tokenizer)}
  if config.get('task', {}).get('name'):
    config['data'] |= records(config['data'], data, split)
  elif data:
    config['data'] |= {
      'source': 'jsonl'
      if '.jsonl' in pathlib.PurePath(data).suffixes
      else 'text',
      'path': data,
      'split': 'document',
      'validation': 1.0,
    }
  scores = evaluation.score(config, found.params)
  told = {} if found.step is None else {'step': found.step}
  command.report(told | scores)


def records(section: dict[str, Any], data: str, split: str) -> dict[str, Any]:
  """Returns the changes to `config.data` for scoring other records."""
  if split not in ('validation', 'test'):
    raise UserError(
      f'--split is {split!r}. Give validation or test, or --data=FILE.'
    )
  if data:
    return {'validation': data}
  if split == 'test' and not section['test']:
    raise UserError('config.data.test of that run is empty. Give --data=FILE.')
  return {'validation': section[split]}


def asked(found: Pretrained) -> dict[str, Any]:
  """Returns the config of a run that scores a published model."""
  objective, packing = ASKED[found.model.form]
  config = {
    'num_steps': 1,
    'batch_size': 8,
    'model': found.config['model'],
    'objective': {'name': objective},
    'data': {
      'source': 'text',
      'length': found.model.config.max_len,
      'packing': packing,
      'end_of_text': found.model.form != 'bidirectional',
    },
    'optimizer': {'name': 'adamw', 'learning_rate': 1.0},  # Not used.
    'parallel': {'kind': 'mesh'},
  }
  return config_file.complete('', config, {}, SECTIONS).to_dict()


if __name__ == '__main__':
  command.run(main)
