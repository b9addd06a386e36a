"""Chats with a trained model in the terminal.

python -m experiments.chat --workdir=runs/dialogue
python -m experiments.chat --workdir=runs/demo --temperature=0.5 --seed=1
echo 'How are you?' | python -m experiments.chat --workdir=runs/dialogue

Replies are printed as they are generated. /reset starts a new dialogue, /quit
or the end of the input quits.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from absl import logging

import lm
from experiments import command
from lm.data.corpora import SPEAKERS
from lm.generation import sampling, text
from lm.pretrained import Pretrained
from lm.tasks.dialogue import check_speakers, prompt
from lm.types import UserError

COMMANDS = ('/reset', '/quit')
MOST = 200  # The most tokens of a reply, unless set in training.


class Manner(NamedTuple):
  """How a model takes part in a dialogue.

  Attributes:
    speakers: The marks before the turns of the user and of the model.
    length: The most tokens that it reads.
    max_new_tokens: The most tokens of a reply.
    context_turns: The most turns that it reads; 0 means any number.
    stop: Texts that end a reply, for models that do not end it themselves.
  """

  speakers: tuple[str, ...]
  length: int
  max_new_tokens: int
  context_turns: int = 0
  stop: tuple[str, ...] = ()


def main(
  workdir: str,
  max_new_tokens: int | None = None,
  temperature: float = 0.8,
  top_k: int | None = None,
  top_p: float | None = None,
  seed: int = 0,
  speakers: Sequence[str] = (),
  step: int | None = None,
) -> None:
  """Replies to each line of the input.

  Args:
    workdir: The workdir of a run, or a Hugging Face directory; or the URL of
      either. A run of the task 'dialogue', or any GPT or T5.
    max_new_tokens: The most tokens of a reply; by default as in training, or
      200.
    temperature: Sampling temperature: 0 means greedy decoding, 1 samples from
      the model's own distribution.
    top_k: Sample only from this many of the likeliest tokens.
    top_p: Sample only from the likeliest tokens with this total probability.
    seed: The same seed and the same lines give the same replies.
    speakers: The mark before your turns; repeat it for the model's. By default
      as in training, or 'User: ' and 'Assistant: '.
    step: The checkpoint; by default the best, by config.checkpoint.best, or
      else the newest.
  """
  rules = sampling.settings(temperature, top_k, top_p)
  pretrained = lm.load(workdir, step)
  if pretrained.tokenizer is None:
    raise UserError(
      f'{workdir} has no tokenizer, so text cannot be read there. Give the'
      ' --workdir of a run that was trained on text.'
    )
  manner = manner_of(pretrained, speakers, max_new_tokens)

  def reply(turns: Sequence[str], number: int) -> Iterator[str]:
    progress = text.stream(
      pretrained.model,
      pretrained.params,
      pretrained.tokenizer,
      [asked(pretrained, manner, turns)],
      stop=manner.stop,
      prompt_form=pretrained.prompt_form,
      max_new_tokens=manner.max_new_tokens,
      sampling=rules,
      seed=seed + number,
    )
    return (one.text.strip() for [one] in progress)

  marks = manner.speakers if sys.stdin.isatty() else ('', '')
  logging.info('Write to the model; %s begins anew, %s ends.', *COMMANDS)
  talk(said(marks[0]), reply, marks[1])


def manner_of(
  pretrained: Pretrained,
  speakers: Sequence[str] = (),
  max_new_tokens: int | None = None,
) -> Manner:
  """Returns how a model takes part in a dialogue.

  Args:
    pretrained: The model.
    speakers: The marks of the speakers; () means those of its training.
    max_new_tokens: The most tokens of a reply; None means as in training.

  Raises:
    UserError: The model generates no text, or there are not two marks.
  """
  model, config = pretrained.model, pretrained.config
  if model.form not in ('causal', 'encoder_decoder'):
    raise UserError(
      'This model fills masks, and writes no replies. Give the --workdir of a'
      ' GPT or a T5.'
    )
  task = config.get('task', {})
  trained = task.get('name') == 'dialogue'
  own = task['speakers'] if trained else SPEAKERS['en']
  speakers = tuple(speakers) or own
  check_speakers(speakers, key='--speakers')
  longest, form = model.config.max_len, pretrained.prompt_form
  stop: tuple[str, ...] = ()
  if not text.answers(model, form):  # It would continue with the next turn.
    stop = tuple(f'\n{mark.rstrip()}' for mark in speakers)
  if trained:
    length, most = config['data']['length'], config['data']['target_length']
    most, turns = max_new_tokens or most, task['context_turns']
  else:
    most = max_new_tokens or min(MOST, longest // 2)
    length = longest - (most if model.form == 'causal' else 0)
    turns = 0
  return Manner(speakers, length - form.ends, most, turns, stop)


def asked(pretrained: Pretrained, manner: Manner, turns: Sequence[str]) -> str:
  """Returns the prompt for a dialogue whose last turn is the user's."""
  return prompt(
    pretrained.tokenizer,
    turns[-manner.context_turns :],
    manner.speakers,
    manner.length,
  )


def said(mark: str) -> Iterator[str]:
  """Yields the lines of the input, prompting with `mark` for each."""
  while True:
    try:
      yield input(mark)
    except EOFError:
      return


def talk(
  lines: Iterator[str],
  reply: Callable[[Sequence[str], int], Iterator[str]],
  mark: str = '',
) -> None:
  """Prints a reply to each line, as it is generated.

  Args:
    lines: The turns of the user.
    reply: Yields the growing reply to some turns; its second argument is the
      number of earlier replies.
    mark: Printed before each reply.
  """
  turns: list[str] = []
  number = 0
  for line in map(str.strip, lines):
    if line == '/quit':
      return
    if line == '/reset':
      turns = []
      logging.info('The dialogue begins anew.')
    elif line.startswith('/'):
      logging.warning('There is no %s. There are %s.', line, COMMANDS)
    elif line:
      turns.append(line)
      print(mark, end='', flush=True)
      whole = show(reply(turns, number))
      number += 1
      if whole:
        turns.append(whole)
      else:  # A turn without a reply is dropped.
        logging.warning('The model says nothing to this.')
        turns.pop()


def show(progress: Iterator[str]) -> str:
  """Prints a growing text; returns all of it."""
  whole = ''
  for now in progress:
    print(now[len(whole) :], end='', flush=True)
    whole = now
  print()
  return whole


if __name__ == '__main__':
  command.run(main)
