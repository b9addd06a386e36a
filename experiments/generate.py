"""Goes on from prompts with a trained model, or fills what is missing in them.

python -m experiments.generate --workdir=runs/demo --prompt='The function'
python -m experiments.generate --workdir=runs/demo --temperature=0 --json \\
    --prompt='Returns the' --prompt='Raises'
python -m experiments.generate --workdir=runs/bert --prompt='It [MASK] a file.'
python -m experiments.generate --workdir=runs/t5 --beams=4 \\
    --prompt='It <extra_id_0> a file.'
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from absl import logging

import lm
from experiments import command
from lm.generation import fill, sampling, text
from lm.objectives.objective import PromptForm
from lm.types import UserError


def main(
  workdir: str,
  prompt: Sequence[str] = ('',),
  max_new_tokens: int | None = None,
  temperature: float | None = None,
  top_k: int | None = None,
  top_p: float | None = None,
  beams: int = 1,
  length_penalty: float | None = None,
  early_stopping: bool = False,
  num_return: int | None = None,
  seed: int = 0,
  stop: Sequence[str] = (),
  step: int | None = None,
  json: bool = False,
) -> None:
  """Prints each prompt and what the model goes on with, or fills it.

  Args:
    workdir: Of a training run, or a directory of Hugging Face; or the URL of
      either.
    prompt: What to go on from; give it again for more texts, made side by side.
      By default the beginning of a text. For a BERT or RoBERTa a text with
      masks, for a T5 one with <extra_id_0>, <extra_id_1>, ... or a question.
    max_new_tokens: How many tokens are made at most. By default 200.
    temperature: How adventurous: 0 is the likeliest token always, 1 what the
      model predicts. By default 0.8.
    top_k: Choose from so many likeliest tokens only; of masks, show so many.
    top_p: Choose from the likeliest tokens with this probability only.
    beams: Search the likeliest text with so many at once; 1: do not.
    length_penalty: Of beams: a score is divided by the length to this power,
      so the more it is, the longer the texts. By default 1.
    early_stopping: Of beams: end a search when it has so many whole texts,
      though a longer one might be better.
    num_return: Of beams: how many texts to a prompt. By default 1.
    seed: The same seed gives the same text.
    stop: A text that ends the answer; it can be given again.
    step: Which checkpoint; by default the newest.
    json: Print one JSON object instead.
  """
  drawing = _given(temperature=temperature, top_p=top_p, stop=stop or None)
  searching = _given(
    length_penalty=length_penalty,
    early_stopping=early_stopping or None,
    num_return=num_return,
  )
  if beams > 1:
    why = '--beams searches the likeliest text, so nothing is drawn or cut'
    _refuse(drawing | _given(top_k=top_k), why)
  else:
    _refuse(searching, 'without --beams no texts are searched')
  rules = sampling.settings(
    0.8 if temperature is None else temperature, top_k, top_p
  )
  pretrained = lm.load(workdir, step)
  if pretrained.tokenizer is None:
    raise UserError(
      f'{workdir} has no tokenizer, so text cannot be read there. Give the'
      ' --workdir of a run that was trained on text.'
    )
  trained = (pretrained.model, pretrained.params, pretrained.tokenizer)
  if pretrained.model.form == 'bidirectional' and beams == 1:
    why = 'this model fills masks, each with the likeliest token'
    _refuse(drawing | _given(max_new_tokens=max_new_tokens), why)
    fill_masks(trained, prompt, top_k or 5, json)
    return
  writing = {
    'max_new_tokens': 200 if max_new_tokens is None else max_new_tokens,
    'prompt_form': pretrained.prompt_form,
  }
  if beams > 1:
    search(trained, prompt, json, beams=beams, **searching, **writing)
  else:
    sampled = {'stop': stop, 'sampling': rules, 'seed': seed}
    go_on(trained, prompt, json, **sampled, **writing)


def _given(**options: Any) -> dict[str, Any]:
  """Returns the options that are given."""
  return {name: value for name, value in options.items() if value is not None}


def _refuse(options: Mapping[str, Any], why: str) -> None:
  """Raises UserError if there are any of these options, which say nothing."""
  if options:
    names = ', '.join(f'--{name}' for name in options)
    raise UserError(f'{names}: {why}. Omit {names}.')


def go_on(
  trained: tuple,
  prompts: Sequence[str],
  json: bool,
  prompt_form: PromptForm,
  **options,
) -> None:
  """Prints how the model goes on, as it is made."""
  began = time.perf_counter()
  progress = text.stream(*trained, prompts, prompt_form=prompt_form, **options)
  # What is not gone on from is not part of the reply.
  alone = text.answers(trained[0], prompt_form)
  starts = [''] * len(prompts) if alone else prompts
  replies = list(progress)[-1] if json else show(starts, progress)
  seconds = time.perf_counter() - began
  num_tokens = sum(reply.num_tokens for reply in replies)
  logging.info('%d tokens in %.1f s.', num_tokens, seconds)
  if json:
    texts = [
      {'prompt': start, **reply._asdict()}
      for start, reply in zip(prompts, replies)
    ]
    command.report({'texts': texts, 'seconds': seconds})


def search(
  trained: tuple,
  prompts: Sequence[str],
  json: bool,
  prompt_form: PromptForm,
  **options,
) -> None:
  """Prints the best texts that beam search finds."""
  found = text.search(*trained, prompts, prompt_form=prompt_form, **options)
  if json:
    command.report(
      {
        'texts': [
          {'prompt': start, **one._asdict()}
          for start, best in zip(prompts, found)
          for one in best
        ]
      }
    )
    return
  alone = text.answers(trained[0], prompt_form)
  for start, best in zip(prompts, found):
    for one in best:
      print(('' if alone else start) + one.text)


def fill_masks(
  trained: tuple, prompts: Sequence[str], top_k: int, json: bool
) -> None:
  """Prints each prompt with its masks filled, or all candidates as JSON."""
  filled = fill.masks(*trained, prompts, top_k)
  if json:
    texts = [
      {
        'prompt': prompt,
        'text': one.text,
        'masks': [[c._asdict() for c in mask] for mask in one.masks],
      }
      for prompt, one in zip(prompts, filled)
    ]
    command.report({'texts': texts})
    return
  for one in filled:
    print(one.text)
    for number, mask in enumerate(one.masks, start=1):
      shares = ', '.join(f'{c.token} {c.probability:.2f}' for c in mask)
      logging.info('Mask %d: %s', number, shares)


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
