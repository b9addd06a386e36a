"""Replies to the previous turns of a dialogue, or to instructions.

By default the second speaker replies, and only the replies are targets:

    turns   Hi. | Hello! | How are you? | Fine.
    read                                                written
    User: Hi.\\nAssistant:                               Hello!
    User: Hi.\\nAssistant: Hello!\\nUser: How are you?\\nAssistant:   Fine.

A plain GPT trained on dialogues with such marks continues the same text.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
from absl import logging
from jaxtyping import Int

from lm.data.buckets import Ragged, Table
from lm.data.corpora import SPEAKERS
from lm.data.tokenizers import Tokenizer
from lm.tasks import metrics, written
from lm.tasks.task import (
  Answers,
  Prediction,
  Reader,
  Record,
  Scores,
  Task,
  check_objective,
)
from lm.types import UserError


class Exchange(NamedTuple):
  """A reply and the turns that it replies to.

  Attributes:
    record: The index of its dialogue.
    turns: The turns before it, the last one being replied to.
    reply: The reply, '' if unknown.
  """

  record: int
  turns: tuple[str, ...]
  reply: str


def dialogue(
  reader: Reader,
  train: Callable[[], Sequence[Record]],
  *,
  speakers: tuple[str, ...] = SPEAKERS['en'],
  replies: Literal['second', 'every'] = 'second',
  context_turns: int = 0,
  unit: Literal['words', 'characters'] = 'words',
  baseline: bool = True,
  beams: int = 1,
  eval_beams: int = 1,
  length_penalty: float = 1.0,
  max_new_tokens: int = 0,
) -> Task:
  """Returns the task.

  Args:
    reader: How the model reads.
    train: Returns the training dialogues.
    speakers: The marks before the turns of the speaker being replied to and of
      the one who replies.
    replies: Which turns are targets: those of the 'second' speaker, such as an
      assistant, or 'every' one but the first, as between people.
    context_turns: The most turns to read; 0 means as many as fit.
    unit: What distinct-n counts: use 'characters' for Chinese.
    baseline: Whether to report `unigram_loss`, the loss on the same tokens of
      a unigram model of the training replies.
    beams: Beam width; 1 means greedy decoding.
    eval_beams: Beam width for the evaluations during training.
    length_penalty: For beam search: the higher, the longer the texts.
    max_new_tokens: The most tokens of a reply; 0 means
      config.data.target_length.
  """
  check_objective('dialogue', reader.objective, 'answers')
  check_speakers(speakers)
  _check_turns(context_turns)

  def encode(rows: Sequence[Record]) -> Table:
    found = list(exchanges(rows, replies))
    source = _sources(reader, found, speakers, context_turns)
    target = _targets(reader, found)
    record = np.array([one.record for one in found], np.int64)
    return written.table(source, target, record)

  @functools.cache
  def learned() -> Int[np.ndarray, 'M']:
    return _targets(reader, exchanges(train(), replies)).values

  def predict(
    rows: Sequence[Record], table: Table, answers: Answers
  ) -> list[Prediction]:
    shown = itertools.islice(exchanges(rows, replies), written.SHOWN)
    for one, text in zip(shown, answers.texts):
      asked = ''.join(lines(one.turns, speakers))
      written.say(asked, text, one.reply or None)
    return _by_dialogue(rows, table, answers)

  def score(
    rows: Sequence[Record], predictions: Sequence[Prediction]
  ) -> Scores:
    texts = [text for one in predictions for text in one['prediction']]
    scores = metrics.dialogue(texts, unit)
    if baseline:
      asked = _targets(reader, exchanges(rows, replies)).values
      size = reader.tokenizer.vocab_size
      scores['unigram_loss'] = unigram_nats(learned(), asked, size)
    return scores

  return Task(
    encode=encode,
    predict=predict,
    score=score,
    writing=written.writing(
      reader, max_new_tokens, beams, eval_beams, length_penalty
    ),
  )


def _by_dialogue(
  rows: Sequence[Record], table: Table, answers: Answers
) -> list[Prediction]:
  """Returns the replies that were generated for each dialogue."""
  said: list[list[str]] = [[] for _ in rows]
  for number, text in zip(table.single['record'], answers.texts):
    said[number].append(text)
  return [{'id': row['id'], 'prediction': own} for row, own in zip(rows, said)]


def check_speakers(
  speakers: Sequence[str], key: str = 'config.task.speakers'
) -> None:
  """Raises UserError unless there are two speakers with different marks.

  Args:
    speakers: As for `dialogue`.
    key: The config field that sets them, for messages.
  """
  if len(speakers) != 2 or not all(map(str.strip, speakers)):
    raise UserError(
      f'speakers is {tuple(speakers)}, but there are two in a dialogue, and a'
      f" mark of each. Set {key} to two, such as 'User: ' and 'Assistant: '."
    )
  if speakers[0] == speakers[1]:
    raise UserError(
      f'Both speakers are marked by {speakers[0]!r}, so that none could be told'
      f' from the other. Set {key} to two marks.'
    )


def _check_turns(context_turns: int) -> None:
  if context_turns < 0:
    raise UserError(
      f'context_turns is {context_turns}, but it is a number of turns. Set'
      ' config.task.context_turns to 1 or more, or to 0 for all that fit.'
    )


def exchanges(
  rows: Sequence[Record], replies: Literal['second', 'every'] = 'second'
) -> Iterator[Exchange]:
  """Yields the replies of some dialogues, in order.

  A last turn that is not such a reply yields one more, with `reply` unknown.

  Args:
    rows: Dialogues.
    replies: As for `dialogue`.
  """
  for number, row in enumerate(rows):
    turns = tuple(row['turns'])
    step = 2 if replies == 'second' else 1
    answered = range(1, len(turns), step)
    for place in answered:
      yield Exchange(number, turns[:place], turns[place])
    if len(turns) - 1 not in answered:
      yield Exchange(number, turns, '')


def lines(turns: Sequence[str], speakers: Sequence[str]) -> list[str]:
  r"""Returns the parts of a prompt: a line per turn, and the replier's mark.

  Examples:
    >>> lines(['Hello!', 'How are you?'], ('A: ', 'B: '))
    ['B: Hello!\n', 'A: How are you?\n', 'B:']
  """
  behind = range(len(turns), 0, -1)  # The first speaker has the last turn.
  said = [
    f'{speakers[(place + 1) % 2]}{turn.strip()}\n'
    for place, turn in zip(behind, turns)
  ]
  return [*said, speakers[1].rstrip()]


def prompt(
  tokenizer: Tokenizer,
  turns: Sequence[str],
  speakers: Sequence[str],
  length: int,
) -> str:
  """Returns the text that a reply answers, or continues.

  If it is too long, the oldest turns are dropped; if the last turn alone is too
  long, its beginning is.

  Args:
    tokenizer: The tokenizer of the model.
    turns: The turns so far; the second speaker is next.
    speakers: As for `dialogue`.
    length: The most tokens.
  """
  parts = lines(turns, speakers)
  found = tokenizer.encode_batch(parts)
  sizes = [len(one.ids) for one in found]
  count = newest(sizes, length)
  if count > 1:
    return ''.join(parts[-count:])
  begin, _ = found[-2].offsets[sizes[-1] - length]
  return parts[-2][begin:] + parts[-1]


def newest(sizes: Sequence[int], length: int) -> int:
  """Returns how many of the last parts of a prompt fit; 1 means no turn does.

  Args:
    sizes: The number of tokens of each part; the replier's mark is the last.
    length: The most tokens.
  """
  if length <= sizes[-1]:
    raise UserError(
      f'A dialogue has {length} tokens, of which the mark of who replies takes'
      f' {sizes[-1]}: there is no room for what is replied to. Set'
      ' config.data.length higher.'
    )
  return int(np.searchsorted(np.cumsum(sizes[::-1]), length, side='right'))


def _sources(
  reader: Reader,
  found: Sequence[Exchange],
  speakers: Sequence[str],
  context_turns: int,
) -> Ragged:
  """Returns prompts as tokens with an end token, encoding each line once.

  Lines have the same tokens alone as they have together.
  """
  texts = [lines(one.turns[-context_turns:], speakers) for one in found]
  distinct = list(dict.fromkeys(itertools.chain.from_iterable(texts)))
  encoded = reader.tokenizer.encode_batch(distinct, offsets=False)
  tokens = {
    line: np.array(one.ids, np.int32) for line, one in zip(distinct, encoded)
  }
  room = reader.length - 1
  end = np.array([reader.tokenizer.end_id], np.int32)
  rows, cut = [], 0
  for parts in texts:
    ids = [tokens[line] for line in parts]
    count = newest(list(map(len, ids)), room)
    cut += count < len(ids)
    row = np.concatenate(ids[-max(count, 2) :])[-room:]
    rows.append(np.append(row, end))
  if cut:
    logging.info(
      'Of %d dialogues before a reply %d lose their beginning to'
      ' config.data.length.',
      len(texts),
      cut,
    )
  return Ragged.of(rows)


def _targets(reader: Reader, found: Iterable[Exchange]) -> Ragged:
  return written.ended(
    reader, [one.reply.strip() for one in found], 'target', 'of replies'
  )


def unigram_nats(
  learned: Int[np.ndarray, 'M'], asked: Int[np.ndarray, 'N'], vocab_size: int
) -> float:
  """Returns the nats per token of a unigram model with add-one smoothing.

  Args:
    learned: The tokens to count.
    asked: The tokens to score.
    vocab_size: The number of different tokens.
  """
  if not asked.size:
    return math.nan
  counts = 1.0 + np.bincount(learned, minlength=vocab_size)
  nats = -np.log(counts / counts.sum())
  return float(np.mean(nats[asked]))
