"""Answers by word overlap alone: a baseline that a trained reader must beat.

The sliding-window baseline of SQuAD (Rajpurkar et al. 2016, section 5.1): among
the candidates in the sentences that share most with the question, the one
surrounded by most of its rare words (Richardson et al. 2013, algorithms 1 and
2).
"""

import itertools
import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

# Function words of English and German, and characters of Chinese.
_FUNCTION_WORDS = """
  a about after all also although an and any are as at be because been before
  being between both but by can could did do does during each for from had has
  have having he her his how i if in into is it its itself many may more most
  much must no not of on one or other our over she should since so some such
  than that the their them then there these they this those through to under
  until up was we were what when where which while who whom whose why will with
  would you your
  aber als am an auch auf aus bei bis das dass dem den der des die durch ein
  eine einem einen einer er es für hat im in ist kein mit nach nicht oder sich
  sie sind um und unter von vor war waren was welche welcher welches wer werden
  wie viele wird wo wurde wurden zu zum zur über
  的 了 在 是 和 与 及 或 被 把 将 从 到 对 于 为 以 之 而 也 都 就 又 不 有 这
  那 其 他 她 它 们 什 么 谁 哪 何 几 个 些 吗 呢 着 过 地 得 所 因 由 但 並 與
  這 個 們 為 對 於 將 從 來 哪 誰 麼 幾
"""
_STOP_WORDS = frozenset(_FUNCTION_WORDS.split())
_ENDS = frozenset('.!?。！？')
_CHINESE = '\u3400-\u9fff'
_WORD = re.compile(
  rf'\d+(?:[.,]\d+)*|[{_CHINESE}]'
  rf"|[^\W\d{_CHINESE}](?:[-'’]?[^\W{_CHINESE}])*|[^\w\s]"
)


class _Token(NamedTuple):
  """A word, a Chinese character or a punctuation mark, in lower case."""

  text: str
  start: int
  end: int

  @property
  def tells(self) -> bool:
    """Whether it is a content word: neither a mark nor a function word."""
    return self.text not in _STOP_WORDS and self.text[0].isalnum()


class _Span(NamedTuple):
  """Tokens `start` to `stop - 1` of a context."""

  start: int
  stop: int


def answer(question: str, context: str) -> str:
  """Returns a part of `context`; '' if it has no candidate.

  A candidate is a maximal run of words of one sentence without function words,
  marks or words of the question. (In the paper, candidates are the constituents
  of a parse.)
  """
  tokens = _tokens(context)
  asked = _tokens(question)
  words = {token.text for token in asked if token.text[0].isalnum()}
  shared = _grams([token.text for token in asked])
  best, kept = 0, []
  for sentence in _sentences(tokens):
    for span in _candidates(tokens, sentence, words):
      around = [
        *(token.text for token in tokens[sentence.start : span.start]),
        *(token.text for token in tokens[span.stop : sentence.stop]),
      ]
      overlap = len(_grams(around) & shared)
      if overlap > best or not kept:
        best, kept = overlap, []
      if overlap == best:
        kept.append(span)
  if not kept:
    return ''
  window = _Window(tokens, words)
  chosen = max(kept, key=window.score)  # The first of equals.
  return context[tokens[chosen.start].start : tokens[chosen.stop - 1].end]


def _tokens(text: str) -> list[_Token]:
  return [
    _Token(match[0].lower(), *match.span()) for match in _WORD.finditer(text)
  ]


def _grams(words: Sequence[str]) -> set[tuple[str, ...]]:
  """Returns the set of unigrams and bigrams, ignoring punctuation marks."""
  words = [word for word in words if word[0].isalnum()]
  return {(word,) for word in words} | {*itertools.pairwise(words)}


def _sentences(tokens: Sequence[_Token]) -> list[_Span]:
  ends = [i + 1 for i, token in enumerate(tokens) if token.text in _ENDS]
  edges = sorted({0, *ends, len(tokens)})
  return [_Span(*edge) for edge in itertools.pairwise(edges)]


def _candidates(
  tokens: Sequence[_Token], sentence: _Span, asked: set[str]
) -> list[_Span]:
  found, start = [], None
  for place in range(sentence.start, sentence.stop + 1):
    token = tokens[place] if place < sentence.stop else None
    inside = token is not None and token.tells and token.text not in asked
    if inside and start is None:
      start = place
    elif not inside and start is not None:
      found.append(_Span(start, place))
      start = None
  return found


class _Window:
  """Scores the candidates of one context for one question."""

  def __init__(self, tokens: Sequence[_Token], asked: set[str]):
    self.tokens, self.asked = tokens, asked
    # A window counts words, not marks.
    self.texts = [token.text for token in tokens if token.text[0].isalnum()]
    counts = Counter(self.texts)
    self.content = {word: math.log(1 + 1 / n) for word, n in counts.items()}
    self.places = [
      place
      for place, word in enumerate(self.texts)
      if word in asked and word not in _STOP_WORDS
    ]

  def score(self, span: _Span) -> float:
    """Returns the weight of the best window minus the distance of the span."""
    own = {token.text for token in self.tokens[span.start : span.stop]}
    wanted = self.asked | own
    weights = [
      self.content[word] if word in wanted else 0.0 for word in self.texts
    ]
    sums = [0.0]
    for weight in weights:
      sums.append(sums[-1] + weight)
    size = min(len(wanted), len(weights))
    best = max(sums[i + size] - sums[i] for i in range(len(weights) - size + 1))
    return best - self._distance(own)

  def _distance(self, own: set[str]) -> float:
    """Returns the least distance to a question word, as a share of the text."""
    mine = [place for place, word in enumerate(self.texts) if word in own]
    if not self.places or len(self.texts) < 2:
      return 1.0
    nearest = min(abs(here - there) for here in mine for there in self.places)
    return nearest / (len(self.texts) - 1)
