"""Questions made of plain text: a sentence less a part of it asks for that part.

What a reader learns of them is to look for a sentence that shares words with a
question, and to point at what it has beside them (Lewis et al. 2019,
"Unsupervised question answering by cloze translation", of which this is the form
without translation: words are left out of the sentence, and it begins with a word
that asks).
"""

import json
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from lm.data import wikitext

WORDS = (40, 110)  # Of a context.
LEFT_OUT = 0.3  # The share of the words of a question.
EACH = 4  # Questions of one context, at most.

_SENTENCE = re.compile(r'(?<=[.!?])\s+(?=[A-Z"\'(])')
# Numbers, names of several words, and runs of words that nothing divides.
_NUMBER = re.compile(r'\b\d[\d,.]*\d\b|\b\d\b')
_NAME = re.compile(
  r'(?<=[a-z,] )[A-Z][\w’\'-]*(?: (?:of |the )?[A-Z][\w’\'-]*)*'
)
_PHRASE = re.compile(r'\b(?:the|a|an) ((?:[a-z-]+ ){0,2}[a-z-]{3,})\b')
_FUNCTION_WORDS = """
  and are as at been but by for from had has have his in into is its not of on or
  that than their to was were which who with would
"""
_STOP_WORDS = frozenset(_FUNCTION_WORDS.split())
_ASKS = {
  'number': ('when was', 'how many', 'in what year', 'what'),
  'name': ('who', 'where', 'what', 'which'),
  'phrase': ('what', 'which', 'what kind of'),
}


def write(
  files: Iterable[pathlib.Path], path: pathlib.Path, seed: int = 0
) -> int:
  """Writes the questions of WikiText files as JSON lines, and returns how many."""
  rows = list(questions(wikitext.articles(files), seed))
  with path.open('w', encoding='utf-8') as out:
    for number, row in enumerate(rows):
      print(json.dumps({'id': str(number), **row}), file=out)
  return len(rows)


def questions(texts: Iterable[str], seed: int) -> Iterator[Mapping[str, Any]]:
  """Yields records of questions, drawn by `seed`, of each text."""
  random = np.random.default_rng(seed)
  for text in texts:
    title = text.split('\n', 1)[0]
    for context in contexts(text):
      found = list(clozes(context))
      random.shuffle(found)
      for answer, start, kind, sentence in found[:EACH]:
        begin = random.choice(_ASKS[kind])
        left = [w for w in sentence if random.random() > LEFT_OUT]
        yield {
          'title': title,
          'context': context,
          'question': ' '.join([begin, *left]) + '?',
          'answers': [{'text': answer, 'start': start}],
        }


def contexts(text: str) -> Iterator[str]:
  """Yields the paragraphs of a text that are long enough, cut at a sentence."""
  fewest, most = WORDS
  for paragraph in text.split('\n'):
    kept, words = [], 0
    for sentence in _SENTENCE.split(paragraph):
      size = len(sentence.split())
      if kept and words + size > most:
        break
      kept.append(sentence)
      words += size
    if fewest <= words <= most:
      yield ' '.join(kept)


def clozes(context: str) -> Iterator[tuple[str, int, str, list[str]]]:
  """Yields what can be asked for: it, where it stands, its kind, the other words."""
  place = 0
  for sentence in _SENTENCE.split(context):
    begin = context.index(sentence, place)
    place = begin + len(sentence)
    for kind, pattern, group in (
      ('number', _NUMBER, 0),
      ('name', _NAME, 0),
      ('phrase', _PHRASE, 1),
    ):
      for match in pattern.finditer(sentence):
        start, stop = match.span(group)
        rest = (sentence[:start] + ' ' + sentence[stop:]).split()
        if kind == 'phrase' and not _STOP_WORDS.isdisjoint(
          match[group].split()
        ):
          continue
        if len(rest) >= 5:
          words = [word.strip('.,;:!?()"') for word in rest]
          yield match[group], begin + start, kind, [w for w in words if w]
