"""What a model is trained to predict, and the sums that score it.

An objective consists of two functions. `prepare` runs on the host, in numpy,
and makes inputs and targets. `loss` runs on the device. Neither knows where the
examples come from, or which model is trained.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int

from lm.types import Batch, Examples, Form, UserError

Term = Float[Array, '']
Metric = tuple[Float[Array, ''], Float[Array, '']]  # A sum, and its weight.

# Why a form does not fit an objective for other forms, and what to do.
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
  """How a prompt is presented to a model, as in its training.

  Attributes:
    ends: Whether it ends with an end token, like a source: what follows is an
      answer to it, not its continuation.
    visible: Whether a decoder alone attends bidirectionally within it.
  """

  ends: bool = False
  visible: bool = False


GOES_ON = PromptForm()  # What follows is a continuation of the prompt.


class Objective(NamedTuple):
  """How batches are made from examples, and how predictions are scored.

  Attributes:
    prepare: `(examples, index, seed) -> Batch`. What is random about example i
      is drawn from (seed, i) alone, so it is the same on any number of hosts.
    loss: `(answers, targets, weights) -> (terms, metrics)`: sums, never means.
    example_length: Maps a number of inputs to the tokens that an example needs.
    scales: Weight of each term; the keys are what a model must predict.
    reads: Fields of an example that it needs besides `tokens` and `valid`:
      `bytes`, `word_starts`.
    marks: Whether packed documents are enclosed in an encoder's special tokens,
      and share no token; else each token predicts the next.
    prompt_form: How it presents what a model continues or answers.
  """

  prepare: Callable[[Examples, Int[np.ndarray, 'B'], int], Batch]
  loss: Callable[..., tuple[dict[str, Term], dict[str, Metric]]]
  example_length: Callable[[int], int]
  scales: Mapping[str, float]
  reads: tuple[str, ...] = ()
  marks: bool = False
  prompt_form: PromptForm = GOES_ON


def check_form(name: str, form: Form, *fitting: Form) -> None:
  """Raises UserError if objective `name` does not fit `form`."""
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
