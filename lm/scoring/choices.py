"""Multiple-choice questions, answered with the likeliest choice.

A line of a file of choices is a JSON object such as

  {"id": "1", "context": "The cat sat on the", "choices": ["mat", "sky"],
   "answer": 0}

and a line of a cloze file has a text with a blank instead of a context:

  {"id": "1", "text": "The ___ sat on the mat.", "choices": ["cat", "sky"],
   "answer": "cat"}

The answer is a number, counted from 0, or one of the choices.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from flax import linen as nn
from jaxtyping import Float64

from lm.data.tokenizers import Tokenizer
from lm.scoring import batches, records, texts
from lm.scoring.records import Record
from lm.scoring.texts import Scores, Span
from lm.types import PyTree, UserError

BLANK = re.compile('_{2,}')


class Question(NamedTuple):
  """A question with its choices.

  Attributes:
    id: Its id.
    spans: Each choice, with the text around it.
    answer: The index of the correct one.
  """

  id: str
  spans: tuple[Span, ...]
  answer: int


def read_choices(
  path: str, delimiter: str = ' ', limit: int = 0
) -> list[Question]:
  """Returns the questions of files with a context and its continuations.

  Args:
    path: A file of JSON lines, a directory of them, or a glob.
    delimiter: Put between a context and a choice, unless there is white space
      already, or no context.
    limit: The most questions to take; 0 means all.
  """
  return _read(path, limit, lambda record: _after(record, delimiter))


def read_cloze(path: str, limit: int = 0) -> list[Question]:
  """Returns the questions of files whose texts have a blank, `___`."""
  return _read(path, limit, _around)


def judge(
  model: nn.Module,
  params: PyTree,
  tokenizer: Tokenizer,
  questions: Sequence[Question],
  form: str,
  *,
  batch_tokens: int = batches.TOKENS,
  too_long: str = 'error',
) -> dict[str, Any]:
  """Returns the accuracies of a model; see `summary`."""
  spans = [span for question in questions for span in question.spans]
  found = texts.span_scores(
    model,
    params,
    tokenizer,
    spans,
    form,
    batch_tokens=batch_tokens,
    too_long=too_long,
  )
  return summary(questions, found)


def summary(questions: Sequence[Question], found: Scores) -> dict[str, Any]:
  """Returns the share of correct answers, by total and by mean log-probability.

  `accuracy` is by the total log-probability of a choice, and so is `right`,
  which has each question by its id; the others divide it by the number of
  tokens or bytes scored. A tie with another choice is wrong.
  """
  measures = {
    'accuracy': found.log_probs,
    'accuracy_per_token': found.log_probs / np.maximum(found.num_tokens, 1),
    'accuracy_per_byte': found.log_probs / np.maximum(found.num_bytes, 1),
  }
  sizes = [len(question.spans) for question in questions]
  right = {
    name: [*_right(questions, values)] for name, values in measures.items()
  }
  ids = (question.id for question in questions)
  return {name: float(np.mean(each)) for name, each in right.items()} | {
    'right': dict(zip(ids, right['accuracy'])),
    'chance': float(np.mean([1 / size for size in sizes])),
    'questions': len(questions),
    'tokens': int(found.num_tokens.sum()),
  }


def _right(
  questions: Sequence[Question], values: Float64[np.ndarray, 'N']
) -> Iterable[bool]:
  begin = 0
  for question in questions:
    own = values[begin : begin + len(question.spans)]
    begin += len(question.spans)
    others = np.delete(own, question.answer)
    yield bool(own[question.answer] > others.max())


def _read(path: str, limit: int, spans_of: Any) -> list[Question]:
  questions = []
  for file in records.find(path, ('.jsonl',)):
    for record in records.read(file):
      if limit and len(questions) == limit:
        return questions
      spans = spans_of(record)
      id = str(record.values.get('id', len(questions)))
      questions.append(Question(id, spans, _answer(record)))
  if not questions:
    raise UserError(
      f'{path} has no questions: all of its lines are blank. Set --data to a'
      ' file with a JSON object on each line.'
    )
  return questions


def _after(record: Record, delimiter: str) -> tuple[Span, ...]:
  context = records.text(record, 'context', empty=True)
  spans = []
  for number, choice in enumerate(_choices(record)):
    between = delimiter
    if not context or context[-1:].isspace() or choice[:1].isspace():
      between = ''
    name = f'{record.place}, choice {number},'
    spans.append(Span(context + between, choice, name=name))
  return tuple(spans)


def _around(record: Record) -> tuple[Span, ...]:
  text = records.text(record, 'text')
  before, *rest = BLANK.split(text)
  if len(rest) != 1:
    raise UserError(
      f'{record.place}, has {len(rest)} blanks in {text!r}, and there is to be'
      ' one. Write ___ where a choice stands.'
    )
  return tuple(
    Span(before, choice, rest[0], f'{record.place}, choice {number},')
    for number, choice in enumerate(_choices(record))
  )


def _choices(record: Record) -> list[str]:
  choices = record.values.get('choices')
  texts_only = isinstance(choices, list) and all(
    isinstance(choice, str) and choice.strip() for choice in choices
  )
  if not texts_only or len({*choices}) < len(choices) or len(choices) < 2:
    raise UserError(
      f'{record.place}, has {choices!r} in the field "choices", and there are to'
      ' be two texts or more, none empty and none twice. Mend the line.'
    )
  return choices


def _answer(record: Record) -> int:
  choices, answer = _choices(record), record.values.get('answer')
  if answer in choices:
    return choices.index(answer)
  is_number = isinstance(answer, int) and not isinstance(answer, bool)
  if is_number and 0 <= answer < len(choices):
    return answer
  raise UserError(
    f'{record.place}, has {answer!r} in the field "answer", which is neither a'
    f' choice of {choices} nor the number of one, 0 to {len(choices) - 1}. Mend'
    ' the line.'
  )
