"""Questions made of plain text: what stands around a part asks for that part.

What a reader learns of them is to look for a sentence that shares words with a
question, and to point at what it has beside them (Lewis et al. 2019,
"Unsupervised question answering by cloze translation", of which this is the form
without translation: some words are left out, half of the questions begin with
what follows the answer, and all with a word that asks).
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
NEAR = (2, 9)  # Words of a sentence on each side of what is asked for.
FEWEST = 5  # Of both sides.
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
      for answer, start, kind, (before, after) in found[:EACH]:
        begin = random.choice(_ASKS[kind])
        sizes = random.integers(NEAR[0], NEAR[1], size=2, endpoint=True)
        before, after = before[-sizes[0] :], after[: sizes[1]]
        near = before + after if random.random() < 0.5 else after + before
        left = [word for word in near if random.random() > LEFT_OUT]
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


def clozes(
  context: str,
) -> Iterator[tuple[str, int, str, tuple[list[str], list[str]]]]:
  """Yields what can be asked for: it, where it stands, its kind, words around."""
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
        if kind == 'phrase' and not _STOP_WORDS.isdisjoint(
          match[group].split()
        ):
          continue
        sides = words(sentence[:start]), words(sentence[stop:])
        if sum(map(len, sides)) >= FEWEST:
          yield match[group], begin + start, kind, sides


def words(text: str) -> list[str]:
  """Returns the words of a text without marks around them."""
  stripped = (word.strip('.,;:!?()"') for word in text.split())
  return [word for word in stripped if word]
