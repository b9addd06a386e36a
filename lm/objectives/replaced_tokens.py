"""Detect the tokens that a generator has replaced (ELECTRA)."""

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float

from lm.objectives import masking
from lm.objectives.masked_lm import hidden, scorer
from lm.objectives.objective import Metric, Objective, Term, check_share
from lm.types import Form, UserError, Vocabulary


def replaced_tokens(
  form: Form,
  vocabulary: Vocabulary,
  *,
  mask_rate: float = 0.15,
  max_predictions: int | None = None,
  replaced_scale: float = 50.0,
  z_loss: float = 0.0,
  label_smoothing: float = 0.0,
) -> Objective:
  """Returns the objective (Clark et al. 2020, 3.1).

  The generator predicts masked tokens. The discriminator predicts for each
  token of the row, including special ones as in the published code, whether the
  generator changed it; a sample that equals the original is no change.

  Args:
    form: Form of the model.
    vocabulary: Vocabulary of the tokenizer.
    mask_rate: Fraction of the tokens that the generator fills in.
    max_predictions: Limit per row; None means as many as the rate can need.
    replaced_scale: Weight of the discriminator's loss, relative to the
      generator's.
    z_loss: For the generator; see `cross_entropy`.
    label_smoothing: For the generator; see `cross_entropy`.
  """
  if form != 'generator_discriminator':
    raise UserError(
      f"Objective 'replaced_tokens' does not fit a model whose form is {form!r}:"
      ' none of its tokens are drawn. Set config.model.name to electra.'
    )
  check_share('mask_rate', mask_rate)
  check_share('label_smoothing', label_smoothing)
  masking.check_most(max_predictions)
  mask_id = masking.mask_of(vocabulary)
  of_generator = scorer(('tokens',), z_loss, label_smoothing)

  def budget(index, sizes, seed):
    return masking.budgets(mask_rate, sizes, 'exact', index, seed)

  def width(length):
    return masking.most(mask_rate, length, 'exact', max_predictions)

  mask = masking.masker(vocabulary, 'tokens', budget, width)

  def prepare(examples, index, seed):
    text = examples['tokens']
    chosen = mask(examples, index, seed)
    tokens = np.where(chosen.masked, mask_id, text).astype(np.int32)
    batch = hidden(examples, tokens, chosen)
    batch.inputs['masked'] = chosen.masked
    batch.targets['replaced'] = text
    batch.weights['replaced'] = examples['valid'].astype(np.float32)
    return batch

  def loss(answers, targets, weights):
    terms, metrics = of_generator(answers, targets, weights)
    changed = answers['corrupted'] != targets['replaced']
    terms['replaced'], scored = tell_apart(
      answers['replaced'], changed, weights['replaced']
    )
    return terms, metrics | scored

  return Objective(
    prepare=prepare,
    loss=loss,
    example_length=lambda length: length,
    scales={'tokens': 1.0, 'replaced': replaced_scale},
    marks=True,
  )


def tell_apart(
  scores: Float[Array, 'B L'],
  changed: Bool[Array, 'B L'],
  weights: Float[Array, 'B L'],
) -> tuple[Term, dict[str, Metric]]:
  """Returns the sum to minimise and the metrics of the discriminator."""
  nats = optax.sigmoid_binary_cross_entropy(scores, changed)
  right = (scores > 0) == changed
  total, weight = jnp.sum(nats * weights), jnp.sum(weights)
  return total, {
    'replaced_loss': (total, weight),
    'replaced_accuracy': (jnp.sum(right * weights), weight),
  }
