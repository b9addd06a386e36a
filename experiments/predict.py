"""Predicts for new records or texts with a model trained for a task.

python -m experiments.predict --workdir=runs/sst2 --text='A charming journey.'
python -m experiments.predict --workdir=runs/sst2 --input=new.jsonl
python -m experiments.predict --workdir=runs/squad --input=dev-v2.0.json \\
    --output=predictions --form=squad
"""

import json
import pathlib
import sys
from collections.abc import Sequence

from absl import logging

import lm
from experiments import command
from lm.records import reading
from lm.tasks import predictions
from lm.tasks.task import Record
from lm.training import task_evaluation
from lm.types import UserError


def main(
  workdir: str,
  input: str = '',
  text: Sequence[str] = (),
  text_pair: Sequence[str] = (),
  format: str = '',
  columns: tuple[str, ...] = (),
  glue: str = '',
  output: str = '',
  form: str = 'jsonl',
  batch_size: int = 32,
  step: int | None = None,
) -> None:
  """Prints a prediction for each record as a line of JSON, or writes files.

  Args:
    workdir: The workdir of a run of a task, or its URL.
    input: Records, with or without answers: a file or a glob.
    text: A text instead of a file; can be repeated.
    text_pair: The second text of each pair; for question answering, the
      question about each passage.
    format: The format of the input; by default that of the training data.
    columns: Which columns or fields mean what; by default as in training.
    glue: For form glue: the GLUE task, such as mnli_mismatched; by default
      that of the config.
    output: A directory to write to instead of printing.
    form: The format of the files: jsonl, or glue or squad, for submission.
    batch_size: The number of rows per batch.
    step: The checkpoint; by default the best, by config.checkpoint.best, or
      else the newest.
  """
  if bool(input) == bool(text):
    raise UserError('Give either --input=FILE or --text=TEXT, and one of them.')
  found = lm.load(workdir, step)
  config = found.config
  if found.tokenizer is None:
    raise UserError(
      f'{workdir} has no tokenizer, so no text can be read there.'
    )
  asked = task_evaluation.asked_again(config, found.model, found.tokenizer)
  if input:
    rows = reading.read(
      asked.task.kind,
      format or config['data']['format'],
      input,
      columns=columns or (() if format else config['data']['columns']),
      on_error=config['data']['on_error'],
    ).rows
  else:
    joiner = config['task'].get('joiner', ' ')
    rows = typed(asked.task.kind, text, text_pair, joiner)
  shares = asked.mesh.devices.size
  size = -(-batch_size // shares) * shares
  predict = task_evaluation.make_predictor(asked, size, final=True)
  made, _ = predict(found.params, rows, asked.task.encode(rows))
  if output:
    glue = glue or config['task'].get('glue', '') if form == 'glue' else ''
    for path in predictions.write(made, pathlib.Path(output), form, glue):
      logging.info('Wrote %s.', path)
    return
  for one in made:
    json.dump(one, sys.stdout, ensure_ascii=False)
    print()


def typed(
  kind: str, texts: Sequence[str], pairs: Sequence[str], joiner: str
) -> tuple[Record, ...]:
  """Returns records for texts given on the command line."""
  if pairs and len(pairs) != len(texts):
    raise UserError(
      f'There are {len(texts)} --text and {len(pairs)} --text_pair. Give one'
      ' for each, or none.'
    )
  rows = []
  for number, text in enumerate(texts):
    row = {'id': str(number), 'where': f'--text {number + 1}'}
    if kind == 'texts':
      row |= {'text': text}
      row |= {'text_pair': pairs[number]} if pairs else {}
    elif kind == 'entities':
      # Characters are words if nothing joins words, or a non-ASCII text has no
      # spaces.
      alone = not joiner or (' ' not in text and not text.isascii())
      row |= {'words': list(text) if alone else text.split()}
    elif kind == 'questions':
      if not pairs:
        raise UserError('Give the question as --text_pair=QUESTION.')
      row |= {'context': text, 'question': pairs[number]}
    elif kind == 'pairs':
      row |= {'source': text}
    else:
      row |= {'turns': [text]}
    rows.append(row)
  return tuple(rows)


if __name__ == '__main__':
  command.run(main)
