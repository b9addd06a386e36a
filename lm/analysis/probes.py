"""Linear probes: classifiers of the activations of a layer."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from lm.types import UserError

L2 = 1e-3  # Relative to the mean loss of an example.
STEPS = 100  # Of L-BFGS: the loss is convex, and converges well before.


class Tokens(NamedTuple):
  """Labelled tokens.

  Attributes:
    features: The activations of each layer at each of them.
    types: The number of the word that each is; equal words have equal numbers.
    labels: The label of each, counted from 0.
  """

  features: Float[Array, 'N M D']
  types: Int[np.ndarray, 'M']
  labels: Int[np.ndarray, 'M']


class Probed(NamedTuple):
  """The test accuracy of a probe of each layer.

  Attributes:
    accuracy: On the labels.
    control_accuracy: On labels drawn at random for each word, which can only be
      memorized.
  """

  accuracy: Float[np.ndarray, 'N']
  control_accuracy: Float[np.ndarray, 'N']

  @property
  def selectivity(self) -> Float[np.ndarray, 'N']:
    """How much of it is due to the layer, not to the probe's own capacity."""
    return self.accuracy - self.control_accuracy


class Probe(NamedTuple):
  """A linear classifier of the activations of one layer."""

  kernel: Float[Array, 'D C']
  bias: Float[Array, 'C']

  def __call__(self, features: Float[Array, 'M D']) -> Float[Array, 'M C']:
    """Returns the scores of the labels."""
    return features @ self.kernel + self.bias[None]


def probe(train: Tokens, test: Tokens, seed: int = 0, l2: float = L2) -> Probed:
  """Returns the accuracy of linear probes of each layer, and of a control task.

  A probe can only memorize the random labels of the control task; selectivity
  is the accuracy beyond that (Hewitt and Liang 2019, 2).

  Args:
    train: The tokens to fit the probes to.
    test: The tokens to test them on.
    seed: Seed of the labels of the control task.
    l2: Weight of the squared kernel, relative to the mean loss.

  Raises:
    UserError: There are not two labels to tell apart, or sizes do not match.
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
  """Returns labels that depend only on the word, for both sets of tokens.

  The label of each word is drawn by its frequency among the labels of `train`.
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
  """Returns the logistic regression of one layer, fitted by L-BFGS.

  Features are standardized first, so that `l2` means the same for all of them;
  the returned probe takes them unscaled.
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
  return jax.lax.map(one, features)  # Sequential, with the memory for one.


def _num_labels(train: Tokens, test: Tokens) -> int:
  """Returns the number of labels; raises UserError as `probe` does."""
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
