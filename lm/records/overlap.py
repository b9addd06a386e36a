"""Contamination: how much of a test set also occurs in the training set.

As in GPT-3 (Brown et al. 2020, appendix C), a text is dirty if any of its word
N-grams occurs in the training set, ignoring case and punctuation. There, N is
the 5th percentile of the length of the test texts, clipped to 8 to 13. A
character of Chinese or Japanese counts as a word.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

LEAST, MOST = 8, 13
# A character of a script without spaces, or a run of letters and digits.
_WORD = re.compile(
  r'[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]'
  r'|[^\W_\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff'
  r'\U00020000-\U0003ffff]+'
)


class Overlap(NamedTuple):
  """How many texts of a test set are in a training set.

  Attributes:
    texts: The number of texts of the test set.
    exact: How many have the same words, in order, as one training text.
    usual: The N of the GPT-3 paper for this test set.
    ngrams: By N: how many share an N-gram with the training set.
    long: By N: how many have N words or more, and so can share one.
  """

  texts: int
  exact: int
  usual: int
  ngrams: Mapping[int, int]
  long: Mapping[int, int]

  def shares(self) -> dict[str, float]:
    """Returns the share of texts that are in the training set."""
    found = {'exact': self.exact / self.texts}
    for n, count in self.ngrams.items():
      found[f'{n}-gram'] = count / self.texts
    return found


def words(text: str) -> list[str]:
  """Returns the words of a text in lower case, without punctuation.

  Examples:
    >>> words("It's 2 o'clock: 你好!")
    ['its', '2', 'oclock', '你', '好']
  """
  plain = unicodedata.normalize('NFKC', text).casefold()
  return _WORD.findall(re.sub(r"['’_]", '', plain))


def overlap(
  train: Iterable[str], test: Iterable[str], sizes: Sequence[int] = ()
) -> Overlap:
  """Returns how many texts of `test` are, whole or in part, in `train`.

  Args:
    train: The training texts, read once.
    test: The test texts.
    sizes: The values of N; () means 8 and 13.
  """
  tested = [_words(text) for text in test]
  if not tested:
    raise ValueError('test has no texts, so there is no share of them.')
  sizes = tuple(sizes) or (LEAST, MOST)
  # Only what is searched for is kept: the training set may be much larger.
  wanted = {
    n: {gram for text in tested for gram in _ngrams(text, n)} for n in sizes
  }
  whole = set(tested)
  found = {n: set() for n in sizes}
  exact = set()
  for text in train:
    text = _words(text)
    exact.update({text} & whole)
    for n in sizes:
      found[n].update(wanted[n].intersection(_ngrams(text, n)))
  return Overlap(
    len(tested),
    sum(text in exact for text in tested),
    usual_size([len(text) for text in tested]),
    {
      n: sum(not found[n].isdisjoint(_ngrams(text, n)) for text in tested)
      for n in sizes
    },
    {n: sum(len(text) >= n for text in tested) for n in sizes},
  )


def usual_size(lengths: Sequence[int]) -> int:
  """Returns the N of the GPT-3 paper for texts of these lengths in words."""
  rank = int(0.05 * len(lengths))
  return min(max(sorted(lengths)[rank], LEAST), MOST)


def table(found: Mapping[str, Overlap]) -> str:
  """Returns a printable table of the overlaps of sets, by name.

  For instance:

      set  texts  exact      GPT-3  8-gram
      dev  300    12 (4.0%)  N=8    30 (10.0%), 120 as long
  """
  sizes = sorted({n for one in found.values() for n in one.ngrams})
  rows = [['set', 'texts', 'exact', 'GPT-3', *(f'{n}-gram' for n in sizes)]]
  for name, one in found.items():
    cells = [name, f'{one.texts:,}', _share(one.exact, one.texts)]
    cells.append(f'N={one.usual}')
    for n in sizes:
      cell = _share(one.ngrams[n], one.texts) if n in one.ngrams else ''
      cells.append(f'{cell}, {one.long[n]:,} as long' if cell else '')
    rows.append(cells)
  widths = [max(map(len, column)) for column in zip(*rows)]
  lines = [
    '  '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
    for row in rows
  ]
  return '\n'.join(lines)


def _words(text: str) -> tuple[str, ...]:
  """Returns the words of a text, or itself if it has none, such as '?!'."""
  return tuple(words(text)) or (text.strip(),)


def _share(count: int, total: int) -> str:
  return f'{count:,} ({100 * count / total:.1f}%)'


def _ngrams(text: Sequence[str], n: int) -> Iterable[tuple[str, ...]]:
  return zip(*(text[start:] for start in range(n)))
