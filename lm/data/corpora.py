"""Sources of text: documents, each for training or for validation.

Unless its source is already split, a document's side depends only on a hash of
its text. So sides do not change when files are added, moved or reordered, and
two copies of a document are never on different sides.
"""

import dataclasses
import functools
import hashlib
import itertools
import json
import operator
import pathlib
import re
import sys
from collections.abc import Callable, Iterable, Iterator

from lm.data import stdlib_prose, text_files, wikitext
from lm.types import UserError

SIDES = ('train', 'validation')
SPLITS = ('document', 'tail')
# Increment this when the same files and settings begin to give other text.
READING = 1

DIALOGUES = pathlib.Path(__file__).with_name('dialogues.jsonl')
SPEAKERS = {'en': ('User: ', 'Assistant: '), 'zh': ('用户：', '助手：')}


@dataclasses.dataclass(frozen=True)
class Corpus:
  """Text that is the same whenever it is read.

  Attributes:
    name: A name for messages and file names.
    parts: Each yields the documents of one side in a part of the text; can be
      pickled, and called wherever the files are.
    files: The files whose bytes determine the text.
    settings: What else determines the text and its sides.
  """

  name: str
  parts: tuple[Callable[[str], Iterator[str]], ...]
  files: tuple[pathlib.Path, ...]
  settings: tuple

  def documents(self, split: str) -> Iterator[str]:
    """Yields the documents of split 'train' or 'validation', in a fixed order.

    Raises:
      UserError: There are none, or a file is invalid.
    """
    if split not in SIDES:
      raise ValueError(f'split is {split!r}, but a corpus has {SIDES}.')
    documents = itertools.chain.from_iterable(
      part(split) for part in self.parts
    )
    first = next(documents, None)
    if first is None:
      raise UserError(
        f'The {split} split of {self.name} is empty: too few documents for a'
        ' share of them, decided by hash, to be any. Give more text, set'
        " config.data.validation nearer to 0.5, or, with source 'text',"
        " config.data.split='tail', which cuts the text itself."
      )
    yield first
    yield from documents

  def fingerprint(self) -> str:
    """Returns a hash of everything that determines the text and its sides."""
    settings = json.dumps((READING, *self.settings))
    total = hashlib.sha256(settings.encode())
    for file in self.files:
      total.update(b'gzip' if text_files.is_compressed(file) else b'')
      total.update(text_files.digest(file))
    return total.hexdigest()


def build(
  source: str,
  path: str = '',
  field: str = 'text',
  split: str = 'document',
  validation: float = 0.1,
) -> Corpus:
  """Returns the corpus that a config specifies.

  Args:
    source: A name in `SOURCES`.
    path: For `text`, `jsonl` and `wikitext` a file or a glob (`**` for
      sub-directories), or the URL of one, decompressed if its name ends in
      `.gz`; for `tfds` a dataset's name or `package.module:Class`. The other
      sources come with their text.
    field: The field (`jsonl`) or feature (`tfds`) with a document's text.
    split: `document`: each document is on one side; in the files of `text`, a
      blank line ends a document (as in BERT). `tail`, for `text` only: all
      files are one text, read into memory, whose end is for validation (as in
      nanoGPT).
    validation: The share for validation, of documents or of characters. A TFDS
      dataset with its own validation split uses that instead.
  """
  check(source, path, split, validation)
  return SOURCES[source](path, field, split, validation)


def side(document: str, validation: float) -> str:
  """Returns 'train' or 'validation', a function of the text alone.

  Args:
    document: The text.
    validation: The share of all possible texts that is for validation.
  """
  digest = hashlib.blake2b(document.encode(), digest_size=8).digest()
  below = int.from_bytes(digest, 'big') < validation * 2**64
  return 'validation' if below else 'train'


def check(source: str, path: str, split: str, validation: float) -> None:
  """Raises UserError unless a corpus is specified; nothing is looked for."""
  if source not in SOURCES:
    raise UserError(
      f'config.data.source is {source!r}, but there is no such source. Set it'
      f' to one of {", ".join(SOURCES)}.'
    )
  if source in EMBEDDED and path:
    raise UserError(
      f'config.data.path is {path!r}, but source {source!r} has its text with'
      ' it. Leave the path empty, or set config.data.source to'
      f' {" or ".join(name for name in SOURCES if name not in EMBEDDED)}.'
    )
  if source not in EMBEDDED and not path:
    raise UserError(
      f'config.data.path is empty, but source {source!r} has to be told where'
      ' its text is. Set config.data.path.'
    )
  if split not in SPLITS or (split == 'tail' and source != 'text'):
    raise UserError(
      f'config.data.split is {split!r}, but it is to be one of {SPLITS}, and'
      " 'tail' is for config.data.source 'text' alone. Set it to 'document'."
    )
  if not 0 < validation <= 1:
    raise UserError(
      f'config.data.validation is {validation}, but it is the share of the'
      ' text that is kept for validation. Set it above 0, and at most to 1.'
    )


