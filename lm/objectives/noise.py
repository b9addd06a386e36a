"""Which tokens are noise, and what a model reads and writes in their place.

Noise masks are random; what is made of a mask is not.
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
    density: The share of the tokens.
    mean_span: How many of them stand together on average.
  """

  density: float
  mean_span: float

  def counts(
    self, sizes: Int[np.ndarray, 'B']
  ) -> tuple[Int[np.ndarray, 'B'], Int[np.ndarray, 'B']]:
    """Returns how many tokens of such texts are noise, and in how many spans.

    As in T5's code: one at least, and one at least stays. A text of one token
    has none.
    """
    noise = np.round(sizes * self.density).astype(np.int64)
    noise = np.clip(noise, np.minimum(1, sizes - 1), sizes - 1).clip(0)
    spans = np.maximum(np.round(noise / self.mean_span), 1).astype(np.int64)
    return noise, np.minimum(spans, np.minimum(noise, sizes - noise))

  def widths(self, length: int) -> tuple[int, int]:
    """Returns the tokens of source and target, with those that end them."""
    noise, spans = (int(n[0]) for n in self.counts(np.array([length])))
    return length - noise + spans + 1, noise + spans + 1

  def most(self, length: int) -> int:
    """Returns how many spans a text has."""
    return int(self.counts(np.array([length]))[1][0])


def segment(
  items: Int[np.ndarray, 'B'],
  parts: Int[np.ndarray, 'B'],
  width: int,
  index: Int[np.ndarray, 'B'],
  seed: int,
  purpose: str,
) -> Int[np.ndarray, 'B P']:
  """Cuts `items` into `parts` of one or more, all ways being equally likely.

  Args:
    items: How many there are in each row.
    parts: How many to make of them; 0 of none.
    width: Of the rows: the most parts; after the last, 0.
    index: Of the examples.
    seed: Of the run.
    purpose: What this is for.
  """
  # Cuts are chosen from those after each item but the last.
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
  """Returns noise as T5 has it (Raffel et al. 2020, 3.1.4).

  Text and noise are cut at random into as many spans as each other, and these
  alternate: the first is text, and the last is noise.

  Args:
    shares: How much is noise.
    valid: The tokens of each row, on its left.
    index: Of the examples.
    seed: Of the run.
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
  """Returns the noise for which a target has room, and sentinels suffice.

  Args:
    noise: Which tokens are meant to be.
    room: How many tokens a target has, without the one that ends it.
    num_sentinels: How many spans can be marked.
  """
  spans = np.cumsum(first_of_spans(noise), axis=1)
  needed = np.cumsum(noise, axis=1) + spans
  return noise & (needed <= room) & (spans <= num_sentinels)


def first_of_spans(
  noise: Bool[np.ndarray, 'B L'],
) -> Bool[np.ndarray, 'B L']:
  """Returns which tokens are noise and come after none."""
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

  Each span of noise has a sentinel of its own. Where noise begins or ends a
  text, T5's code marks the text between in the target instead; for the masks
  that `in_spans` makes, the two are the same.
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
  """Raises UserError if a row has more spans than there are marks of them.

  Args:
    vocabulary: What has the sentinels.
    needed: How many spans a row can have.
    spare: How many of the sentinels stand for something else.
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
  """Raises UserError if setting `name` is no length of a span."""
  if value < 1:
    raise UserError(
      f'{name} is {value}, but a span has a token at least. Set'
      f' config.objective.{name} to 1 or more; T5 uses 3.'
    )
