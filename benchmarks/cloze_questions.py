"""Cloze questions from plain text: the words around an answer ask for it.

They teach a reader to search for a sentence that shares words with the
question, and to point at the words beside them (Lewis et al. 2019,
"Unsupervised question answering by cloze translation", here without
translation: some words are dropped, in half of the questions those after the
answer come first, and all begin with a question word).
"""

import json
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from lm.data import wikitext

WORDS = (40, 110)  # The fewest and most words of a context.
LEFT_OUT = 0.3  # The share of a question's words that are dropped.
NEAR = (2, 9)  # Words used from each side of the answer in its sentence.
FEWEST = 5  # The fewest words of both sides together.
EACH = 4  # The most questions of one context.

_SENTENCE = re.compile(r'(?<=[.!?])\s+(?=[A-Z"\'(])')
# Numbers, names of one or more words, and noun phrases after an article.
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
  """Writes questions of WikiText files as JSON lines; returns their number."""
  rows = list(questions(wikitext.articles(files), seed))
  with path.open('w', encoding='utf-8') as out:
    for number, row in enumerate(rows):
      print(json.dumps({'id': str(number), **row}), file=out)
  return len(rows)


def questions(texts: Iterable[str], seed: int) -> Iterator[Mapping[str, Any]]:
  """Yields questions about each text as records, drawn by `seed`."""
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
  """Yields the paragraphs of suitable length, truncated after a sentence."""
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
  """Yields possible answers: text, offset, kind, words on both sides."""
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
  """Returns the words of a text, stripped of punctuation."""
  stripped = (word.strip('.,;:!?()"') for word in text.split())
  return [word for word in stripped if word]
