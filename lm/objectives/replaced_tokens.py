"""Tell the tokens that a generator put in from those of the text (ELECTRA)."""

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

  The generator is asked for masked tokens, and the discriminator of each token
  of the row, special ones too as in the published code, if the generator
  changed it. What it drew and is the same is not changed.

  Args:
    form: How the model reads.
    vocabulary: What its tokens are.
    mask_rate: The share of the tokens that the generator fills in.
    max_predictions: The most of a row; None: as many as the share can need.
    replaced_scale: How much the discriminator's loss counts, the generator's
      being 1.
    z_loss: Of the generator; see `cross_entropy`, as for the next.
    label_smoothing: A share.
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
