"""Questions about a context, with answers at known offsets in it.

Examples:
  >>> read(Request('dev-v2.0.json'))
  {'id': '68cf05f6', 'where': 'dev-v2.0.json:entry 1', 'title': 'Normans',
   'context': 'The Normans ... to Normandy, a region in France. ...',
   'question': 'In what country is Normandy located?',
   'answers': [{'text': 'France', 'start': 159}]}

A context is never stripped, since offsets count its characters.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from lm.records import files, tables, tfds_records
from lm.records.files import Entry, Fault, File, Record, Request

_NAMES = ('id', 'context', 'question', 'answers', 'title', 'is_impossible')


def usual(names: Sequence[str]) -> dict[str, str]:
  """Returns the columns that hold the fields: those of the same name."""
  found = {name: name for name in _NAMES if name in names}
  return found if {'context', 'question'} <= found.keys() else {}


FIELDS = tables.Fields(_NAMES, ('context', 'question'), usual)


def squad(request: Request) -> Iterator[Record | Fault]:
  """Yields the questions of files in SQuAD's format, v1.1 or v2.0.

  (Rajpurkar et al. 2016 and 2018.) In v2.0, a question with `is_impossible` has
  no answers; plausible ones are ignored. An article without a title is named by
  its number.
  """
  for file in files.find(request.path):
    for entry in _squad_entries(file):
      yield record(entry)


def json_lines(request: Request) -> Iterator[Record | Fault]:
  """Yields the questions in the objects of JSON lines.

  Answers are a list of {'text', 'start'}, or of SQuAD's {'text',
  'answer_start'}, or one such object with a list in each.
  """
  return map(record, tables.json_lines(request, FIELDS))


def tfds(request: Request) -> Iterator[Record | Fault]:
  """Yields the questions of a TFDS dataset such as `squad/v2.0`."""
  return map(record, tfds_records.entries(request, FIELDS))


def record(entry: Entry | Fault) -> Record | Fault:
  """Returns the record of an entry, or its fault if a field is invalid."""
  if isinstance(entry, Fault):
    return entry
  fields, where = entry.fields, entry.where
  for name in ('context', 'question'):
    if not isinstance(fields.get(name), str):
      problem = f'its {name} is {fields.get(name)!r:.80}, not a text'
      return Fault(where, 'not a text', problem)
    if not fields[name].strip():
      return files.empty(where, name)
  found: dict[str, Any] = {
    'id': entry.own_id,
    'where': where,
    'title': str(fields.get('title') or ''),
    'context': fields['context'],
    'question': fields['question'].strip(),
  }
  if fields.get('is_impossible'):
    return found | {'answers': []}
  if fields.get('answers') is None:
    return found
  answers = _answers(where, fields['answers'])
  if isinstance(answers, Fault):
    return answers
  for answer in answers:
    if fault := _misplaced(where, answer, fields['context']):
      return fault
  return found | {'answers': answers}


def _answers(where: str, value: Any) -> list[dict[str, Any]] | Fault:
  """Returns answers in one format, whichever they have."""
  if isinstance(value, dict):
    texts = value.get('text')
    starts = value.get('start', value.get('answer_start'))
    if isinstance(texts, list) and isinstance(starts, list):
      value = [{'text': t, 'start': s} for t, s in zip(texts, starts)]
      value += [{}] * (len(texts) != len(starts))
  found = []
  for answer in value if isinstance(value, list) else [value]:
    if not isinstance(answer, dict):
      answer = {}
    text = answer.get('text')
    start = answer.get('start', answer.get('answer_start'))
    if not isinstance(text, str) or type(start) is not int:
      problem = (
        f"its answers are {value!r:.80}, not a list of {{'text': ..., 'start':"
        ' ...} with a text and a number of characters'
      )
      return Fault(where, 'answers that are none', problem)
    found.append({'text': text, 'start': start})
  return found


def _misplaced(
  where: str, answer: dict[str, Any], context: str
) -> Fault | None:
  text, start = answer['text'], answer['start']
  if not text.strip():
    return files.empty(where, 'answer')
  if start >= 0 and context.startswith(text, start):
    return None
  found = context[start : start + len(text)] if start >= 0 else ''
  places = [n for n in range(len(context)) if context.startswith(text, n)]
  nearest = min(places, key=lambda place: abs(place - start), default=None)
  elsewhere = 'nowhere' if nearest is None else f'at {nearest}'
  problem = (
    f'its answer {text!r:.80} does not stand at {start}, where its context has'
    f' {found!r:.80}, but {elsewhere}'
  )
  return Fault(where, 'an answer that is not at its offset', problem)


def _squad_entries(file: File) -> Iterator[Entry | Fault]:
  data = files.json_file(file)
  number = 0
  articles = _children(data, 'data', f'{file.name}:1')
  for place, article in enumerate(articles, start=1):
    here = f'{file.name}:article {place}'
    for paragraph in _children(article, 'paragraphs', here):
      for question in _children(paragraph, 'qas', here):
        if isinstance(question, Fault):
          yield question
          continue
        number += 1
        where, id = f'{file.name}:entry {number}', f'{file.stem}:{number}'
        if not isinstance(question, dict):
          problem = f'it is {question!r:.80}, not an object'
          yield Fault(where, 'not a question', problem)
          continue
        title = article.get('title', f'{file.stem}/{place}')
        fields = question | {'context': paragraph.get('context')}
        yield Entry(where, id, fields | {'title': title})


def _children(node: Any, key: str, where: str) -> list[Any]:
  """Returns the list `key` of a node, or a list of its fault."""
  if isinstance(node, Fault):
    return [node]
  children = node.get(key) if isinstance(node, dict) else None
  if isinstance(children, list):
    return children
  problem = f'it has no list {key!r}, so it is none of SQuAD'
  return [Fault(where, 'not as SQuAD', problem)]
