"""Named entities in the IOB2 scheme: a tag for each word (Ramshaw and Marcus
1995; Tjong Kim Sang and Veenstra 1999).

    Alex   lives  in  New    York
    B-PER  O      O   B-LOC  I-LOC
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from lm.types import UserError

OUTSIDE = 'O'
TAG = re.compile('O|[BI]-.+', re.DOTALL)


class Span(NamedTuple):
  """An entity.

  Attributes:
    type: Its type.
    start: The index of its first word.
    end: The index after its last word.
  """

  type: str
  start: int
  end: int


def inventory(tags: Iterable[str]) -> tuple[str, ...]:
  """Returns all tags of the types that occur: O, then B-X and I-X of each.

  Both are included even if only entities of a single word were seen.

  Raises:
    UserError: A tag is not IOB2, or has no type.
  """
  seen = set(tags)
  for tag in sorted(seen):
    if not TAG.fullmatch(tag):
      raise UserError(
        f'{tag!r} is among the tags, and is none of O, B-TYPE and I-TYPE. Write'
        ' the tags of the data so, or those of config.task.labels.'
      )
  types = sorted({tag[2:] for tag in seen - {OUTSIDE}})
  return (OUTSIDE, *(f'{role}-{type}' for type in types for role in 'BI'))


def types_of(tags: Sequence[str]) -> tuple[str, ...]:
  """Returns the types of an inventory, in order."""
  return tuple(dict.fromkeys(tag[2:] for tag in tags if tag != OUTSIDE))


def check_inventory(tags: Sequence[str]) -> None:
  """Raises UserError unless these are all IOB2 tags of one or more types."""
  if sorted(tags) != sorted(inventory(tags)) or len(tags) < 2:
    raise UserError(
      f'The tags are {", ".join(tags) or "none"}, and these are not O with B-'
      ' and I- of one type at least, each once. Set config.task.labels to'
      ' them, or to None for those of the training data.'
    )


def spans(tags: Sequence[str]) -> list[Span]:
  """Returns the entities; an I- that continues none begins one."""
  found, start = [], None
  tags = [*tags, OUTSIDE]
  for place, tag in enumerate(tags):
    goes_on = start is not None and tag == f'I-{tags[start][2:]}'
    if start is not None and not goes_on:
      found.append(Span(tags[start][2:], start, place))
      start = None
    if tag != OUTSIDE and not goes_on:
      start = place
  return found


def tagged(entities: Iterable[Span], size: int) -> list[str]:
  """Returns the tags of `size` words with these entities among them."""
  tags = [OUTSIDE] * size
  for type, start, end in entities:
    tags[start:end] = [f'B-{type}', *[f'I-{type}'] * (end - start - 1)]
  return tags


def repaired(tags: Sequence[str]) -> list[str]:
  """Returns the tags with each I- that continues no entity turned into B-.

  This is how conlleval reads them: O I-X I-X is O B-X I-X.
  """
  return tagged(spans(tags), len(tags))


class Order(NamedTuple):
  """Which tag may occur where, as scores: 0, or -inf if it may not.

  Attributes:
    first: At the first word.
    after: After another tag, which selects the row.
  """

  first: Float[np.ndarray, 'C']
  after: Float[np.ndarray, 'C C']


def order(tags: Sequence[str]) -> Order:
  """Returns where each tag of an inventory may occur."""
  never = -np.inf
  first = [never if tag.startswith('I-') else 0.0 for tag in tags]
  after = [
    [
      never if tag.startswith('I-') and before[2:] != tag[2:] else 0.0
      for tag in tags
    ]
    for before in tags
  ]
  return Order(np.array(first), np.array(after))


def likeliest(
  scores: Shaped[np.ndarray, 'W C'], order: Order
) -> Int[np.ndarray, 'W']:
  """Returns the valid sequence of tags with the highest sum of scores.

  Uses Viterbi's algorithm (1967). Adding a constant to all scores of a word has
  no effect, so logits are as good as log-probabilities.
  """
  size, number = scores.shape
  came_from = np.zeros((size, number), np.int64)
  total = order.first.copy()
  for word in range(size):
    if word:
      reached = total[:, None] + order.after
      came_from[word] = reached.argmax(axis=0)
      total = reached.max(axis=0)
    total = total + scores[word]
  best = np.zeros(size, np.int64)
  last = int(total.argmax())
  for word in reversed(range(size)):
    best[word] = last
    last = came_from[word, last]
  return best
