"""Dialogues: alternating turns of two speakers.

Examples:
  >>> read(Request('train.zip'))
  {'id': 'dialogues_train:1', 'where': 'train.zip!train/dialogues_train.txt:1',
   'turns': ['Say , Jim , how about going for a few beers after dinner ?', ...]}
"""

from collections.abc import Iterator, Sequence
from typing import Any

from lm.records import files, tables
from lm.records.files import Entry, Fault, File, Record, Request

# In DailyDialog's archives; their other files hold labels, one for each turn.
_DIALOGUES = '*dialogues_[!ae]*.txt'
_END_OF_TURN = '__eou__'


def usual(names: Sequence[str]) -> dict[str, str]:
  """Returns the columns that hold the fields: those of the same name."""
  found = {name: name for name in ('id', 'turns') if name in names}
  return found if 'turns' in found else {}


FIELDS = tables.Fields(('id', 'turns'), ('turns',), usual)


def dailydialog(request: Request) -> Iterator[Record | Fault]:
  """Yields the dialogues of DailyDialog's archives or text files, one per line.

  (Li et al. 2017.) `__eou__` ends a turn; act and emotion labels are ignored.
  """
  for file in files.find(request.path, _DIALOGUES):
    for number, text in files.lines(file):
      where = f'{file.name}:{number}'
      *turns, rest = text.split(_END_OF_TURN)
      turns += [rest] if rest.strip() else []
      fault = files.not_text(where, text)
      entry = Entry(where, f'{file.stem}:{number}', {'turns': turns})
      yield fault or record(entry)


def kdconv(request: Request) -> Iterator[Record | Fault]:
  """Yields the dialogues of KdConv's files (Zhou et al. 2020).

  The knowledge annotations of turns are ignored.
  """
  for entry in _objects(request):
    if isinstance(entry, Fault):
      yield entry
      continue
    messages = entry.fields.get('messages')
    turns = [
      message.get('message') if isinstance(message, dict) else None
      for message in (messages if isinstance(messages, list) else ())
    ]
    yield record(entry._replace(fields={'turns': turns}))


def chatterbot(request: Request) -> Iterator[Record | Fault]:
  """Yields the conversations of YAML files in ChatterBot's format."""
  for file in files.find(request.path):
    for entry in _yaml_entries(file):
      yield record(entry)


def instructions(request: Request) -> Iterator[Record | Fault]:
  """Yields instructions and answers as dialogues of two turns.

  Files are like Alpaca's (Taori et al. 2023): JSON, or JSON lines, of objects
  with `instruction`, `input` (may be empty) and `output`. They become

      {instruction}                                   without an input
      {instruction}, an empty line, {input}           with an input
      {output}                                        the second turn
  """
  for entry in _objects(request):
    if isinstance(entry, Fault):
      yield entry
      continue
    fields = entry.fields
    told = fields.get('instruction')
    if isinstance(told, str) and fields.get('input'):
      told = f'{told.strip()}\n\n{fields["input"]}' if told.strip() else told
    turns = [told]
    if 'output' in fields:  # Absent if it is still to be answered.
      turns.append(fields['output'])
    yield record(entry._replace(fields={'turns': turns}))


def json_lines(request: Request) -> Iterator[Record | Fault]:
  """Yields the dialogues in the objects of JSON lines: {"turns": ["...", ...]}."""
  return map(record, tables.json_lines(request, FIELDS))


def record(entry: Entry | Fault) -> Record | Fault:
  """Returns the record of an entry, or its fault if turns are not texts."""
  if isinstance(entry, Fault):
    return entry
  where, turns = entry.where, entry.fields.get('turns')
  if not isinstance(turns, list) or not all(isinstance(t, str) for t in turns):
    problem = f'its turns are {turns!r:.80}, not a list of texts'
    return Fault(where, 'turns that are no texts', problem)
  if not turns:
    return files.empty(where, 'list of turns')
  for number, turn in enumerate(turns, start=1):
    if not turn.strip():
      return files.empty(where, f'turn {number}')
  found: dict[str, Any] = {
    'id': entry.own_id,
    'where': where,
    'turns': [turn.strip() for turn in turns],
  }
  return found


def _objects(request: Request) -> Iterator[Entry | Fault]:
  """Yields the objects of JSON lines, or those of a list in a JSON file."""
  for file in files.find(request.path):
    if '.jsonl' in file.name:
      yield from files.json_lines(file)
      continue
    data = files.json_file(file)
    if isinstance(data, Fault):
      yield data
      continue
    if not isinstance(data, list):
      problem = f'it is JSON, but {type(data).__name__} and not a list'
      yield Fault(f'{file.name}:1', 'not a list', problem)
      continue
    for number, value in enumerate(data, start=1):
      where = f'{file.name}:entry {number}'
      if isinstance(value, dict):
        yield Entry(where, f'{file.stem}:{number}', value)
      else:
        problem = f'it is {value!r:.80}, not an object'
        yield Fault(where, 'not an object', problem)


def _yaml_entries(file: File) -> Iterator[Entry | Fault]:
  import yaml  # Only this format needs it.

  texts = []
  for number, text in files.lines(file):
    if fault := files.not_text(f'{file.name}:{number}', text):
      yield fault
      return
    texts.append(text)
  try:
    # Nodes keep their line numbers, and values such as numbers as text.
    root = yaml.compose('\n'.join(texts), yaml.SafeLoader)
  except yaml.YAMLError as error:
    mark = getattr(error, 'problem_mark', None)
    where = f'{file.name}:{mark.line + 1 if mark else 1}'
    reason = getattr(error, 'problem', None) or str(error)
    yield Fault(where, 'not YAML', f'this is not YAML: {reason}')
    return
  lists = [
    value
    for key, value in (root.value if isinstance(root, yaml.MappingNode) else ())
    if key.value == 'conversations' and isinstance(value, yaml.SequenceNode)
  ]
  if not lists:
    problem = "it has no list 'conversations'"
    yield Fault(f'{file.name}:1', 'no conversations', problem)
    return
  for number, node in enumerate(lists[0].value, start=1):
    where = f'{file.name}:{node.start_mark.line + 1}'
    turns = node.value
    if isinstance(node, yaml.SequenceNode):
      scalar = yaml.ScalarNode
      turns = [t.value if isinstance(t, scalar) else None for t in turns]
    yield Entry(where, f'{file.stem}:{number}', {'turns': turns})
