"""Scores a trained model zero-shot: see docs/zero_shot.md.

python -m experiments.score --workdir=runs/gpt --task=blimp --data=BLiMP.zip
python -m experiments.score --workdir=runs/bert --task=blimp --data=BLiMP.zip \\
    --form=pll --limit=100
python -m experiments.score --workdir=runs/t5 --task=choices --data=my.jsonl
python -m experiments.score --workdir=runs/gpt --task=perplexity \\
    --data=my.txt --stride=64
"""

import json
import pathlib
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from absl import logging

import lm
from experiments import command
from lm.data import text_files, wikitext
from lm.pretrained import Pretrained
from lm.scoring import choices, forms, minimal_pairs, records, windows
from lm.scoring.batches import TOKENS
from lm.types import UserError

TASKS = ('blimp', 'choices', 'cloze', 'perplexity')
DOCUMENTS = ('file', 'paragraphs', 'wikitext')
# The tasks that each of these flags applies to.
ONLY_OF = {
  'stride': ('perplexity',),
  'length': ('perplexity',),
  'documents': ('perplexity',),
  'delimiter': ('choices',),
  'too_long': ('choices', 'cloze'),
}


def main(
  workdir: str,
  task: str,
  data: str,
  form: str | None = None,
  stride: int | None = None,
  length: int | None = None,
  documents: str | None = None,
  delimiter: str | None = None,
  too_long: str | None = None,
  limit: int = 0,
  step: int | None = None,
  batch_tokens: int = TOKENS,
  out: str | None = None,
  answers: str | None = None,
) -> None:
  """Prints a table on stderr, and JSON on the last line of stdout.

  Args:
    workdir: The workdir of a run, or a Hugging Face directory; or the URL of
      either.
    task: blimp, choices, cloze or perplexity.
    data: BLiMP.zip or its directory; JSON lines; or a text.
    form: The form of scoring: left_to_right for a GPT; pll or pll_word_l2r for
      a BERT; spans or target for a T5. By default the one that fits its
      training.
    stride: For perplexity: how many tokens the window advances. By default half
      of it.
    length: For perplexity: the number of tokens of the window. By default the
      most that the model reads.
    documents: For perplexity: the units to score independently, file,
      paragraphs (between blank lines) or wikitext (its articles, detokenized).
      By default file.
    delimiter: For choices: the text between a context and a choice. By default
      a space.
    too_long: For choices and cloze: error, or cut to truncate the text around a
      choice. By default error.
    limit: The most questions, documents, or pairs of each paradigm to take; 0
      means all.
    step: The checkpoint; by default the best, by config.checkpoint.best, or
      else the newest.
    batch_tokens: The most tokens of a batch.
    out: A file to write the JSON to as well.
    answers: For questions and pairs: a file for one line per item, with its id
      and whether the answer is right.
  """
  if task not in TASKS:
    raise UserError(
      f'--task is {task!r}, and it is to be one of {", ".join(TASKS)}.'
    )
  given = {
    'stride': stride,
    'length': length,
    'documents': documents,
    'delimiter': delimiter,
    'too_long': too_long,
  }
  options = {name: value for name, value in given.items() if value is not None}
  for name in options:
    if task not in ONLY_OF[name]:
      raise UserError(
        f'--{name} is of --task={" or ".join(ONLY_OF[name])}, and the task is'
        f' {task!r}. Omit it.'
      )
  for path in filter(None, (out, answers)):
    _check_writable(path)
  tasks = {
    'blimp': judge_pairs,
    'choices': judge_choices,
    'cloze': judge_choices,
    'perplexity': measure,
  }
  found = lm.load(workdir, step)
  fitting = form_for(found, workdir)
  form = form or fitting
  began = time.perf_counter()
  result = tasks[task](
    found, task, data, form, limit, batch_tokens=batch_tokens, **options
  )
  seconds = time.perf_counter() - began
  right = result.pop('right', {})
  if answers:
    lines = ({'id': id, 'right': is_right} for id, is_right in right.items())
    text = ''.join(json.dumps(line) + '\n' for line in lines)
    pathlib.Path(answers).write_text(text, 'utf-8')
  told = {} if found.step is None else {'step': found.step}
  told |= {'task': task, 'form': form, **result, 'seconds': seconds}
  if out:
    pathlib.Path(out).write_text(json.dumps(told, indent=2) + '\n', 'utf-8')
  command.report(told)


def form_for(found: Pretrained, workdir: str) -> str:
  """Returns the form of scoring that fits a model's training."""
  if found.tokenizer is None:
    raise UserError(
      f'{workdir} has no tokenizer, so text cannot be read there. Give the'
      ' --workdir of a run that was trained on text.'
    )
  objective = found.config.get('objective', {}).get('name')
  return forms.default(found.model.form, found.tokenizer.vocabulary, objective)