def _by_hash(
  every: Callable[[], Iterable[str]], validation: float, split: str
) -> Iterator[str]:
  return (text for text in every() if side(text, validation) == split)


def _hashed(
  readers: Iterable[Callable[[], Iterable[str]]], validation: float
) -> tuple[Callable[[str], Iterator[str]], ...]:
  """Returns a part for each reader, with sides decided by hash."""
  return tuple(functools.partial(_by_hash, r, validation) for r in readers)


def _on_side(
  own: str, every: Callable[[], Iterator[str]], split: str
) -> Iterator[str]:
  """Returns the documents if `split` is their side `own`, else none."""
  return every() if split == own else iter(())


def _text(path: str, field: str, split: str, validation: float) -> Corpus:
  """Text files: a document is a run of lines between blank ones."""
  del field
  files = text_files.find(path)
  if split == 'tail':
    parts = (functools.partial(_ends, files, validation),)
  else:
    parts = _hashed(
      (
        functools.partial(text_files.paragraphs, spans)
        for spans in text_files.cut(files, after_blank=True)
      ),
      validation,
    )
  return Corpus(
    name=_name('text', pathlib.Path(path).name),
    parts=parts,
    files=files,
    settings=('text', split, validation),
  )


def _ends(
  files: Iterable[pathlib.Path], validation: float, split: str
) -> Iterator[str]:
  """Yields the beginning or the end of all files, as one text in memory."""
  text = ''.join(line for file in files for line in text_files.lines(file))
  cut = int(len(text) * (1 - validation))
  part = text[:cut] if split == 'train' else text[cut:]
  if part:
    yield part


def _jsonl(path: str, field: str, split: str, validation: float) -> Corpus:
  """JSON lines files: a document is the text in one field of an object."""
  del split
  files = text_files.find(path)
  readers = (
    functools.partial(text_files.fields, spans, field)
    for spans in text_files.cut(files, after_blank=False)
  )
  return Corpus(
    name=_name('jsonl', pathlib.Path(path).name),
    parts=_hashed(readers, validation),
    files=files,
    settings=('jsonl', field, validation),
  )


def _tfds(path: str, field: str, split: str, validation: float) -> Corpus:
  """A TFDS dataset: a document is the text of one feature."""
  del split
  from lm.data import tfds_text  # Importing TFDS takes a second.

  builder = tfds_text.prepare(path, field)
  if 'validation' in builder.info.splits:
    splits = SIDES
    parts = tuple(
      functools.partial(_on_side, side, every)
      for side in splits
      for every in tfds_text.readers(builder, field, side)
    )
  else:
    splits = ('train',)
    readers = tfds_text.readers(builder, field, 'train')
    parts = _hashed(readers, validation)
  return Corpus(
    name=_name('tfds', path),
    parts=parts,
    files=tuple(tfds_text.files(builder, splits)),
    settings=('tfds', field, splits, validation),
  )


def _wikitext(path: str, field: str, split: str, validation: float) -> Corpus:
  """WikiText's files: a document is an article, detokenized."""
  del field, split, validation  # Its files are already split.
  found = wikitext.sides(text_files.find(path))
  return Corpus(
    name=_name('wikitext', pathlib.Path(path).name),
    parts=tuple(
      functools.partial(
        _on_side, side, functools.partial(wikitext.articles, [file])
      )
      for side, files in found.items()
      for file in files
    ),
    files=(*found['train'], *found['validation']),
    settings=('wikitext',),
  )


def _stdlib(path: str, field: str, split: str, validation: float) -> Corpus:
  """English from Python itself: a document is a help topic or a docstring."""
  del path, field, split
  return Corpus(
    name='stdlib',
    parts=_hashed([stdlib_prose.documents], validation),
    files=stdlib_prose.files(),
    settings=('stdlib', sys.version_info[:2], validation),
  )


def _dialogues(path: str, field: str, split: str, validation: float) -> Corpus:
  """Short dialogues in English and Chinese, written for this project."""
  del path, field, split
  return Corpus(
    name='dialogues',
    parts=_hashed([_spoken], validation),
    files=(DIALOGUES,),
    settings=('dialogues', validation),
  )


def _spoken() -> Iterator[str]:
  for line in text_files.lines(DIALOGUES):
    dialogue = json.loads(line)
    speakers = itertools.cycle(SPEAKERS[dialogue['language']])
    yield '\n'.join(map(operator.add, speakers, dialogue['turns']))


def _name(source: str, path: str) -> str:
  return '-'.join([source, *re.findall(r'\w+', path)])


EMBEDDED = ('stdlib', 'dialogues')
SOURCES = {
  'text': _text,
  'jsonl': _jsonl,
  'tfds': _tfds,
  'wikitext': _wikitext,
  'stdlib': _stdlib,
  'dialogues': _dialogues,
}
