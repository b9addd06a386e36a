"""Continues prompts with a trained model, or fills the blanks in them.

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
  """Prints each prompt with its continuation, or with its blanks filled.

  Args:
    workdir: The workdir of a run, or a Hugging Face directory; or the URL of
      either.
    prompt: The text to continue; repeat it for more texts, generated together.
      By default the beginning of a text. For a BERT or RoBERTa a text with
      masks, for a T5 one with <extra_id_0>, <extra_id_1>, ... or a question.
    max_new_tokens: The most tokens to generate. By default 200.
    temperature: Sampling temperature: 0 means greedy decoding, 1 samples from
      the model's own distribution. By default 0.8.
    top_k: Sample only from this many of the likeliest tokens; for masks, show
      this many.
    top_p: Sample only from the likeliest tokens with this total probability.
    beams: Beam width; 1 means no beam search.
    length_penalty: For beam search: scores are divided by the length to this
      power, so a higher one favours longer texts. By default 1.
    early_stopping: For beam search: stop at as many finished texts as beams,
      though a longer one might be better.
    num_return: For beam search: the number of texts per prompt. By default 1.
    seed: The same seed gives the same text.
    stop: A text that ends the answer; can be repeated.
    step: The checkpoint; by default the best, by config.checkpoint.best, or
      else the newest.
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
  """Returns the options that were given."""
  return {name: value for name, value in options.items() if value is not None}


def _refuse(options: Mapping[str, Any], why: str) -> None:
  """Raises UserError if any of these options, without effect here, is given."""
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
  """Prints the continuations of the model, as they are generated."""
  began = time.perf_counter()
  progress = text.stream(*trained, prompts, prompt_form=prompt_form, **options)
  # An answer, unlike a continuation, is printed without its prompt.
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
  """Prints the best texts found by beam search."""
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
  """Prints texts as they are generated; returns the final ones."""
  printed, replies = '', []
  for replies in progress:
    page = transcript(prompts, replies)
    print(page[len(printed) :], end='', flush=True)
    printed = page
  return replies


def transcript(prompts: Sequence[str], replies: Sequence[text.Reply]) -> str:
  """Returns the texts in order, up to the first that is unfinished."""
  page = ''
  for prompt, reply in zip(prompts, replies):
    page += prompt + reply.text
    if reply.stopped_by is None:
      return page
    page += '\n' if reply is replies[-1] else '\n\n'
  return page


if __name__ == '__main__':
  command.run(main)