def judge_pairs(
  found: Pretrained, task: str, data: str, form: str, limit: int, **options: Any
) -> dict[str, Any]:
  """Returns the accuracies on minimal pairs, and prints their table."""
  del task
  pairs = minimal_pairs.read(data, limit)
  logging.info('%d pairs are scored.', len(pairs))
  result = minimal_pairs.judge(*_trained(found), pairs, form, **options)
  about = {pair.paradigm: pair.phenomenon for pair in pairs}
  table(_pair_rows(result, about, minimal_pairs.authors(data)))
  return result | {
    'authors': {k: v / 100 for k, v in minimal_pairs.AUTHORS.items()},
    'chance': minimal_pairs.CHANCE / 100,
  }


def judge_choices(
  found: Pretrained, task: str, data: str, form: str, limit: int, **options: Any
) -> dict[str, Any]:
  """Returns the accuracies on multiple choice or cloze, and prints them."""
  if task == 'cloze':
    questions = choices.read_cloze(data, limit)
  else:
    delimiter = options.pop('delimiter', ' ')
    questions = choices.read_choices(data, delimiter, limit)
  result = choices.judge(*_trained(found), questions, form, **options)
  rows = [(f'{len(questions)} questions', f'by {form}')]
  rows += [
    (name, f'{100 * value:.1f}')
    for name, value in result.items()
    if name.startswith('accuracy') or name == 'chance'
  ]
  table(rows)
  return result


def measure(
  found: Pretrained,
  task: str,
  data: str,
  form: str,
  limit: int,
  documents: str = 'file',
  **options: Any,
) -> dict[str, Any]:
  """Returns the perplexities of a text, and prints them."""
  del task
  if documents not in DOCUMENTS:
    raise UserError(
      f'--documents is {documents!r}, and it is to be one of'
      f' {", ".join(DOCUMENTS)}.'
    )
  files = records.find(data, ('.txt',))
  read = {
    'file': lambda: (''.join(text_files.lines(file)) for file in files),
    'paragraphs': lambda: text_files.paragraphs(map(text_files.Span, files)),
    'wikitext': lambda: wikitext.articles(files),
  }[documents]
  texts = [text for text in read() if text.strip()][: limit or None]
  if not texts:
    raise UserError(f'{data} has no text. Set --data to a file that has.')
  scored = windows.likelihoods(*_trained(found), texts, form, **options)
  length, stride = windows.resolve(
    found.model.config.max_len, options.get('length'), options.get('stride')
  )
  result = {'length': length, 'stride': stride, **windows.perplexity(scored)}
  table(
    (name, f'{value:.4f}' if isinstance(value, float) else str(value))
    for name, value in result.items()
  )
  return result


def table(rows: Any) -> None:
  """Prints rows as aligned columns on stderr, the first to the left."""
  rows = [*rows]
  widths = [max(map(len, column)) for column in zip(*rows)]
  for first, *others in rows:
    cells = [first.ljust(widths[0])]
    cells += [cell.rjust(width) for cell, width in zip(others, widths[1:])]
    print('  '.join(cells).rstrip(), file=sys.stderr)


def _pair_rows(
  result: Mapping[str, Any],
  about: Mapping[str, str],
  authors: Mapping[str, Mapping[str, float]],
) -> Sequence[tuple[str, ...]]:
  """Returns the accuracies in per cent, beside the authors' if known."""
  models = list(authors) or list(minimal_pairs.AUTHORS)

  def row(name, value, theirs):
    known = [f'{theirs[m]:.1f}' if m in theirs else '' for m in models]
    return (name, f'{100 * value:.1f}', *known)

  def mean(names):
    return {
      m: sum(authors[m][n] for n in names) / len(names)
      for m in authors
      if authors[m].keys() >= {*names} and names
    }

  rows = [('paradigm', 'this model', *models)]
  for name, value in result['paradigms'].items():
    rows.append(row(name, value, mean([name])))
  rows.append(('phenomenon', '', *[''] * len(models)))
  for name, value in result['phenomena'].items():
    rows.append(row(name, value, mean([p for p in about if about[p] == name])))
  count = len(result['paradigms'])
  rows.append(
    row(
      f'mean of {count} paradigms (the authors: of 67)',
      result['accuracy'],
      minimal_pairs.AUTHORS,
    )
  )
  chance = [f'{minimal_pairs.CHANCE:.1f}'] * (1 + len(models))
  return [*rows, ('chance', *chance)]


def _trained(found: Pretrained) -> tuple[Any, Any, Any]:
  return found.model, found.params, found.tokenizer


def _check_writable(out: str) -> None:
  folder = pathlib.Path(out).absolute().parent
  if not folder.is_dir():
    raise UserError(
      f'--out is {out!r}, but there is no directory {folder}. Make it first.'
    )


if __name__ == '__main__':
  command.run(main)
