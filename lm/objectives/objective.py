"""What a model is trained to do, and the sums that say how well it does it.

An objective is two functions. `prepare` runs on the host, in numpy, and decides
what is shown and what is asked. `loss` runs on the device. Neither knows where
the examples come from, or which model answers.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from lm.types import Batch, Examples, Form, Projection, UserError

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
  """

  prepare: Callable[[Examples, Int[np.ndarray, 'B'], int], Batch]
  loss: Callable[..., tuple[dict[str, Term], dict[str, Metric]]]
  example_length: Callable[[int], int]
  scales: Mapping[str, float]
  reads: tuple[str, ...] = ()


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


def cross_entropy(
  answer: Projection | Float[Array, 'B *L V'],
  targets: Int[Array, 'B *L'],
  weights: Float[Array, 'B *L'],
  z_loss: float = 0.0,
  label_smoothing: float = 0.0,
  parts: Mapping[str, Float[Array, 'B *L']] | None = None,
) -> tuple[Term, dict[str, Metric]]:
  """Returns the sum to minimise, and the metrics, all weighted and in nats.

  A sum over devices, microbatches or evaluation batches is again a sum, so one
  division by the weight, wherever it happens, gives the mean over all tokens.

  Args:
    answer: Scores of the vocabulary.
    targets: Its true tokens.
    weights: How much each counts.
    z_loss: Weight of log(Z)^2, which keeps the logits from drifting (Chowdhery
      et al. 2022, 5); the metrics are without it.
    label_smoothing: Share of the target spread over the vocabulary (Szegedy et
      al. 2016, 7); the metrics are without it.
  """
  logits = answer.logits() if isinstance(answer, Projection) else answer
  nats = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
  objective = nats
  if z_loss or label_smoothing:
    log_z = jax.nn.logsumexp(logits, axis=-1)
    objective = nats + z_loss * log_z**2
  if label_smoothing:
    vocab_size = logits.shape[-1]
    if isinstance(answer, Projection):  # Padded rows are no tokens.
      vocab_size = answer.vocab_size
    spread = log_z - jnp.mean(logits[..., :vocab_size], axis=-1)
    objective += label_smoothing * (spread - nats)
  correct = jnp.argmax(logits, axis=-1) == targets
  weight = jnp.sum(weights)
  metrics = {
    'loss': (jnp.sum(nats * weights), weight),
    'accuracy': (jnp.sum(correct * weights), weight),
  }
  for name, share in (parts or {}).items():
    metrics[name] = (jnp.sum(nats * share), jnp.sum(share))
  return jnp.sum(objective * weights), metrics
