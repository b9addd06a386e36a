"""Which tokens are noise, and the sources and targets that result.

Noise masks are random; what is derived from a mask is not.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from lm.data import randomness
from lm.objectives import rows
from lm.objectives.denoising import Texts
from lm.types import UserError, Vocabulary


class Spans(NamedTuple):
  """How much of a text is noise.

  Attributes:
    density: Fraction of the tokens that is noise.
    mean_span: Mean length of a span of noise.
  """

  density: float
  mean_span: float

  def counts(
    self, sizes: Int[np.ndarray, 'B']
  ) -> tuple[Int[np.ndarray, 'B'], Int[np.ndarray, 'B']]:
    """Returns the number of noise tokens in texts of these sizes, and of spans.

    As in T5's code, at least one token is noise, and at least one is not. A
    text of one token has no noise.
    """
    noise = np.round(sizes * self.density).astype(np.int64)
    noise = np.clip(noise, np.minimum(1, sizes - 1), sizes - 1).clip(0)
    spans = np.maximum(np.round(noise / self.mean_span), 1).astype(np.int64)
    return noise, np.minimum(spans, np.minimum(noise, sizes - noise))

  def widths(self, length: int) -> tuple[int, int]:
    """Returns the lengths of source and target, end tokens included."""
    noise, spans = (int(n[0]) for n in self.counts(np.array([length])))
    return length - noise + spans + 1, noise + spans + 1

  def most(self, length: int) -> int:
    """Returns the number of spans in a text of this length."""
    return int(self.counts(np.array([length]))[1][0])


def segment(
  items: Int[np.ndarray, 'B'],
  parts: Int[np.ndarray, 'B'],
  width: int,
  index: Int[np.ndarray, 'B'],
  seed: int,
  purpose: str,
) -> Int[np.ndarray, 'B P']:
  """Cuts `items` into `parts` of at least one item, uniformly at random.

  Args:
    items: Number of items in each row.
    parts: Number of parts in each row; 0 if it has no items.
    width: Maximum number of parts; the result is padded with 0.
    index: Indices of the examples.
    seed: Seed of the run.
    purpose: Name of the random stream.
  """
  # A cut may follow any item but the last.
  places = np.arange(1, max(items.max(initial=0), 2))
  scores = randomness.uniform(seed, purpose, index[:, None], places)
  scores = np.where(places < items[:, None], scores, np.inf)
  cut = rows.choose(scores, np.maximum(parts - 1, 0))
  ends, _ = rows.compact(np.broadcast_to(places, cut.shape), cut, width)
  number = np.arange(width)
  ends = np.where(number < parts[:, None] - 1, ends, items[:, None])
  return np.diff(ends, axis=1, prepend=0)


def in_spans(
  shares: Spans,
  valid: Bool[np.ndarray, 'B L'],
  index: Int[np.ndarray, 'B'],
  seed: int,
) -> Bool[np.ndarray, 'B L']:
  """Returns a noise mask as in T5 (Raffel et al. 2020, 3.1.4).

  Text and noise are cut at random into equal numbers of spans, which alternate:
  the first is text, and the last is noise.

  Args:
    shares: How much is noise.
    valid: The tokens of each row, on its left.
    index: Indices of the examples.
    seed: Seed of the run.
  """
  sizes, length = valid.sum(axis=1), valid.shape[1]
  noise, count = shares.counts(sizes)
  width = int(count.max(initial=1))
  turns = [
    segment(sizes - noise, count, width, index, seed, 'text spans'),
    segment(noise, count, width, index, seed, 'noise spans'),
  ]
  borders = np.cumsum(np.stack(turns, axis=-1).reshape(len(sizes), -1), axis=1)
  changes = np.zeros((len(sizes), length + 1), bool)
  np.put_along_axis(changes, borders, True, axis=1)
  return (np.cumsum(changes[:, :length], axis=1) % 2 == 1) & valid


def that_fits(
  noise: Bool[np.ndarray, 'B L'], room: int, num_sentinels: int
) -> Bool[np.ndarray, 'B L']:
  """Returns the noise that fits into the target and the number of sentinels.

  Args:
    noise: The intended noise mask.
    room: Maximum number of target tokens, without the end token.
    num_sentinels: Number of spans that can be marked.
  """
  spans = np.cumsum(first_of_spans(noise), axis=1)
  needed = np.cumsum(noise, axis=1) + spans
  return noise & (needed <= room) & (spans <= num_sentinels)


def first_of_spans(
  noise: Bool[np.ndarray, 'B L'],
) -> Bool[np.ndarray, 'B L']:
  """Returns a mask of the first token of each span of noise."""
  starts = noise.copy()
  starts[:, 1:] &= ~noise[:, :-1]
  return starts


def corrupt(
  tokens: Int[np.ndarray, 'B L'],
  noise: Bool[np.ndarray, 'B L'],
  valid: Bool[np.ndarray, 'B L'],
  sentinels: Int[np.ndarray, 'M'],
) -> Texts:
  """Returns the text without the noise, and the noise without the text.

      tokens  Thank you for inviting me to your party last week .
      noise     0    0   1     1     0  0   0    0     1    0   0
      source  Thank you <0> me to your party <1> week .
      target  <0> for inviting <1> last

  Each span of noise has a sentinel of its own. T5's code instead replaces each
  span of text in the target by a sentinel; the two are the same if the first
  span is text and the last is noise, as in masks from `in_spans`.
  """
  starts = first_of_spans(noise)
  number = np.maximum(np.cumsum(starts, axis=1) - 1, 0)
  marks = sentinels[np.minimum(number, len(sentinels) - 1)]
  return Texts(
    source=np.where(noise, marks, tokens),
    in_source=valid & (~noise | starts),
    target=np.stack([marks, tokens], axis=-1).reshape(len(tokens), -1),
    in_target=np.stack([starts, noise], axis=-1).reshape(len(tokens), -1),
  )


def check_sentinels(
  vocabulary: Vocabulary, needed: int, spare: int = 0
) -> None:
  """Raises UserError if a row can have more spans than there are sentinels.

  Args:
    vocabulary: Vocabulary with the sentinels.
    needed: Maximum number of spans in a row.
    spare: Number of sentinels that are used for something else.
  """
  usable = len(vocabulary.sentinel_ids) - spare
  if usable < needed:
    raise UserError(
      f'A row has up to {needed} spans of noise, and the tokenizer has'
      f' {max(usable, 0)} sentinels to mark them. Lower config.data.length, or'
      " set config.data.tokenizer to 'unigram' or a published one of T5; without"
      ' sentinels, config.objective.name can be infilling or prefix_lm.'
    )


def check_span(name: str, value: float) -> None:
  """Raises UserError if setting `name` is not a valid length of a span."""
  if value < 1:
    raise UserError(
      f'{name} is {value}, but a span has a token at least. Set'
      f' config.objective.{name} to 1 or more; T5 uses 3.'
    )
