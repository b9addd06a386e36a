"""What can be read off the activations of a layer by a linear classifier."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from lm.types import UserError

L2 = 1e-3  # Of the mean loss of an example.
STEPS = 100  # Of L-BFGS: the loss is convex, and flat well before.


class Tokens(NamedTuple):
  """Tokens of which something is asked.

  Attributes:
    features: What each layer has at each of them.
    types: Which word each is, so that the same words have the same number.
    labels: What is asked of each, counted from 0.
  """

  features: Float[Array, 'N M D']
  types: Int[np.ndarray, 'M']
  labels: Int[np.ndarray, 'M']


class Probed(NamedTuple):
  """How often a probe of each layer was right on tokens it was not fitted to.

  Attributes:
    accuracy: On what is asked.
    control_accuracy: On labels that were drawn for each word, so that they can
      only be learned by heart.
  """

  accuracy: Float[np.ndarray, 'N']
  control_accuracy: Float[np.ndarray, 'N']

  @property
  def selectivity(self) -> Float[np.ndarray, 'N']:
    """How much of it is the layer's, and not the probe's own memory."""
    return self.accuracy - self.control_accuracy


class Probe(NamedTuple):
  """A linear classifier of what one layer has."""

  kernel: Float[Array, 'D C']
  bias: Float[Array, 'C']

  def __call__(self, features: Float[Array, 'M D']) -> Float[Array, 'M C']:
    """Returns the scores of the labels."""
    return features @ self.kernel + self.bias[None]


def probe(train: Tokens, test: Tokens, seed: int = 0, l2: float = L2) -> Probed:
  """Returns what linear probes of each layer know, beside a control task.

  Whatever a probe learns of random labels of words, it has learned by itself;
  selectivity is what is left (Hewitt and Liang 2019, 2).

  Args:
    train: What the probes are fitted to.
    test: What they are asked then.
    seed: Of the labels of the control task.
    l2: Weight of the squared kernel beside the mean loss.

  Raises:
    UserError: There are no two labels to tell apart, or they do not fit.
  """
  count = _num_labels(train, test)
  control = control_labels(train, test, seed)
  accuracies = []
  for learned, asked in ((train.labels, test.labels), control):
    fitted = _fit_all(train.features, jnp.asarray(learned), count, l2)
    best = jnp.argmax(jax.vmap(Probe.__call__)(fitted, test.features), axis=-1)
    accuracies.append(np.mean(np.asarray(best) == asked[None], axis=1))
  return Probed(*accuracies)


def control_labels(
  train: Tokens, test: Tokens, seed: int
) -> tuple[Int[np.ndarray, 'M'], Int[np.ndarray, 'K']]:
  """Returns labels in which only the word counts, for both sets of tokens.

  Each word has one, drawn as often as it is there among those of `train`.
  """
  rng = np.random.default_rng(seed)
  words, numbers = np.unique(
    np.concatenate([train.types, test.types]), return_inverse=True
  )
  drawn = rng.choice(train.labels, len(words))[numbers]
  return drawn[: len(train.types)], drawn[len(train.types) :]


def fit(
  features: Float[Array, 'M D'],
  labels: Int[Array, 'M'],
  num_labels: int,
  l2: float = L2,
) -> Probe:
  """Returns the logistic regression of one layer, by L-BFGS.

  Features are put on one scale first, so that `l2` means the same to all of
  them; the probe that is returned takes them as they are.
  """
  mean = jnp.mean(features, axis=0)
  scale = 1 / jnp.maximum(jnp.std(features, axis=0), 1e-6)
  scaled = (features - mean[None]) * scale[None]

  def loss(probe):
    losses = optax.softmax_cross_entropy_with_integer_labels(
      probe(scaled), labels
    )
    return jnp.mean(losses) + l2 / 2 * jnp.sum(probe.kernel**2)

  optimizer = optax.lbfgs()
  value_and_grad = optax.value_and_grad_from_state(loss)

  def step(carry, _):
    probe, state = carry
    value, grad = value_and_grad(probe, state=state)
    updates, state = optimizer.update(
      grad, state, probe, value=value, grad=grad, value_fn=loss
    )
    return (optax.apply_updates(probe, updates), state), None

  zeros = Probe(
    jnp.zeros((features.shape[1], num_labels)), jnp.zeros(num_labels)
  )
  start = zeros, optimizer.init(zeros)
  (found, _), _ = jax.lax.scan(step, start, length=STEPS)
  kernel = found.kernel * scale[:, None]
  return Probe(kernel, found.bias - mean @ kernel)


@functools.partial(jax.jit, static_argnums=(2, 3))
def _fit_all(features, labels, num_labels, l2):
  one = lambda layer: fit(layer, labels, num_labels, l2)
  return jax.lax.map(one, features)  # One after another: memory for one.


def _num_labels(train: Tokens, test: Tokens) -> int:
  """Returns how many labels there are; raises UserError if none can be told."""
  for name, tokens in (('train', train), ('test', test)):
    sizes = tokens.features.shape[1], len(tokens.types), len(tokens.labels)
    if len(set(sizes)) > 1 or 0 in sizes:
      raise UserError(
        f'{name} has features of {sizes[0]} tokens, {sizes[1]} types and'
        f' {sizes[2]} labels. Give one of each for every token.'
      )
  labels = np.concatenate([train.labels, test.labels])
  if labels.min() < 0 or len(np.unique(train.labels)) < 2:
    raise UserError(
      f'The labels of train are {np.unique(train.labels)[:3]}, but a probe tells'
      ' at least two apart. Give labels counted from 0, tokens without one left'
      ' away.'
    )
  return int(labels.max()) + 1
