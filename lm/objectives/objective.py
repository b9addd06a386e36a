"""What a model is trained to do, and the sums that say how well it does it.

An objective is two functions. `prepare` runs on the host, in numpy, and decides
what is shown and what is asked. `loss` runs on the device. Neither knows where
the examples come from, or which model answers.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int

from lm.types import Batch, Examples, Form, UserError

Term = Float[Array, '']
Metric = tuple[Float[Array, ''], Float[Array, '']]  # A sum, and its weight.

# Why a model that reads so cannot be asked what another can, and what to do.
MISFITS = {
  'bidirectional': (
    'every token would see its answer. Set config.model.attention to causal, or'
    ' config.objective.name to masked_lm.'
  ),
  'encoder_decoder': (
    'it answers what comes next, not what is hidden where it stands. Set'
    ' config.objective.name to span_corruption, iid_denoising or infilling.'
  ),
  'generator_discriminator': (
    'its discriminator reads what its generator has drawn. Set'
    ' config.objective.name to replaced_tokens.'
  ),
}


class PromptForm(NamedTuple):
  """How a text is given to a model that was trained so, for it to write.

  Attributes:
    ends: Whether the token that ends a text ends it, too, as it does a source:
      what follows is an answer to it, and no more of it.
    visible: Whether all of it sees all of it, in a decoder alone.
  """

  ends: bool = False
  visible: bool = False


GOES_ON = PromptForm()  # What follows is more of the text.


class Objective(NamedTuple):
  """How a batch is made of examples, and how the model's answer is scored.

  Attributes:
    prepare: `(examples, index, seed) -> Batch`. What is random about example i
      is drawn from (seed, i) alone, so it is the same on any number of hosts.
    loss: `(answers, targets, weights) -> (terms, metrics)`: sums, never means.
    example_length: How many tokens an example needs for `length` inputs.
    scales: How much each term counts; its keys are what a model must answer.
    reads: What of an example it wants beside `tokens` and `valid`: `bytes`,
      `word_starts`.
    marks: Whether packed documents stand between the marks of an encoder, and
      share no token; else each token is asked for the next.
    prompt_form: How it shows what a model goes on from, or answers.
  """

  prepare: Callable[[Examples, Int[np.ndarray, 'B'], int], Batch]
  loss: Callable[..., tuple[dict[str, Term], dict[str, Metric]]]
  example_length: Callable[[int], int]
  scales: Mapping[str, float]
  reads: tuple[str, ...] = ()
  marks: bool = False
  prompt_form: PromptForm = GOES_ON


def check_form(name: str, form: Form, *fitting: Form) -> None:
  """Raises UserError if `form` is none of those that objective `name` fits."""
  if form not in fitting:
    raise UserError(
      f'Objective {name!r} does not fit a model whose form is {form!r}:'
      f' {MISFITS[form]}'
    )


def check_share(name: str, value: float) -> None:
  """Raises UserError if setting `name` is not at least 0 and under 1."""
  if not 0 <= value < 1:
    raise UserError(
      f'{name} is {value}, but it is a share. Set config.objective.{name} to'
      ' at least 0 and under 1.'
    )
