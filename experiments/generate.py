"""Goes on from prompts with a trained model, and shows the text as it grows.

python -m experiments.generate --workdir=runs/demo --prompt='The function'
python -m experiments.generate --workdir=runs/demo --temperature=0 --json \\
    --prompt='Returns the' --prompt='Raises'
"""

import time
from collections.abc import Iterable, Sequence

from absl import logging

import lm
from experiments import command
from lm.generation import sampling, text
from lm.types import UserError


def main(
  workdir: str,
  prompt: Sequence[str] = ('',),
  max_new_tokens: int = 200,
  temperature: float = 0.8,
  top_k: int | None = None,
  top_p: float | None = None,
  seed: int = 0,
  stop: Sequence[str] = (),
  step: int | None = None,
  json: bool = False,
) -> None:
  """Prints each prompt and what the model goes on with.

  Args:
    workdir: Of a training run.
    prompt: What to go on from; give it again for more texts, made side by side.
      By default the beginning of a text.
    max_new_tokens: How many tokens are made at most.
    temperature: How adventurous: 0 is the likeliest token always, 1 what the
      model predicts.
    top_k: Choose from so many likeliest tokens only.
    top_p: Choose from the likeliest tokens with this probability only.
    seed: The same seed gives the same text.
    stop: A text that ends the answer; it can be given again.
    step: Which checkpoint; by default the newest.
    json: Print one JSON object instead.
  """
  rules = sampling.settings(temperature, top_k, top_p)
  pretrained = lm.load(workdir, step)
  if pretrained.tokenizer is None:
    raise UserError(
      f'{workdir} has no tokenizer, so text cannot be read there. Give the'
      ' --workdir of a run that was trained on text.'
    )
  began = time.perf_counter()
  progress = text.stream(
    pretrained.model,
    pretrained.params,
    pretrained.tokenizer,
    prompt,
    stop=stop,
    max_new_tokens=max_new_tokens,
    sampling=rules,
    seed=seed,
  )
  replies = list(progress)[-1] if json else show(prompt, progress)
  seconds = time.perf_counter() - began
  num_tokens = sum(reply.num_tokens for reply in replies)
  logging.info('%d tokens in %.1f s.', num_tokens, seconds)
  if json:
    command.report(
      {
        'texts': [
          {'prompt': start, **reply._asdict()}
          for start, reply in zip(prompt, replies)
        ],
        'seconds': seconds,
      }
    )


def show(
  prompts: Sequence[str], progress: Iterable[list[text.Reply]]
) -> list[text.Reply]:
  """Prints what is there as soon as it is; returns how it ended."""
  printed, replies = '', []
  for replies in progress:
    page = transcript(prompts, replies)
    print(page[len(printed) :], end='', flush=True)
    printed = page
  return replies


def transcript(prompts: Sequence[str], replies: Sequence[text.Reply]) -> str:
  """Returns the texts in their order, up to the first that still grows."""
  page = ''
  for prompt, reply in zip(prompts, replies):
    page += prompt + reply.text
    if reply.stopped_by is None:
      return page
    page += '\n' if reply is replies[-1] else '\n\n'
  return page


if __name__ == '__main__':
  command.run(main)
