"""Choosing the next token: pure functions of logits.

Functions that narrow the choice set all other logits to minus infinity, so that
they compose: in `narrow`, as in Hugging Face's `generate`, first temperature,
then top-k, then top-p.
"""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int, Key

from lm.types import UserError


@struct.dataclass
class Sampling:
  """How tokens are sampled; created by `settings`.

  Attributes:
    temperature: Divides the logits; None means greedy decoding.
    top_p: Keeps the fewest tokens with this total probability; None keeps all.
    top_k: Keeps this many tokens; None keeps all.
  """

  temperature: float | Float[Array, ''] | None = 1.0
  top_p: float | Float[Array, ''] | None = None
  top_k: int | None = struct.field(pytree_node=False, default=None)


GREEDY = Sampling(temperature=None)


def settings(
  temperature: float = 1.0,
  top_k: int | None = None,
  top_p: float | None = None,
) -> Sampling:
  """Returns these settings, after checking them.

  Args:
    temperature: See `Sampling`; 0, its limit, is greedy.
    top_k: See `Sampling`.
    top_p: See `Sampling`.
  """
  if not 0 <= temperature < float('inf'):
    raise UserError(
      f'temperature is {temperature}, but it divides the scores. Set it to 0'
      ' for the best token always, to 1 for what the model predicts.'
    )
  if top_k is not None and top_k < 1:
    raise UserError(
      f'top_k is {top_k}, but it is how many tokens are chosen from. Set it to'
      ' 1 or more, or omit it for all.'
    )
  if top_p is not None and not 0 < top_p <= 1:
    raise UserError(
      f'top_p is {top_p}, but it is a probability. Set it above 0 and at most'
      ' to 1, or omit it for all tokens.'
    )
  # Greedy decoding is a program of its own: it neither samples nor sorts.
  return Sampling(temperature, top_p, top_k) if temperature else GREEDY


def greedy(logits: Float[Array, 'B V']) -> Int[Array, 'B']:
  """Returns the best token of each row; ties go to the first."""
  return jnp.argmax(logits, axis=-1).astype(jnp.int32)


def keep_top_k(logits: Float[Array, 'B V'], k: int) -> Float[Array, 'B V']:
  """Keeps the `k` best tokens, and those tied with the last of them.

  Examples:
    >>> keep_top_k([[1., 4., 2., 3.]], 2)
    [[-inf, 4., -inf, 3.]]
  """
  best, _ = jax.lax.top_k(logits, min(k, logits.shape[-1]))
  return jnp.where(logits < best[:, -1:], -jnp.inf, logits)


def keep_top_p(
  logits: Float[Array, 'B V'], p: float | Float[Array, '']
) -> Float[Array, 'B V']:
  """Keeps the fewest best tokens that together have probability `p`.

  Tokens tied with the last one are kept, too (Holtzman et al. 2020, 3.1).

  Examples:
    >>> keep_top_p(log([[0.1, 0.5, 0.1, 0.3]]), 0.6)
    log([[0, 0.5, 0, 0.3]])
  """
  # The threshold is found by bisection: sorting a vocabulary takes a CPU as
  # long as reading a small model.
  probabilities = jax.nn.softmax(logits, axis=-1)
  best = jnp.max(logits, axis=-1, keepdims=True)

  def halve(_, borders):
    low, high = borders
    middle = (low + high) / 2
    kept = jnp.where(logits >= middle, probabilities, 0)
    enough = jnp.sum(kept, axis=-1, keepdims=True) >= p
    return jnp.where(enough, middle, low), jnp.where(enough, high, middle)

  # Tokens over exp(40) times less likely than the best never count; after 32
  # halvings the bounds are as close as numbers get.
  low, _ = jax.lax.fori_loop(0, 32, halve, (best - 40, best))
  return jnp.where(logits < low, -jnp.inf, logits)


def row_keys(
  key: Key[Array, ''], rows: Int[Array, 'B'], positions: Int[Array, 'B']
) -> Key[Array, 'B']:
  """Returns a key for each row and position, independent of other rows."""
  fold = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
  return jax.vmap(jax.random.fold_in)(fold(key, rows), positions)


def narrow(
  logits: Float[Array, 'B V'], settings: Sampling
) -> Float[Array, 'B V']:
  """Returns the logits to sample from, minus infinity for other tokens."""
  logits = logits / settings.temperature
  if settings.top_k is not None:
    logits = keep_top_k(logits, settings.top_k)
  if settings.top_p is not None:
    logits = keep_top_p(logits, settings.top_p)
  return logits


def choose(
  logits: Float[Array, 'B V'], keys: Key[Array, 'B'], settings: Sampling
) -> Int[Array, 'B']:
  """Returns a token for each row: the best, or a sample of those kept."""
  if settings.temperature is None:
    return greedy(logits)
  drawn = jax.vmap(jax.random.categorical)(keys, narrow(logits, settings))
  return drawn.astype(jnp.int32)
