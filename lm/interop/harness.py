"""Evaluation of our models by lm-evaluation-harness, through its own command.

The harness makes three kinds of requests: the likelihood of a continuation,
that of a whole text, and generation. See docs/zero_shot.md.
"""

import collections
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import logging
from flax import linen as nn
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import MODEL_REGISTRY, register_model

from lm.data.tokenizers import Tokenizer
from lm.generation import sampling, text
from lm.objectives.objective import GOES_ON, PromptForm
from lm.scoring import batches, forms, texts, windows
from lm.scoring.texts import Span
from lm.types import PyTree, UserError

NAME = 'lm'  # As in --model lm.
ROWS = 16  # Texts that are generated in one batch.
# What a task may set for generation; those of the first group are synonyms.
LENGTHS = ('max_gen_toks', 'max_new_tokens', 'max_tokens')
DRAWING = ('do_sample', 'temperature', 'top_k', 'top_p')


class Harness(LM):
  """A model as lm-evaluation-harness sees it.

  Args:
    model: The model.
    params: Its parameters.
    tokenizer: Its tokenizer.
    form: How it scores text, one of `forms.FORMS`; '' means the default of its
      family. Required for a model that fills masks: its scores are not
      probabilities of the text, though they can rank choices.
    prompt_form: How prompts are presented to it.
    batch_tokens: Maximum number of tokens that it reads at once.
    max_gen_toks: Maximum number of new tokens, if a task does not set it.
  """

  def __init__(
    self,
    model: nn.Module,
    params: PyTree,
    tokenizer: Tokenizer,
    form: str = '',
    prompt_form: PromptForm = GOES_ON,
    batch_tokens: int = batches.TOKENS,
    max_gen_toks: int = 256,
  ):
    super().__init__()
    if model.form == 'bidirectional' and not form:
      raise UserError(
        'This model fills masks, so it gives no probability to a text, which'
        ' lm-evaluation-harness asks for. To rank choices by its pseudo-log-'
        'likelihoods instead, add form=pll or form=pll_word_l2r to'
        ' --model_args.'
      )
    self.form = form or forms.default(model.form, tokenizer.vocabulary)
    forms.check(self.form, model, tokenizer.vocabulary)
    self.trained = (model, params, tokenizer)
    self.prompt_form = prompt_form
    self.batch_tokens = batch_tokens
    self.max_gen_toks = max_gen_toks

  def loglikelihood(
    self, requests: Sequence[Instance], disable_tqdm: bool = False
  ) -> list[tuple[float, bool]]:
    """Returns each continuation's log-likelihood, and whether it is greedy.

    A context that is too long is truncated on the left. An empty continuation
    has probability 1.
    """
    del disable_tqdm
    answers = [(0.0, True)] * len(requests)
    asked = [n for n, request in enumerate(requests) if request.args[1]]
    found = texts.span_scores(
      *self.trained,
      [Span(*requests[n].args, name=f'Request {n}') for n in asked],
      self.form,
      batch_tokens=self.batch_tokens,
      too_long='cut',
      greedy=True,
    )
    for n, log_prob, greedy in zip(asked, found.log_probs, found.greedy):
      answers[n] = (float(log_prob), bool(greedy))
    return answers

  def loglikelihood_rolling(
    self, requests: Sequence[Instance], disable_tqdm: bool = False
  ) -> list[float]:
    """Returns each text's log-likelihood, read in windows that do not overlap.

    Only the last one may, so that it is full.
    """
    del disable_tqdm
    length = self.trained[0].config.max_len
    answers = [0.0] * len(requests)
    asked = [n for n, request in enumerate(requests) if request.args[0]]
    found = windows.likelihoods(
      *self.trained,
      [requests[n].args[0] for n in asked],
      self.form,
      length=length,
      stride=length,
      batch_tokens=self.batch_tokens,
    )
    for n, log_prob in zip(asked, found.log_probs):
      answers[n] = float(log_prob)
    return answers

  def generate_until(
    self, requests: Sequence[Instance], disable_tqdm: bool = False
  ) -> list[str]:
    """Returns the text generated after each context, up to a stop text."""
    del disable_tqdm
    if self.trained[0].form == 'bidirectional':
      raise UserError(
        'This model fills masks, and writes no text, which the task asks for.'
        ' Leave the task out, or score a GPT or a T5.'
      )
    alike = collections.defaultdict(list)
    for n, request in enumerate(requests):
      alike[repr(sorted(request.args[1].items()))].append(n)
    replies = [''] * len(requests)
    for members in alike.values():
      options = self._options(requests[members[0]].args[1])
      members.sort(key=lambda n: len(requests[n].args[0]))
      for begin in range(0, len(members), ROWS):
        batch = members[begin : begin + ROWS]
        contexts = [requests[n].args[0] for n in batch]
        *_, last = text.stream(*self.trained, contexts, **options)
        for n, reply in zip(batch, last):
          replies[n] = reply.text
    return replies

  def _options(self, told: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options of `text.stream` for those of a task."""
    unknown = [*{*told} - {'until', *LENGTHS, *DRAWING}]
    if unknown:
      raise UserError(
        f'A task sets {", ".join(sorted(unknown))} in its generation_kwargs, and'
        f' understood are until, {", ".join((*LENGTHS, *DRAWING))}. Take it out'
        ' there, or give others as --gen_kwargs.'
      )
    until = told.get('until') or ()
    lengths = [told[name] for name in LENGTHS if name in told]
    temperature = float(told.get('temperature') or 0.0)
    if told.get('do_sample') is False:
      temperature = 0.0
    elif told.get('do_sample') and 'temperature' not in told:
      temperature = 1.0
    top_k, top_p = told.get('top_k'), told.get('top_p')
    if not temperature:
      top_k = top_p = None  # Decoding is greedy.
    return {
      'stop': [until] if isinstance(until, str) else [*until],
      'prompt_form': self.prompt_form,
      'max_new_tokens': int(lengths[0]) if lengths else self.max_gen_toks,
      'sampling': sampling.settings(temperature, top_k or None, top_p),
    }


def register(load: Callable[..., Any]) -> None:
  """Registers `--model lm --model_args workdir=DIR` with the harness.

  Args:
    load: Takes a directory and a step, as `lm.load` does.
  """

  class Loaded(Harness):
    """The model in a directory; other arguments are those of `Harness`."""

    def __init__(
      self,
      workdir: str = '',
      step: int | None = None,
      form: str = '',
      batch_size: Any = None,
      max_batch_size: Any = None,
      device: Any = None,
      **options: Any,
    ):
      del batch_size, max_batch_size, device  # `batch_tokens` and JAX decide.
      _check_options(workdir, options)
      found = load(str(workdir), step)
      if found.tokenizer is None:
        raise UserError(
          f'{workdir} has no tokenizer, so text cannot be read there. Give the'
          ' workdir of a run that was trained on text.'
        )
      model, objective = found.model, found.config.get('objective', {})
      if model.form != 'bidirectional' and not form:
        form = forms.default(
          model.form, found.tokenizer.vocabulary, objective.get('name')
        )
      super().__init__(
        model,
        found.params,
        found.tokenizer,
        form,
        found.prompt_form,
        **options,
      )
      logging.info('%s is scored in the form %r.', workdir, self.form)

  if NAME not in MODEL_REGISTRY:
    register_model(NAME)(Loaded)


def main(load: Callable[..., Any]) -> None:
  """Runs the harness's own command, with our models registered."""
  from lm_eval.__main__ import cli_evaluate

  register(load)
  cli_evaluate()


def _check_options(workdir: str, options: Mapping[str, Any]) -> None:
  known = ('batch_tokens', 'max_gen_toks')
  unknown = [name for name in options if name not in known]
  if not workdir or unknown:
    what = f'has {", ".join(unknown)}' if unknown else 'has no workdir'
    raise UserError(
      f'--model_args {what}, and it is to be workdir=DIR, and then step, form,'
      f' {" or ".join(known)}, with commas between them.'
    )
